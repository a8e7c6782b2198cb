// Runs under every start method.
// Thousands of tasks while workers are killed: every promise settles, every result is right, and nothing is left.
import fs from "node:fs";
import process from "node:process";
import { fromModule } from "@multiproc/core";
import { Pool, WorkerLostError } from "@multiproc/pool";
import { getAllStartMethods, getStartMethod } from "@multiproc/start-methods";
import { fixture, host, noChildLeft, until } from "@multiproc/testing";
import { afterEach, expect, test } from "vitest";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
const hard = fromModule<typeof import("./fixtures/hard-tasks.js")>(fixture(import.meta.url, "hard-tasks.js"));

/** One task in so many SIGKILLs its worker. */
const ONE_IN = 100;
const isFirstChoice = host === "node" && getStartMethod() === getAllStartMethods()[0];
/**
 * In CI all of them, on one host and by one start method: starting workers anew takes the time. Elsewhere fewer, unless somebody
 * asks by `SOAK=10000`.
 */
const COUNT = Number(process.env.SOAK ?? (process.env.CI === "true" && isFirstChoice ? 10_000 : 1000));

const WORKERS = 3;
/**
 * Where children are spares, there may be more of these in the end, one for each worker at most: the process, the channel to it and
 * what it writes are a file each. Killed workers that left one each behind would be more.
 */
const SPARE_FILES = host === "deno" && getStartMethod() === "forkserver" ? 3 * WORKERS : 0;

afterEach(() => noChildLeft());

/** The descriptors of this process; those of other systems are not counted. */
const openFiles = (): number => (fs.existsSync("/proc/self/fd") ? fs.readdirSync("/proc/self/fd").length : 0);
const segments = (): string[] => (fs.existsSync("/dev/shm") ? fs.readdirSync("/dev/shm") : []);

test(`${COUNT} tasks, of which one in ${ONE_IN} kills its worker`, { timeout: 300_000 }, async () => {
  // What the first pool opens for good, such as the door of this process, is there before it is counted.
  await inPool(new Pool({ processes: 1 }), (pool) => pool.apply(tasks.square, [1]));
  const before = { files: openFiles(), segments: segments() };
  await inPool(new Pool({ processes: WORKERS }), async (pool) => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: COUNT }, (_, i) =>
        i % ONE_IN === 50 ? pool.apply(tasks.kill, ["SIGKILL"]) : pool.apply(hard.pointOf, [i]),
      ),
    );
    for (const [i, outcome] of outcomes.entries()) {
      if (i % ONE_IN === 50) {
        expect(outcome).toMatchObject({ reason: { name: "WorkerLostError", task: "kill", signal: "SIGKILL" } });
        expect((outcome as PromiseRejectedResult).reason).toBeInstanceOf(WorkerLostError);
      } else {
        expect(outcome).toEqual({ status: "fulfilled", value: expect.anything() });
        const { value } = outcome as PromiseFulfilledResult<number | { x: number }>;
        expect(typeof value === "number" ? value : value.x).toBe(i);
      }
    }
    expect(pool.stats()).toMatchObject({ waiting: 0, running: 0, lost: Math.round(COUNT / ONE_IN) });
  });
  const allowed = before.files + SPARE_FILES;
  await until(() => openFiles() <= allowed, { message: () => `${allowed} open files, not ${openFiles()}` });
  expect(segments().filter((name) => name.includes("multiproc") && !before.segments.includes(name))).toEqual([]);
});

async function inPool(pool: Pool, run: (pool: Pool) => PromiseLike<unknown>): Promise<void> {
  try {
    await run(pool);
  } finally {
    await pool.terminate();
  }
}
