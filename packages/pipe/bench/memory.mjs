// Memory of open pipes to another process: opens 1,000 and uses each once in both directions.
//
//   npm run build && node --expose-gc packages/pipe/bench/memory.mjs
import process from "node:process";
import { fromModule } from "@multiproc/core";
import { pipe } from "@multiproc/pipe";
import { Process } from "@multiproc/process";

const { keepEnds } = fromModule(new URL("../test/fixtures/keeps-ends.js", import.meta.url));
const [here, there] = pipe();
const child = new Process({ target: keepEnds, args: [there] });
await child.start();
const open = [];
const openOne = async () => {
  const [a, b] = pipe();
  await here.send(b);
  await a.send(1);
  await a.recv();
  open.push(a);
};
await openOne();
const settledRss = async () => {
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return process.memoryUsage().rss;
};
const before = await settledRss();
for (let i = 0; i < 1000; i++) await openOne();
const after = await settledRss();
console.log(`1,000 open pipes cost ${((after - before) / 1e6).toFixed(1)} MB in this process`);
here.close();
await child.join();
