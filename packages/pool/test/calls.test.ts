// Runs under every start method.
// Functions, arguments, maps and imaps in detail.
import fs from "node:fs";
import { fromModule, inline, SendError, TimeoutError } from "@multiproc/core";
import { Pool, PoolClosedError, type Progress } from "@multiproc/pool";
import { Queue } from "@multiproc/queue";
import { fixture, host, linesOf, runProgram, until } from "@multiproc/testing";
import { describe, expect, onTestFinished, test } from "vitest";
import { file, folder, poolOf } from "./pools.ts";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
const hard = fromModule<typeof import("./fixtures/hard-tasks.js")>(fixture(import.meta.url, "hard-tasks.js"));

describe("functions", () => {
  test("an inline function captures values and targets, and a worker evicts functions beyond its limit", async () => {
    const pool = poolOf({ processes: 1 });
    const functions = Array.from({ length: 600 }, (_, k) => inline((x: number) => x * k, { k }));
    for (const pass of [1, 2]) {
      const results = await Promise.all(functions.map((fn) => pool.apply(fn, [pass])));
      expect(results).toEqual(functions.map((_, k) => k * pass));
    }
    const { square } = tasks;
    expect(
      await pool.apply(
        inline((x: number) => square(x) + 1, { square }),
        [3],
      ),
    ).toBe(10);
    expect(await pool.apply(hard.callTwice, [square, 3])).toBe(81);
  });

  test("a captured value that cannot be sent rejects the call", async () => {
    const pool = poolOf({ processes: 1 });
    const fn = inline(() => 1, { handler: { run: () => {} } });
    await expect(pool.apply(fn)).rejects.toThrow(SendError);
    await expect(pool.apply(fn)).rejects.toThrow("fn.captured.handler.run");
  });

  test("currentTask() returns the name of the running task, and undefined after it", async () => {
    const pool = poolOf({ processes: 1 });
    expect(await pool.apply(hard.myTask)).toEqual({ name: "myTask", isAborted: false, isGone: false });
  });
});

describe("arguments", () => {
  test("a value that cannot be sent rejects the call with its place, before anything is sent", async () => {
    const pool = poolOf({ processes: 1 });
    const marks = file();
    await expect(pool.apply(hard.touch, [{ x: () => {} }, marks])).rejects.toThrow("Cannot send value at args[0].x: ");
    const inputs: unknown[] = Array.from({ length: 50 }, (_, i) => [i, marks]);
    inputs[33] = [Symbol("no"), marks];
    await expect(pool.starmap(hard.touch, inputs as never, { chunkSize: 10 })).rejects.toThrow("inputs[33][0]");
    await expect(pool.starmap(hard.touch, [1] as never)).rejects.toThrow(TypeError);
    await expect(pool.map(hard.touch, 5 as never)).rejects.toThrow(TypeError);
    expect(await pool.apply(tasks.square, [2])).toBe(4);
    expect(linesOf(marks)).toEqual([]);
  });

  test("arguments are serialized at the call, and later changes have no effect", async () => {
    const pool = poolOf({ processes: 1 });
    const list = [1, 2, 3];
    const results = Array.from({ length: 5 }, (_, i) => {
      list[0] = i;
      return pool.apply(
        inline((numbers: number[]) => numbers),
        [list],
      );
    });
    list.length = 0;
    expect(await Promise.all(results)).toEqual([0, 1, 2, 3, 4].map((i) => [i, 2, 3]));
  });

  test("workers have the name of the pool", async () => {
    const pool = poolOf({ processes: 1, name: "Thumbnails" });
    expect(await pool.apply(tasks.describeMe)).toEqual({ name: "Thumbnails-1", daemon: true });
  });

  test("shareable objects reach every worker through initArgs", async () => {
    const queue = new Queue<number>();
    const pool = poolOf({ processes: 2, initializer: hard.putPid, initArgs: [queue] });
    const pids = [await queue.get(), await queue.get()];
    expect(new Set(pids).size).toBe(2);
    await pool.apply(hard.putPid, [queue]);
    expect(pids).toContain(await queue.get());
    await pool.terminate();
    queue.close();
    expect(() => new Pool({ initializer: hard.putPid, initArgs: [() => {}] as never })).toThrow("Pool.initArgs[0]");
  });
});

