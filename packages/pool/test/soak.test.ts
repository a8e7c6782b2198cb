// Runs under every start method.
// A soak test: workers are killed during thousands of tasks. Every promise settles, every result
// is right, and no process, descriptor or segment is left.
import fs from "node:fs";
import process from "node:process";
import { fromModule } from "@multiproc/core";
import { Pool, WorkerLostError } from "@multiproc/pool";
import { getAllStartMethods, getStartMethod } from "@multiproc/start-methods";
import { fixture, host, noChildLeft, until } from "@multiproc/testing";
import { afterEach, expect, test } from "vitest";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
const hard = fromModule<typeof import("./fixtures/hard-tasks.js")>(fixture(import.meta.url, "hard-tasks.js"));

/** One task in 100 kills its worker. */
const TASKS_PER_KILL = 100;
const isFirstChoice = host === "node" && getStartMethod() === getAllStartMethods()[0];
/**
 * 10,000 in CI, on one host and with one start method, because replacing workers takes long. Fewer
 * elsewhere, unless `SOAK=10000` is set.
 */
const TASK_COUNT = Number(process.env.SOAK ?? (process.env.CI === "true" && isFirstChoice ? 10_000 : 1000));

const WORKER_COUNT = 3;
/**
 * Spares may remain, one for each worker at most, with three descriptors each: process, channel and
 * output. A descriptor leaked by each killed worker would be more.
 */
const MAX_SPARE_FDS = host === "deno" && getStartMethod() === "forkserver" ? 3 * WORKER_COUNT : 0;

afterEach(() => noChildLeft());

/** Returns the number of open descriptors, or 0 if the system does not list them. */
const countOpenFds = (): number => (fs.existsSync("/proc/self/fd") ? fs.readdirSync("/proc/self/fd").length : 0);
const segments = (): string[] => (fs.existsSync("/dev/shm") ? fs.readdirSync("/dev/shm") : []);

test(`${TASK_COUNT} tasks, of which one in ${TASKS_PER_KILL} kills its worker`, { timeout: 300_000 }, async () => {
  // The first pool opens what stays open, such as the endpoint of this process.
  await inPool(new Pool({ processes: 1 }), (pool) => pool.apply(tasks.square, [1]));
  // Deno opens a pair of sockets with the first signal listener, and keeps them.
  process.once("SIGUSR2", () => {});
  const before = { files: countOpenFds(), segments: segments() };
  await inPool(new Pool({ processes: WORKER_COUNT }), async (pool) => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: TASK_COUNT }, (_, i) =>
        i % TASKS_PER_KILL === 50 ? pool.apply(tasks.kill, ["SIGKILL"]) : pool.apply(hard.pointOf, [i]),
      ),
    );
    for (const [i, outcome] of outcomes.entries()) {
      if (i % TASKS_PER_KILL === 50) {
        expect(outcome).toMatchObject({ reason: { name: "WorkerLostError", task: "kill", signal: "SIGKILL" } });
        expect((outcome as PromiseRejectedResult).reason).toBeInstanceOf(WorkerLostError);
      } else {
        expect(outcome).toEqual({ status: "fulfilled", value: expect.anything() });
        const { value } = outcome as PromiseFulfilledResult<number | { x: number }>;
        expect(typeof value === "number" ? value : value.x).toBe(i);
      }
    }
    expect(pool.stats()).toMatchObject({ waiting: 0, running: 0, lost: Math.round(TASK_COUNT / TASKS_PER_KILL) });
  });
  const allowed = before.files + MAX_SPARE_FDS;
  await until(() => countOpenFds() <= allowed, { message: () => `${allowed} open files, not ${countOpenFds()}` });
  expect(segments().filter((name) => name.includes("multiproc") && !before.segments.includes(name))).toEqual([]);
});

async function inPool(pool: Pool, run: (pool: Pool) => PromiseLike<unknown>): Promise<void> {
  try {
    await run(pool);
  } finally {
    await pool.terminate();
  }
}
