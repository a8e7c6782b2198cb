// Stress test: many short-lived queues under load. Each item must arrive once, in the order of its
// producer, and no process may wait forever.
//
//   npm run build && node packages/queue/bench/stress.mjs [--method=fork] [--runs=200]
import process from "node:process";
import { fromModule } from "@multiproc/core";
import { Process } from "@multiproc/process";
import { Queue } from "@multiproc/queue";

const flag = (name) => process.argv.find((flag) => flag.startsWith(`--${name}=`))?.slice(name.length + 3);
const startMethod = flag("method") ?? "spawn";
const runs = Number(flag("runs") ?? 200);
const { put, take } = fromModule(new URL("./stress-tasks.mjs", import.meta.url));
const ITEMS_PER_PRODUCER = 2000;

async function run(runIndex) {
  const queue = new Queue(runIndex % 2 === 0 ? 0 : 50);
  const results = new Queue();
  const start = async (target, ...args) => {
    const child = new Process({ target, args, startMethod });
    await child.start();
    return child;
  };
  const consumers = await Promise.all([start(take, queue, results), start(take, queue, results)]);
  const producers = await Promise.all(
    [0, 1].map((i) => start(put, queue, i * ITEMS_PER_PRODUCER, (i + 1) * ITEMS_PER_PRODUCER, runIndex % 3)),
  );
  const victim = runIndex % 4 === 3 ? await start(take, queue, results) : undefined;
  victim?.kill();
  for (const child of producers) await child.join();
  const backend = await queue.backend();
  await queue.shutdown();
  const seen = [await results.get(), await results.get()];
  for (const child of consumers) await child.join();
  await victim?.join();
  const all = seen.flat().sort((a, b) => a - b);
  // The consumer that was killed may have taken items.
  const isWhole = victim !== undefined || (all.length === 2 * ITEMS_PER_PRODUCER && all.every((item, i) => item === i));
  const isOrdered = seen.every((list) =>
    [0, 1].every((i) => {
      const own = list.filter((item) => Math.floor(item / ITEMS_PER_PRODUCER) === i);
      return own.every((item, k) => k === 0 || item > own[k - 1]);
    }),
  );
  const isOnce = new Set(all).size === all.length;
  if (!isWhole || !isOrdered || !isOnce)
    throw new Error(`run ${runIndex}: ${JSON.stringify({ backend, isWhole, isOrdered, isOnce, n: all.length })}`);
  return backend;
}

const backends = {};
const began = performance.now();
for (let i = 0; i < runs; i++) {
  const stalled = setTimeout(() => {
    console.log(`run ${i} has stalled`);
    process.exit(1);
  }, 60_000);
  const backend = await run(i);
  clearTimeout(stalled);
  backends[backend] = (backends[backend] ?? 0) + 1;
}
console.log(
  `${startMethod}: ${runs} runs in ${((performance.now() - began) / 1000).toFixed(0)} s, ${JSON.stringify(backends)}`,
);
