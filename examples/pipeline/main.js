/**
 * A pipeline of stages with queues between them. Each stage runs in one or more processes.
 *
 *   node examples/pipeline/main.js [DOCUMENTS]
 *
 *   read -> [queue of 16] -> hash (2 processes) -> [queue of 16] -> collect
 *
 * A full queue slows down the stage before it (back-pressure). The end travels along the queues: a
 * stage that has finished shuts down the queue after it, and the next stage ends when that queue is
 * empty. Ctrl+C ends the first stage, and so lets the others finish what was begun.
 */
import process from "node:process";
import { fromModule, Process, Queue } from "multiproc";

const HASHERS = 2;
const CAPACITY = 16;

const { hashAll, readAll } = fromModule(new URL("./stages.js", import.meta.url));
const count = Number(process.argv[2] ?? 200);

const documents = new Queue(CAPACITY);
const hashes = new Queue(CAPACITY);
const reader = new Process({ name: "read", target: readAll, args: [count, documents] });
const hashers = Array.from(
  { length: HASHERS },
  (_, i) => new Process({ name: `hash ${i + 1}`, target: hashAll, args: [documents, hashes] }),
);
const stages = [reader, ...hashers];

// The reader ends early; every stage after it ends as usual.
process.once("SIGINT", () => void documents.shutdown());

for (const stage of stages) await stage.start();
const ended = Promise.all(hashers.map((stage) => stage.join())).then(() => hashes.shutdown());

const seen = new Set();
for await (const { number, hash } of hashes) {
  seen.add(number);
  if (number === 0) console.log(`The first: ${hash}`);
}
await ended;
await reader.join();

console.log(`${seen.size} of ${count} documents`);
for (const { name, exitCode } of stages) if (exitCode !== 0) console.error(`${name} ended with ${exitCode}`);
process.exitCode = stages.every(({ exitCode }) => exitCode === 0) ? 0 : 1;
