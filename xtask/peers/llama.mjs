// llama.cpp on one thread, driven as `nesa-bench serve` is: a line `DECODE ID ID ...` in, a line
// `PREFILL_SECONDS DECODE_SECONDS ID ...` out, in CPU seconds of the whole process.
//
// node llama.mjs MODEL.gguf [cpu library]     run where node-llama-cpp is installed
//
// The calls are those of the C interface (batch, decode, greedy sampler), without the convenience
// layers above it; the context is created once and its cells are cleared between runs.
import readline from "node:readline";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const entry = createRequire(path.resolve("package.json")).resolve("node-llama-cpp");
const { getLlama } = await import(pathToFileURL(entry));
const llama = await getLlama({
    gpu: false, build: "never", skipDownload: true, maxThreads: 1, progressLogs: false,
});
const model = await llama.loadModel({ modelPath: process.argv[2], gpuLayers: 0 });
const context = await model.createContext({ contextSize: 1024, batchSize: 512, threads: 1 });
const raw = context._ctx;
raw.setThreads(1);
const sampler = new llama._bindings.AddonSampler(model._model);
sampler.applyConfig({ temperature: 0 });

function cpuSeconds() {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
}

async function step(position, ids) {
    raw.initBatch(ids.length);
    const [logits] = raw.addToBatch(
        0, position, Uint32Array.from(ids), Uint32Array.of(ids.length - 1));
    await raw.decodeBatch();
    return raw.sampleToken(logits, sampler);
}

async function run(prompt, decode) {
    raw.removeTokenCellsFromSequence(0, 0, -1);
    const ids = [];
    const start = cpuSeconds();
    let next = await step(0, prompt);
    const middle = cpuSeconds();
    for (let i = 0; i < decode; i++) {
        ids.push(next);
        next = await step(prompt.length + i, [next]);
    }
    return [middle - start, cpuSeconds() - middle, ids];
}

console.log(`ready ${llama.systemInfo}`);
for await (const line of readline.createInterface({ input: process.stdin })) {
    const [decode, ...prompt] = line.split(" ").filter(Boolean).map(Number);
    if (prompt.length === 0) continue;
    const [prefillSeconds, decodeSeconds, ids] = await run(prompt, decode);
    console.log([prefillSeconds.toFixed(6), decodeSeconds.toFixed(6), ...ids].join(" "));
}
process.exit(0);
