// Runs under every start method.
// The death of workers: which task fails, which are retried, and how the pool survives.
import fs from "node:fs";
import process from "node:process";
import { fromModule, ProcessError, SendError } from "@multiproc/core";
import { WorkerLostError } from "@multiproc/pool";
import { activeChildren } from "@multiproc/process";
import { fixture, isAlive } from "@multiproc/testing";
import { describe, expect, test } from "vitest";
import { file, poolOf } from "./pools.ts";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
const hard = fromModule<typeof import("./fixtures/hard-tasks.js")>(fixture(import.meta.url, "hard-tasks.js"));

describe("the failed task", () => {
  test.each(["SIGKILL", "SIGTERM"])(
    "%s among thousands of batched tasks fails only the tasks that it kills",
    async (signal) => {
      const pool = poolOf({ processes: 2 });
      const killers = [100, 101, 999];
      // The pool learns that the tasks are tiny, so that it batches them.
      await Promise.all(Array.from({ length: 500 }, (_, x) => pool.apply(hard.doubleUnless, [x, [], signal])));
      const results = await Promise.allSettled(
        Array.from({ length: 1000 }, (_, x) => pool.apply(hard.doubleUnless, [x, killers, signal])),
      );
      const lost = results.flatMap((result, x) => (result.status === "rejected" ? [x] : []));
      expect(lost).toEqual(killers);
      for (const [x, result] of results.entries()) {
        if (result.status === "fulfilled") expect(result.value).toBe(x * 2);
        else expect(result.reason).toMatchObject({ name: "WorkerLostError", signal, task: "doubleUnless" });
      }
    },
  );

  test("a task that exits among batched ones fails alone, and the tasks before it do not run again", async () => {
    const pool = poolOf({ processes: 1 });
    const marks = file();
    await pool.map(hard.exitAt, Array(300).fill(0));
    for (const at of [500, 501]) {
      const results = await Promise.allSettled(
        Array.from({ length: 1000 }, (_, x) => pool.apply(hard.exitAt, [x, at])),
      );
      expect(results.flatMap((result, x) => (result.status === "rejected" ? [x] : []))).toEqual([at]);
      expect(results[at]).toMatchObject({ reason: { exitCode: 5, signal: null } });
    }
    await Promise.all(Array.from({ length: 50 }, (_, x) => pool.apply(hard.touch, [x, marks])));
    expect(fs.readFileSync(marks, "utf8").trim().split("\n")).toHaveLength(50);
  });

  test("all results of a worker count that dies while tasks are sent to it", async () => {
    const pool = poolOf({ processes: 1 });
    const marks = file();
    const results: Promise<unknown>[] = [];
    const errors: unknown[] = [];
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 50; i++) results.push(pool.apply(hard.touch, [i, marks]).get());
      const kill = pool.apply(tasks.kill, ["SIGKILL"]);
      // Tiny tasks are prefetched at once: the channel breaks while they are written.
      for (let i = 0; i < 200 && !kill.ready(); i++) {
        results.push(pool.apply(tasks.square, [3]).get());
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      errors.push(await kill.get().catch((error: unknown) => error));
    }
    for (const error of errors) expect(error).toMatchObject({ task: "kill", signal: "SIGKILL" });
    expect(pool.stats().lost).toBe(3);
    await Promise.all(results);
    expect(fs.readFileSync(marks, "utf8").trim().split("\n")).toHaveLength(150);
  });

  test("an idle worker that is killed fails nothing", async () => {
    const pool = poolOf({ processes: 1 });
    for (let i = 0; i < 5; i++) {
      const pid = await pool.apply(hard.pidOf);
      process.kill(pid, "SIGKILL");
      // The worker may be dead by now or not: no task had begun.
      expect(await pool.apply(hard.pidOf)).not.toBe(pid);
    }
    expect(pool.stats().failed).toBe(0);
  });

  test("the results of a chunk before the death of its worker are kept", async () => {
    const pool = poolOf({ processes: 1 });
    const seen: number[] = [];
    const reading = (async () => {
      const inputs = [1, 2, 3, 4, 5, 6];
      for await (const x of pool.imap(tasks.fastUntilKilled, inputs, { chunkSize: 6 })) seen.push(x);
    })();
    await expect(reading).rejects.toThrow(WorkerLostError);
    expect(seen).toEqual([1, 2, 3]);
  });

  test("with retries, a map continues where its worker died, and runs no item with a result twice", async () => {
    const pool = poolOf({ processes: 1 });
    const marks = file();
    const inputs = Array.from({ length: 6 }, (_, x) => [x, marks, x === 3 ? file() : ""] as [number, string, string]);
    expect(await pool.starmap(tasks.touchOrDieOnce, inputs, { chunkSize: 6, retries: 1 })).toEqual([0, 1, 2, 3, 4, 5]);
    expect(fs.readFileSync(marks, "utf8").trim().split("\n").map(Number)).toEqual([0, 1, 2, 3, 3, 4, 5]);
  });

  test("an uncaught error ends the worker and fails the running task", async () => {
    const pool = poolOf({ processes: 1 });
    await expect(pool.apply(hard.throwLater)).rejects.toMatchObject({ name: "WorkerLostError", exitCode: 1 });
    expect(await pool.apply(tasks.square, [2])).toBe(4);
  });

  test("workers ignore SIGINT", async () => {
    const pool = poolOf({ processes: 1 });
    const pid = await pool.apply(hard.pidOf);
    process.kill(pid, "SIGINT");
    expect(await pool.apply(hard.pidOf)).toBe(pid);
    expect(isAlive(pid)).toBe(true);
  });
});

