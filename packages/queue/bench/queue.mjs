// Benchmark of `Queue` against Python's `multiprocessing.Queue`. Producers and consumers are
// children of the process that owns the queue.
//
//   npm run build && node packages/queue/bench/queue.mjs [--rounds=5]
//   npx deno run -A packages/queue/bench/queue.mjs
//
// Both take turns. The table shows the medians over the rounds, and their ratio.
import { execFileSync } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { fromModule } from "@multiproc/core";
import { Process } from "@multiproc/process";
import { Queue } from "@multiproc/queue";

const rounds = Number(process.argv.find((flag) => flag.startsWith("--rounds="))?.slice(9) ?? 5);
const only = process.argv.find((flag) => flag.startsWith("--only="))?.slice(7);
const { produce, consume } = fromModule(new URL("./peers.mjs", import.meta.url));
const MIB = 1024 * 1024;

/**
 * Each case: pairs of a producer and a consumer, items of a pair, bytes of a buffer item, and puts
 * for each await.
 */
const cases = {
  "1 producer, 1 consumer": { pairs: 1, count: 500_000, size: 0, batch: 1000 },
  "1 and 1, each put awaited": { pairs: 1, count: 300_000, size: 0, batch: 1 },
  "2 producers, 2 consumers": { pairs: 2, count: 200_000, size: 0, batch: 1000 },
  "1 and 1, 1 MiB buffers": { pairs: 1, count: 1000, size: MIB, batch: 1 },
};

async function ours({ pairs, count, size, batch }) {
  const [queue, ready, go, done] = [new Queue(), new Queue(), new Queue(), new Queue()];
  const children = [];
  for (let i = 0; i < pairs; i++) {
    children.push(new Process({ target: produce, args: [queue, ready, go, count, size, batch] }));
    children.push(new Process({ target: consume, args: [queue, ready, done, count] }));
  }
  for (const child of children) await child.start();
  for (const _ of children) await ready.get();
  const start = performance.now();
  for (let i = 0; i < pairs; i++) await go.put("go");
  for (let i = 0; i < pairs; i++) await done.get();
  const rate = (pairs * count * 1000) / (performance.now() - start);
  for (const child of children) await child.join();
  return rate;
}

const python = ({ pairs, count, size }) =>
  Number(
    execFileSync("python3", [
      fileURLToPath(new URL("./python.py", import.meta.url)),
      ...[pairs, size > 0 ? count : Math.ceil(count / 8), size].map(String),
    ]),
  );

const median = (rates) => [...rates].sort((a, b) => a - b)[rates.length >> 1];
console.log(
  `${globalThis.Deno ? `Deno ${Deno.version.deno}` : `Node ${process.version}`}, ${rounds} rounds, items a second`,
);
const rows = [];
for (const [name, work] of Object.entries(cases)) {
  if (only !== undefined && !name.includes(only)) continue;
  const rates = { ours: [], python: [] };
  for (let round = 0; round < rounds; round++) {
    rates.ours.push(await ours(work));
    rates.python.push(python(work));
  }
  rows.push({ case: `Queue: ${name}`, who: "multiproc", unit: "items/s", values: rates.ours });
  rows.push({ case: `Queue: ${name}`, who: "Python", unit: "items/s", values: rates.python });
  const [a, b] = [median(rates.ours), median(rates.python)];
  const ratios = rates.ours.map((rate, i) => rate / rates.python[i]).sort((x, y) => x - y);
  console.log(
    `  ${name.padEnd(28)} ${a.toFixed(0).padStart(9)}   Python ${b.toFixed(0).padStart(9)}   ${(a / b).toFixed(2)} × (${ratios[0].toFixed(2)}–${ratios.at(-1).toFixed(2)})`,
  );
}
// The last line, for `npm run bench`.
if (process.argv.includes("--json")) console.log(JSON.stringify(rows));
