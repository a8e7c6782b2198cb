// Locks against Python's `multiprocessing.Lock`: alone, contended by two processes, and after the holder was SIGKILLed.
//
//   npm run build && node packages/sync/bench/locks.mjs [--rounds=5]
//   npx deno run -A packages/sync/bench/locks.mjs
//
// They take turns; the table holds medians of nanoseconds for each acquire and release.
import { execFileSync } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { pipe } from "@multiproc/pipe";
import { Pool } from "@multiproc/pool";
import { Process } from "@multiproc/process";
import { Barrier, Lock, Semaphore } from "@multiproc/sync";
import { hold, work } from "./tasks.js";

const rounds = Number(process.argv.find((flag) => flag.startsWith("--rounds="))?.slice(9) ?? 5);
const COUNT = 1_000_000;
const python = (kind, count) =>
  Number(execFileSync("python3", [fileURLToPath(new URL("python.py", import.meta.url)), kind, String(count)]));

const lock = new Lock();
const semaphore = new Semaphore(1);
const pool = new Pool({ processes: 2 });

function alone(thing) {
  const begin = performance.now();
  for (let i = 0; i < COUNT; i++) thing.acquireSync().release();
  return ((performance.now() - begin) / COUNT) * 1e6;
}

async function aloneAsync() {
  const begin = performance.now();
  for (let i = 0; i < COUNT; i++) (await lock.acquire()).release();
  return ((performance.now() - begin) / COUNT) * 1e6;
}

async function contended(isAsync) {
  const count = isAsync ? COUNT / 4 : COUNT;
  const start = new Barrier(2);
  const shared = new Lock();
  const times = await pool.starmap(
    work,
    [
      [shared, start, count, isAsync],
      [shared, start, count, isAsync],
    ],
    { chunkSize: 1 },
  );
  const begin = Math.min(...times.map(([begin]) => begin));
  return ((Math.max(...times.map(([, end]) => end)) - begin) / (2 * count)) * 1e6;
}

/** From the SIGKILL to the next holder, who waits in its event loop; in milliseconds. */
async function recovery() {
  const shared = new Lock();
  const [ours, theirs] = pipe();
  const child = new Process({ target: hold, args: [shared, theirs] });
  await child.start();
  await ours.recv();
  const waiting = shared.acquire();
  await new Promise((resolve) => setTimeout(resolve, 200));
  const begin = performance.now();
  child.kill();
  await (await waiting).release();
  const took = performance.now() - begin;
  await child.join();
  return took;
}

const runs = {
  "Python alone": () => python("alone", COUNT),
  "acquireSync() alone": () => alone(lock),
  "acquire() alone": aloneAsync,
  "Semaphore, acquireSync() alone": () => alone(semaphore),
  "Python contended": () => python("contended", COUNT / 4),
  "acquireSync() contended": () => contended(false),
  "acquire() contended": () => contended(true),
};
const results = new Map(Object.keys(runs).map((name) => [name, []]));
const recoveries = [];
await contended(false);
for (let round = 0; round < rounds; round++) {
  for (const [name, run] of Object.entries(runs)) results.get(name).push(await run());
  recoveries.push(await recovery());
}
await pool.terminate();

const median = (list) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)];
console.log(`${globalThis.Deno ? `Deno ${Deno.version.deno}` : `Node ${process.version}`}, ${rounds} rounds`);
for (const [name, list] of results) {
  const base = results.get(name.endsWith("contended") ? "Python contended" : "Python alone");
  const ratio = median(list) / median(base);
  console.log(`  ${name.padEnd(32)} ${median(list).toFixed(1).padStart(8)} ns   ${ratio.toFixed(2)} × Python's time`);
}
console.log(`  handed on after a SIGKILL        ${median(recoveries).toFixed(1).padStart(8)} ms`);
process.exit();