describe("map()", () => {
  test("map() reports its progress and the time left", async () => {
    const pool = poolOf({ processes: 1 });
    const seen: Progress[] = [];
    await pool.map(hard.pidOf, [1, 2, 3, 4], { chunkSize: 2, onProgress: (progress) => seen.push(progress) });
    const last = seen.at(-1)!;
    expect(last).toMatchObject({ done: 4, total: 4, timeLeft: 0 });
    expect(last.rate).toBeCloseTo(4000 / last.elapsed);
  });

  test("an idle worker steals half of a slow chunk, and every item runs once", async () => {
    const pool = poolOf({ processes: 2 });
    await until(() => pool.stats().workers === 2);
    const marks = file();
    const inputs = Array.from({ length: 24 }, () => [20, marks] as [number, string]);
    const pids = await pool.starmap(hard.busyFor, inputs, { chunkSize: 24 });
    expect(new Set(pids).size).toBe(2);
    expect(linesOf(marks)).toHaveLength(24);
  });

  test("with settle, an item that throws, is unsendable or kills its worker fails alone, and nothing runs twice", async () => {
    for (const chunkSize of [1, 4, 10]) {
      const pool = poolOf({ processes: 1 });
      const marks = file();
      const inputs = Array.from({ length: 8 }, (_, x) => [x, marks] as [number, string]);
      const results = await pool.starmap(hard.endAs, inputs, { chunkSize, settle: true });
      const reasons = results.map((result) => (result.status === "rejected" ? result.reason : result.value));
      expect(reasons[1]).toBeInstanceOf(RangeError);
      expect(results[2]).toEqual({ status: "rejected", reason: undefined });
      expect(reasons[3]).toBeInstanceOf(SendError);
      expect(reasons[5]).toMatchObject({ name: "WorkerLostError", exitCode: 7 });
      expect([0, 4, 6, 7].map((x) => reasons[x])).toEqual([0, 4, 6, 7]);
      expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(4);
      expect(linesOf(marks).map(Number)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    }
    const pool = poolOf({ processes: 1, gracePeriod: 20 });
    const timed = await pool.map(tasks.sleep, [1, 60_000, 2], { chunkSize: 3, settle: true, timeout: 1400 });
    expect(timed.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  });

  test("progress() counts the inputs that are done", async () => {
    const pool = poolOf({ processes: 1 });
    const gate = file();
    const map = pool.map(tasks.waitForFile, [folder, gate, gate], { chunkSize: 1 });
    await until(() => map.progress().done === 1);
    expect(map.progress()).toMatchObject({ done: 1, total: 3 });
    fs.writeFileSync(gate, "");
    await map;
    expect(map.progress()).toMatchObject({ done: 3, total: 3, timeLeft: 0 });
    expect(pool.apply(tasks.square, [1]).progress()).toMatchObject({ done: 0, total: 1 });
  });

  test("an error of onProgress fails the map", async () => {
    const pool = poolOf({ processes: 1 });
    const onProgress = () => {
      throw new Error("stop reporting");
    };
    await expect(pool.map(tasks.square, [1, 2], { onProgress })).rejects.toThrow("stop reporting");
  });

  test("the timeout is for each input: an input that exceeds it is stopped and fails the map", async () => {
    const pool = poolOf({ processes: 1, gracePeriod: 20 });
    const sleep = (list: number[]) => pool.map(tasks.sleep, list, { chunkSize: 10, timeout: 1400 });
    expect(await sleep(new Array(8).fill(200))).toHaveLength(8);
    await expect(sleep([1, 60_000])).rejects.toThrow(TimeoutError);
    expect(await pool.apply(tasks.square, [3])).toBe(9);
  });

  test("cancel() and signals end a map, also while its inputs are read", async () => {
    const pool = poolOf({ processes: 2, gracePeriod: 20 });
    const map = pool.map(
      hard.slowAt,
      [1, 2, 3].map((x) => x),
      { chunkSize: 1 },
    );
    expect(await map.get().catch((error: unknown) => error)).toEqual([1, 2, 3]);
    const hanging = pool.starmap(
      hard.slowAt,
      [1, 2, 3].map((x) => [x, 2] as [number, number]),
      { chunkSize: 1 },
    );
    await until(() => pool.stats().running === 1 && pool.stats().completed === 5);
    hanging.cancel();
    await expect(hanging).rejects.toMatchObject({ name: "AbortError" });

    let isClosed = false;
    async function* forever() {
      try {
        while (true) yield await new Promise<number>((resolve) => setTimeout(resolve, 1, 1));
      } finally {
        isClosed = true;
      }
    }
    const controller = new AbortController();
    const reading = pool.map(tasks.square, forever(), { signal: controller.signal });
    controller.abort(new Error("enough"));
    await expect(reading).rejects.toThrow("enough");
    await until(() => isClosed);
    expect(await pool.map(tasks.square, [4])).toEqual([16]);
  });
});

describe("imap()", () => {
  test("an aborted signal ends the loop with its reason", async () => {
    const pool = poolOf({ processes: 1, gracePeriod: 20 });
    const controller = new AbortController();
    const reading = (async () => {
      for await (const _ of pool.imap(tasks.waitForFile, [folder, file()], { signal: controller.signal })) {
        controller.abort(new Error("enough"));
      }
    })();
    await expect(reading).rejects.toThrow("enough");
    expect(await pool.apply(tasks.square, [3])).toBe(9);
  });

  test("imap() continues after close(), and join() waits for its inputs", async () => {
    const pool = poolOf({ processes: 2 });
    const results = pool.imap(tasks.square, [1, 2, 3, 4, 5], { bufferSize: 2 });
    pool.close();
    await expect(pool.join({ timeout: 5 })).rejects.toThrow(TimeoutError);
    const seen: number[] = [];
    for await (const x of results) seen.push(x);
    expect(seen).toEqual([1, 4, 9, 16, 25]);
    await pool.join();
    // An imap() whose inputs are all done does not delay join(), even if its results are not taken.
    const other = poolOf({ processes: 2 });
    const late = other.imap(tasks.square, [1, 2, 3]);
    other.close();
    await other.join();
    expect((await late.next()).value).toBe(1);
  });

  test("terminate() ends a loop that waits for an input or a result", async () => {
    const pool = poolOf({ processes: 1 });
    const never = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) };
    const waiting = [pool.imap(tasks.square, never).next(), pool.imap(tasks.waitForFile, [file()]).next()];
    await pool.terminate();
    for (const step of waiting) await expect(step).rejects.toThrow(PoolClosedError);
  });

  test("the stack trace of an error leads to the loop", async () => {
    // Under vitest on Deno, vite's replacement leaves out functions that await.
    const { prepareStackTrace } = Error;
    onTestFinished(() => void (Error.prepareStackTrace = prepareStackTrace));
    if (host === "deno") Error.prepareStackTrace = undefined as never;
    const pool = poolOf({ processes: 1 });
    async function theLoop(): Promise<void> {
      for await (const _ of pool.imap(tasks.fail, [1, 2, 3]));
    }
    const error = await theLoop().catch((error: unknown) => error as Error);
    expect(error?.stack).toMatch(/tasks\.js[\s\S]*in worker \d+, called from[\s\S]*theLoop[\s\S]*calls\.test/);
    async function theMap(): Promise<void> {
      await pool.map(tasks.fail, [1, 2, 3]).get({ timeout: 10_000 });
    }
    const other = await theMap().catch((error: unknown) => error as Error);
    expect(other?.stack).toMatch(/tasks\.js[\s\S]*called from[\s\S]*theMap[\s\S]*calls\.test/);
  });
});

describe("programs", () => {
  test.each([
    ["pool-at-top.js", "[ 1, 4, 9 ]\n"],
    ["unseen-failure.js", "done\n"],
    ["leaves-loop.js", "done\n"],
  ])("the program %s ends by itself, without errors", async (name, output) => {
    const program = runProgram(fixture(import.meta.url, name));
    onTestFinished(() => program[Symbol.asyncDispose]());
    const { code } = await program.exited;
    expect(program.stderr).toBe("");
    expect(program.stdout).toBe(output);
    expect(code).toBe(0);
  });
});
