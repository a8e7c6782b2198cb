/**
 * Runs on a tested host and reports in one line of JSON what the host can do, and whether the parts of
 * the library work there. It is plain JavaScript over the packed packages, so that any host can run it.
 */
import process from "node:process";
import * as multiproc from "multiproc";
import { addUnderLock, echo, fill, square } from "./probe-tasks.mjs";

const { Lock, Pool, Process, Queue, SharedArray, ThreadPool, forkserverKind, getAllStartMethods, pipe } = multiproc;
const LIMIT = 60_000;
const checks = {
  async Process() {
    const child = new Process({ target: square, args: [2] });
    await child.start();
    equal(await child.join(), 0);
  },
  async pipe() {
    const [here, there] = pipe();
    const child = new Process({ target: echo, args: [there] });
    await child.start();
    await here.send(new Map([["big", 2n ** 70n]]));
    equal((await here.recv()).get("big"), 2n ** 70n);
    here.close();
    equal(await child.join(), 0);
  },
  async Queue() {
    const queue = new Queue();
    const child = new Process({ target: fill, args: [queue, 3] });
    await child.start();
    const items = [await queue.get(), await queue.get(), await queue.get()];
    equal(items.join(), "0,1,2");
    equal(await child.join(), 0);
    queue.close();
  },
  async Pool() {
    const pool = new Pool({ processes: 2 });
    equal((await pool.map(square, [1, 2, 3])).join(), "1,4,9");
    pool.close();
    await pool.join();
  },
  async ThreadPool() {
    const pool = new ThreadPool({ processes: 2 });
    equal((await pool.map(square, [1, 2, 3])).join(), "1,4,9");
    pool.close();
    await pool.join();
  },
  async Lock() {
    const lock = new Lock();
    const held = await lock.acquire();
    const child = new Process({ target: square, args: [lock] });
    await child.start();
    await held.release();
    equal(await child.join(), 0);
    equal(lock.locked(), false);
  },
  async SharedArray() {
    const lock = new Lock();
    const sums = new SharedArray("int32", 1);
    const children = [1, 2].map(() => new Process({ target: addUnderLock, args: [lock, sums, 100] }));
    for (const child of children) await child.start();
    for (const child of children) equal(await child.join(), 0);
    equal(sums.array[0], 200);
  },
};

const result = { version: version(), capabilities: {}, checks: {} };
for (const [name, check] of Object.entries(checks)) result.checks[name] = await outcome(check);
result.capabilities = {
  startMethods: await outcome(() => getAllStartMethods().join(", ")),
  forkserver: await outcome(async () => (await forkserverKind()).kind),
  locks: await outcome(() => new Lock().backend),
  typescript: "Deno" in globalThis || "Bun" in globalThis || Boolean(process.features.typescript),
};
console.log(JSON.stringify(result));
process.exit(0);

function version() {
  if ("Deno" in globalThis) return `Deno ${globalThis.Deno.version.deno}`;
  return "Bun" in globalThis ? `Bun ${globalThis.Bun.version}` : `Node ${process.versions.node}`;
}

/** Returns the result of a check, or its error as text. */
async function outcome(run) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${LIMIT / 1000} s`)), LIMIT);
  });
  try {
    return (await Promise.race([run(), late])) ?? "works";
  } catch (error) {
    return `fails: ${error.message}`;
  } finally {
    clearTimeout(timer);
  }
}

function equal(actual, expected) {
  if (actual !== expected) throw new Error(`${String(actual)} instead of ${String(expected)}`);
}
