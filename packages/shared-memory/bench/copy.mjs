// Copying into and out of shared memory, compared with copying between ordinary arrays.
//
//   npm run build && node packages/shared-memory/bench/copy.mjs [--rounds=21] [--json]
//   npx deno run -A packages/shared-memory/bench/copy.mjs
import process from "node:process";
import { SharedMemory } from "@multiproc/shared-memory";

const BLOCK_BYTES = 8 << 20;
const rounds = Number(process.argv.find((flag) => flag.startsWith("--rounds="))?.slice(9) ?? 21);
const memory = new SharedMemory({ create: true, size: BLOCK_BYTES });
const [from, to] = [new Uint8Array(BLOCK_BYTES).fill(1), new Uint8Array(BLOCK_BYTES).fill(2)];
const runs = {
  "between ordinary arrays": () => to.set(from),
  "into shared memory": () => memory.buf.set(from),
  "out of shared memory": () => to.set(memory.buf),
};
const results = new Map(Object.keys(runs).map((name) => [name, []]));
for (let round = 0; round < rounds; round++) {
  for (const [name, run] of Object.entries(runs)) {
    const startedAt = performance.now();
    for (let i = 0; i < 5; i++) run();
    results.get(name).push((5 * BLOCK_BYTES) / (performance.now() - startedAt) / 1e6);
  }
}
memory.close();
const median = (list) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)];
console.log(`${globalThis.Deno ? `Deno ${Deno.version.deno}` : `Node ${process.version}`}, blocks of 8 MiB`);
for (const [name, list] of results) {
  const ratio = median(list) / median(results.get("between ordinary arrays"));
  console.log(`  ${name.padEnd(26)} ${median(list).toFixed(1).padStart(6)} GB/s   ${ratio.toFixed(2)} × the first`);
}
// `npm run bench` reads the last line.
if (process.argv.includes("--json")) {
  const rows = [...results].map(([name, values]) => ({
    case: "Shared memory: copies of 8 MiB",
    who: name.includes("shared") ? `multiproc, ${name}` : name,
    unit: "GB/s",
    values,
  }));
  console.log(JSON.stringify(rows));
}