describe("results that cannot be sent", () => {
  test.each(["unsendableAt", "unsendableLater"] as const)(
    "a result of %s fails its map with the path, and the worker continues",
    async (name) => {
      const pool = poolOf({ processes: 1 });
      const pid = await pool.apply(hard.pidOf);
      const error = await pool
        .map(hard[name], [1, 2, 3, 4, 5], { chunkSize: 5 })
        .catch((error: unknown) => error as any);
      expect(error).toBeInstanceOf(SendError);
      expect(error.path).toBe("result.list[1]");
      const seen: unknown[] = [];
      const reading = (async () => {
        for await (const x of pool.imap(hard[name], [1, 2, 3, 4], { chunkSize: 4 })) seen.push(x);
      })();
      await expect(reading).rejects.toThrow("result.list[1]");
      expect(seen).toEqual([1, 2]);
      expect(await pool.apply(hard.pidOf)).toBe(pid);
    },
  );

  test("a thrown value that cannot be sent is described in words", async () => {
    const pool = poolOf({ processes: 1 });
    const error = await pool.apply(hard.throwFunction).catch((error: unknown) => error as any);
    expect(error).toBeInstanceOf(ProcessError);
    expect(error.message).toMatch(/threw a value that cannot be sent: .*function/);
  });

  test("a result whose class cannot be loaded here fails its task, and no later one", async () => {
    const pool = poolOf({ processes: 1 });
    const { secretAt } = fromModule<{ secretAt(x: number): unknown }>(fixture(import.meta.url, "only-in-workers.js"));
    const pid = await pool.apply(hard.pidOf);
    const calls = await Promise.allSettled([1, 2, 3, 4].map((x) => pool.apply(secretAt, [x])));
    expect(calls.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected", "fulfilled"]);
    await expect(pool.apply(secretAt, [3])).rejects.toThrow("only for workers");
    await expect(pool.map(secretAt, [1, 2, 3, 4], { chunkSize: 4 })).rejects.toThrow("only for workers");
    const seen: unknown[] = [];
    const reading = (async () => {
      for await (const x of pool.imap(secretAt, [0, 1, 2, 3, 4], { chunkSize: 3 })) seen.push(x);
    })();
    await expect(reading).rejects.toThrow("only for workers");
    expect(seen).toEqual([0, 1, 2]);
    expect(await pool.apply(hard.pidOf)).toBe(pid);
  });

  test("results whose classes must be loaded first arrive in order", async () => {
    const pool = poolOf({ processes: 1 });
    const results = await Promise.all([0, 1, 2, 3].map((x) => pool.apply(hard.pointOf, [x])));
    const { Point } = await import("./fixtures/hard-tasks.js");
    expect(results).toEqual([new Point(0, -0), 1, new Point(2, -2), 3]);
    expect(results[2]?.constructor.name).toBe("Point");
  });
});

describe("a pool", () => {
  test("a pool survives tasks that kill all their workers", async () => {
    const pool = poolOf({ processes: 2 });
    const results = await Promise.allSettled(Array.from({ length: 12 }, () => pool.apply(tasks.kill, ["SIGKILL"])));
    for (const result of results) expect(result).toMatchObject({ reason: { name: "WorkerLostError" } });
    expect(await pool.map(tasks.square, [1, 2, 3])).toEqual([1, 4, 9]);
  });

  test("a pool whose workers are killed at random settles every task with the right result", {
    timeout: 60_000,
  }, async () => {
    const pool = poolOf({ processes: 3 });
    let kills = 0;
    const killing = setInterval(() => {
      const children = activeChildren();
      const victim = children[Math.floor(Math.random() * children.length)];
      if (kills < 30 && victim?.pid !== undefined && pool.stats().workers > 1) {
        kills++;
        victim.kill();
      }
    }, 20);
    try {
      const patient = Array.from({ length: 3000 }, (_, i) => pool.apply(tasks.square, [i], { retries: 100 }));
      const mapped = pool.map(
        hard.pointOf,
        Array.from({ length: 3000 }, (_, i) => i),
        { chunkSize: 7, retries: 100 },
      );
      const slow = Array.from({ length: 100 }, (_, i) => pool.apply(tasks.sleep, [3, i]));
      expect(await Promise.all(patient)).toEqual(Array.from({ length: 3000 }, (_, i) => i * i));
      expect((await mapped).map((value) => (typeof value === "number" ? value : value.x))).toEqual(
        Array.from({ length: 3000 }, (_, i) => i),
      );
      let streamed = 0;
      for await (const value of pool.imap(
        tasks.sleep,
        Array.from({ length: 200 }, () => 1),
        { retries: 100 },
      )) {
        expect(value).toBe(1);
        streamed++;
      }
      expect(streamed).toBe(200);
      for (const [i, result] of (await Promise.allSettled(slow)).entries()) {
        if (result.status === "fulfilled") expect(result.value).toBe(i);
        else expect(result.reason).toBeInstanceOf(WorkerLostError);
      }
    } finally {
      clearInterval(killing);
    }
    expect(pool.stats()).toMatchObject({ waiting: 0, running: 0 });
    expect(kills).toBeGreaterThan(0);
  });
});
