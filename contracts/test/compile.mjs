// Compiles every contract of this folder with the pinned compiler. Nothing compiled is kept.
import { readFileSync, readdirSync } from "node:fs";
import solc from "solc";

const folder = new URL("..", import.meta.url);

/** Contract name → { abi, bytecode }. Warnings are errors. */
export function compile() {
  const names = readdirSync(folder).filter((name) => name.endsWith(".sol"));
  const sources = Object.fromEntries(
    names.map((name) => [name, { content: readFileSync(new URL(name, folder), "utf8") }]),
  );
  const settings = {
    optimizer: { enabled: true, runs: 200 },
    outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } },
  };
  const input = JSON.stringify({ language: "Solidity", sources, settings });
  const output = JSON.parse(solc.compile(input));
  const said = (output.errors ?? []).map((e) => e.formattedMessage);
  if (said.length > 0) throw new Error(said.join("\n"));
  const made = {};
  for (const file of Object.values(output.contracts)) {
    for (const [name, { abi, evm }] of Object.entries(file)) {
      made[name] = { abi, bytecode: `0x${evm.bytecode.object}` };
    }
  }
  return made;
}
