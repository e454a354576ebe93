// A real chain of one validator, a real worker, the example contracts, viem and cast. The binaries
// are those of ../target/debug, or of the folder that is given.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { createPublicClient, createWalletClient, decodeEventLog, defineChain, http, parseEther } from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import { compile } from "./compile.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const binaries = process.argv[2] ?? join(here, "../../target/debug");
const cast = join(here, "../node_modules/.bin/cast");
const MODULE = "0x000000000000000000000000000000004e455307";
const PATIENCE_MS = 60_000;

const folder = mkdtempSync(join(tmpdir(), "nesa-contracts-"));
const children = [];
const step = (text) => console.log(`${((performance.now() - started) / 1000).toFixed(1)} s  ${text}`);
const started = performance.now();

function run(program, ...args) {
  return execFileSync(join(binaries, program), args, { encoding: "utf8" });
}

/** Starts a program and gives the first line that it prints. */
async function start(program, ...args) {
  const child = spawn(join(binaries, program), args, { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  for await (const line of createInterface({ input: child.stdout })) return JSON.parse(line);
  throw new Error(`${program} ended`);
}

async function until(what, condition) {
  const end = performance.now() + PATIENCE_MS;
  while (performance.now() < end) {
    const value = await condition();
    if (value) return value;
    await new Promise((done) => setTimeout(done, 200));
  }
  throw new Error(`waited in vain: ${what}`);
}

async function main() {
  const contracts = compile();
  step(`compiled ${Object.keys(contracts).join(", ")}`);

  // The chain: all NES are the faucet's.
  const faucet = privateKeyToAccount(generatePrivateKey());
  const chainHome = join(folder, "validator");
  run("nesa-validator", "init", "--home", chainHome, "--owner", faucet.address);
  const { rpc } = await start("nesa-validator", "run", "--home", chainHome, "--genesis", join(chainHome, "genesis.json"),
    "--listen", "127.0.0.1:0", "--rpc", "127.0.0.1:0", "--interval", "100", "--idle", "500");
  const probe = createPublicClient({ transport: http(rpc) });
  const id = await probe.getChainId();
  const chain = defineChain({ id, name: "nesa", nativeCurrency: { name: "NES", symbol: "NES", decimals: 18 }, rpcUrls: { default: { http: [rpc] } } });
  const client = createPublicClient({ chain, transport: http(rpc), pollingInterval: 100 });
  const wallet = (account) => createWalletClient({ account, chain, transport: http(rpc), pollingInterval: 100 });
  const mined = async (hash) => {
    const receipt = await client.waitForTransactionReceipt({ hash, timeout: PATIENCE_MS });
    assert.equal(receipt.status, "success", receipt.revertReason);
    return receipt;
  };
  const deploy = async (name, args, value) => {
    const { abi, bytecode } = contracts[name];
    const receipt = await mined(await wallet(faucet).deployContract({ abi, bytecode, args, value }));
    return { address: receipt.contractAddress, abi };
  };
  const send = async (account, contract, functionName, args, value) => {
    const call = { ...contract, functionName, args, value, account };
    const { request } = await client.simulateContract(call);
    return mined(await wallet(account).writeContract(request));
  };
  step(`chain ${id} at ${rpc}`);

  // viem and cast send NES.
  const people = ["worker", "applicant", "poor", "buyer", "seller"].map(() => privateKeyToAccount(generatePrivateKey()));
  const [, applicant, poor, buyer, seller] = people;
  for (const person of people) {
    await mined(await wallet(faucet).sendTransaction({ to: person.address, value: parseEther("100") }));
  }
  const balance = execFileSync(cast, ["balance", applicant.address, "--rpc-url", rpc], { encoding: "utf8" }).trim();
  assert.equal(balance, parseEther("100").toString());
  step("NES sent, cast reads the balance");

  // A worker of the command line publishes the model and answers for it.
  const home = join(folder, "home");
  const nesa = (...args) => JSON.parse(run("nesa", "--json", "--home", home, ...args));
  nesa("model", "import-decision", join(here, "model.txt"), "--name", "credit");
  const { address } = nesa("key", "new", "--unattended");
  await mined(await wallet(faucet).sendTransaction({ to: address, value: parseEther("10") }));
  const { model } = nesa("requests", "publish", "credit", "--rpc", rpc, "--price", "0.5");
  const worker = spawn(join(binaries, "nesa"), ["--json", "--home", home, "requests", "answer", "credit", "--rpc", rpc], { stdio: ["ignore", "pipe", "inherit"] });
  children.push(worker);
  createInterface({ input: worker.stdout }).on("line", (line) => step(`worker ${line}`));
  step(`model ${model} published, its worker runs`);

  // A credit decision each way; the applicant's balance rises by exactly what is lent.
  const credit = await deploy("CreditDecision", [model], parseEther("50"));
  const fee = await client.readContract({ ...credit, functionName: "fee" });
  assert.ok(fee >= parseEther("0.5"));
  const apply = async (who, income, debt) => {
    const held = await client.getBalance({ address: who.address });
    const receipt = await send(who, credit, "applyFor", [income, debt, parseEther("7")], fee);
    const before = held - fee - receipt.gasUsed * receipt.effectiveGasPrice;
    const mine = receipt.logs.filter((l) => l.address.toLowerCase() === credit.address.toLowerCase());
    const { args } = decodeEventLog({ abi: credit.abi, ...mine[0] });
    const after = await until("a decision", async () => {
      const a = await client.readContract({ ...credit, functionName: "applications", args: [args.id] });
      return a[2] > 1 && a;
    });
    const gained = (await client.getBalance({ address: who.address })) - before;
    return { id: args.id, state: after[2], score: after[3], gained };
  };
  const granted = await apply(applicant, 5_000n, 100n);
  assert.deepEqual([granted.state, granted.gained], [2, parseEther("7")]);
  const denied = await apply(poor, 5_000n, 900n);
  assert.deepEqual([denied.state, denied.gained], [3, 0n]);
  assert.ok(granted.score > 0n && denied.score <= 0n);
  const requests = { address: MODULE, abi: contracts.INesaInference.abi };
  assert.equal(await client.readContract({ ...requests, functionName: "isFinalized", args: [granted.id] }), true);
  const said = execFileSync(cast, ["call", MODULE, "answerOf(bytes32)(bytes)", granted.id, "--rpc-url", rpc], { encoding: "utf8" });
  assert.match(said.trim(), /^0x0{63}1/, "class 1");
  const calls = await client.getContractEvents({ ...requests, eventName: "CalledBack", fromBlock: 1n });
  assert.deepEqual(calls.map((c) => c.args.succeeded), [true, true]);
  step("credit granted and denied, called back");

  // Who calls back for somebody else, or asks for too much, is told why.
  const data = { ...credit, account: poor };
  await assert.rejects(client.simulateContract({ ...data, functionName: "onInference", args: [granted.id, "0x"] }), /OnlyTheModule/);
  await assert.rejects(client.simulateContract({ ...data, functionName: "applyFor", args: [1n, 1n, parseEther("1000")], value: fee }), /TooMuch/);
  await assert.rejects(client.simulateContract({ ...data, functionName: "applyFor", args: [1n, 1n, 0n], value: 1n }), /costs at least/);

  // A deal that the model judges for the seller.
  const escrow = await deploy("ModeratedEscrow", [model]);
  await send(buyer, escrow, "open", [seller.address], parseEther("9"));
  await send(seller, escrow, "state", [1n, 2_000n]);
  await send(buyer, escrow, "state", [1n, 10n]);
  const before = await client.getBalance({ address: seller.address });
  await send(buyer, escrow, "judge", [1n], fee);
  await until("a verdict", async () => (await client.readContract({ ...escrow, functionName: "deals", args: [1n] }))[7] === 3);
  assert.equal((await client.getBalance({ address: seller.address })) - before, parseEther("9"));
  // What the callback did not use of its gas came back; nothing else is left.
  const left = await client.getBalance({ address: escrow.address });
  assert.ok(left > 0n && left < 200_000n * 10_000_000n, `${left}`);
  step("escrow released by verdict");

  // What libraries ask besides.
  assert.equal(await client.getCode({ address: MODULE }), "0xfe");
  const code = execFileSync(cast, ["code", escrow.address, "--rpc-url", rpc], { encoding: "utf8" }).trim();
  assert.ok(code.length > 1_000);
  const count = await client.getStorageAt({ address: escrow.address, slot: "0x0" });
  assert.equal(BigInt(count), 1n);
  assert.ok((await client.getFeeHistory({ blockCount: 4, rewardPercentiles: [50] })).baseFeePerGas.length === 5);
  step("passed");
}

try {
  await main();
} finally {
  for (const child of children) child.kill();
  rmSync(folder, { recursive: true, force: true });
}
