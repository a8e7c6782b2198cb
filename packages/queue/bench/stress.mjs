// Many short lives of queues under load: every item once, each producer's order kept, nobody left waiting.
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
const COUNT = 2000;

async function run(number) {
  const queue = new Queue(number % 2 === 0 ? 0 : 50);
  const results = new Queue();
  const start = async (target, ...args) => {
    const child = new Process({ target, args, startMethod });
    await child.start();
    return child;
  };
  const consumers = await Promise.all([start(take, queue, results), start(take, queue, results)]);
  const producers = await Promise.all([0, 1].map((i) => start(put, queue, i * COUNT, (i + 1) * COUNT, number % 3)));
  const victim = number % 4 === 3 ? await start(take, queue, results) : undefined;
  victim?.kill();
  for (const child of producers) await child.join();
  const form = await queue.form();
  await queue.shutdown();
  const seen = [await results.get(), await results.get()];
  for (const child of consumers) await child.join();
  await victim?.join();
  const all = seen.flat().sort((a, b) => a - b);
  // One that was killed may have got some.
  const isWhole = victim !== undefined || (all.length === 2 * COUNT && all.every((item, i) => item === i));
  const isOrdered = seen.every((list) =>
    [0, 1].every((i) => {
      const own = list.filter((item) => Math.floor(item / COUNT) === i);
      return own.every((item, k) => k === 0 || item > own[k - 1]);
    }),
  );
  const isOnce = new Set(all).size === all.length;
  if (!isWhole || !isOrdered || !isOnce)
    throw new Error(`run ${number}: ${JSON.stringify({ form, isWhole, isOrdered, isOnce, n: all.length })}`);
  return form;
}

const forms = {};
const began = performance.now();
for (let i = 0; i < runs; i++) {
  const stalled = setTimeout(() => {
    console.log(`run ${i} has stalled`);
    process.exit(1);
  }, 60_000);
  const form = await run(i);
  clearTimeout(stalled);
  forms[form] = (forms[form] ?? 0) + 1;
}
console.log(
  `${startMethod}: ${runs} runs in ${((performance.now() - began) / 1000).toFixed(0)} s, ${JSON.stringify(forms)}`,
);
