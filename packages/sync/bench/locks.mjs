// Locks against Python's `multiprocessing.Lock`: alone, contended by two processes, and after the holder was SIGKILLed.
//
//   npm run build && node packages/sync/bench/locks.mjs [--rounds=5] [--json]
//   npx deno run -A packages/sync/bench/locks.mjs
//
// The contenders take turns, each with the same number of operations. The table shows the median
// nanoseconds of one acquire and release.
import { execFileSync } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { pipe } from "@multiproc/pipe";
import { Pool } from "@multiproc/pool";
import { Process } from "@multiproc/process";
import { Barrier, Lock } from "@multiproc/sync";
import { awaitAlone, hold, lockAlone, semaphoreAlone, work } from "./tasks.js";

const rounds = Number(process.argv.find((flag) => flag.startsWith("--rounds="))?.slice(9) ?? 5);
const ACQUIRE_COUNT = 1_000_000;
const python = (kind, count) =>
  Number(execFileSync("python3", [fileURLToPath(new URL("python.py", import.meta.url)), kind, String(count)]));

const pool = new Pool({ processes: 2 });

/** Runs in a process of its own, like Python's side: the classes that a program uses determine the speed of its loops. */
async function alone(task) {
  const pool = new Pool({ processes: 1 });
  const time = await pool.apply(task, [ACQUIRE_COUNT]);
  await pool.terminate();
  return time;
}

async function contended(isAsync) {
  const count = isAsync ? ACQUIRE_COUNT / 4 : ACQUIRE_COUNT;
  const startBarrier = new Barrier(2);
  const shared = new Lock();
  const times = await pool.starmap(
    work,
    [
      [shared, startBarrier, count, isAsync],
      [shared, startBarrier, count, isAsync],
    ],
    { chunkSize: 1 },
  );
  const startedAt = Math.min(...times.map(([startedAt]) => startedAt));
  return ((Math.max(...times.map(([, end]) => end)) - startedAt) / (2 * count)) * 1e6;
}

/** Measures the milliseconds from the SIGKILL until a waiter in its event loop has the lock. */
async function recovery() {
  const shared = new Lock();
  const [ours, theirs] = pipe();
  const child = new Process({ target: hold, args: [shared, theirs] });
  await child.start();
  await ours.recv();
  const waiting = shared.acquire();
  await new Promise((resolve) => setTimeout(resolve, 200));
  const startedAt = performance.now();
  child.kill();
  await (await waiting).release();
  const elapsedMs = performance.now() - startedAt;
  await child.join();
  return elapsedMs;
}

const CONTENDERS = [
  ["a lock, uncontended", "Python", () => python("alone", ACQUIRE_COUNT)],
  ["a lock, uncontended", "multiproc", () => alone(lockAlone)],
  ["a lock, uncontended", "multiproc, await", () => alone(awaitAlone)],
  ["a lock, uncontended", "multiproc, a semaphore", () => alone(semaphoreAlone)],
  ["a lock, contended by two processes", "Python", () => python("contended", ACQUIRE_COUNT)],
  ["a lock, contended by two processes", "multiproc", () => contended(false)],
  ["a lock, contended by two processes", "multiproc, await", () => contended(true)],
].map(([name, who, run]) => ({ case: name, who, run, values: [] }));
const recoveries = [];
await contended(false);
for (let round = 0; round < rounds; round++) {
  for (const contender of CONTENDERS) contender.values.push(await contender.run());
  recoveries.push(await recovery());
}
await pool.terminate();

if (process.argv.includes("--json")) {
  const perSecond = CONTENDERS.map(({ values, run: _, ...row }) => ({
    ...row,
    unit: "acquired and released/s",
    values: values.map((nanoseconds) => 1e9 / nanoseconds),
  }));
  const recoveryRow = { case: "a lock is handed on after a SIGKILL", who: "multiproc", unit: "ms", values: recoveries };
  console.log(JSON.stringify([...perSecond, recoveryRow]));
} else {
  const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
  console.log(`${globalThis.Deno ? `Deno ${Deno.version.deno}` : `Node ${process.version}`}, ${rounds} rounds`);
  for (const { case: name, who, values } of CONTENDERS) {
    const base = CONTENDERS.find((other) => other.case === name).values;
    const ratio = median(values) / median(base);
    console.log(
      `  ${`${name}: ${who}`.padEnd(60)} ${median(values).toFixed(1).padStart(8)} ns   ${ratio.toFixed(2)} × Python's time`,
    );
  }
  console.log(`  ${"handed on after a SIGKILL".padEnd(60)} ${median(recoveries).toFixed(1).padStart(8)} ms`);
}
process.exit();
