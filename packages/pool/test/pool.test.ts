// Runs under every start method.
import fs from "node:fs";
import path from "node:path";
import { fromModule, inline, SendError, TargetError, TimeoutError } from "@multiproc/core";
import { Pool, PoolClosedError, WorkerLostError } from "@multiproc/pool";
import { getStartMethod } from "@multiproc/start-methods";
import { fixture, isAlive, linesOf, runProgram, until } from "@multiproc/testing";
import { describe, expect, onTestFinished, test } from "vitest";
import { file, folder, poolOf } from "./pools.ts";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));

describe("Pool", () => {
  test("apply() calls a function in a worker", async () => {
    const pool = poolOf();
    expect(await pool.apply(tasks.square, [7])).toBe(49);
    expect(await pool.apply(tasks.add, [1, 2])).toBe(3);
    expect(await pool.apply(tasks.describeMe)).toEqual({
      name: expect.stringMatching(/^PoolWorker-[12]$/),
      daemon: true,
    });
    expect(
      await pool.apply(
        inline((x: number) => x + 1),
        [1],
      ),
    ).toBe(2);
  });

  test("map() and starmap() keep the order of their inputs", async () => {
    const pool = poolOf();
    const inputs = Array.from({ length: 1000 }, (_, i) => i);
    expect(await pool.map(tasks.square, inputs)).toEqual(inputs.map((i) => i * i));
    expect(await pool.map(tasks.square, new Set(inputs), { chunkSize: 7 })).toEqual(inputs.map((i) => i * i));
    expect(
      await pool.starmap(
        tasks.add,
        inputs.map((i) => [i, 1] as [number, number]),
      ),
    ).toEqual(inputs.map((i) => i + 1));
    expect(await pool.map(tasks.square, [])).toEqual([]);
    const asynchronous = (async function* () {
      yield* [1, 2, 3];
    })();
    expect(await pool.map(tasks.square, asynchronous)).toEqual([1, 4, 9]);
  });

  test("map() reports its progress", async () => {
    const seen: number[] = [];
    await poolOf().map(tasks.square, [1, 2, 3, 4], {
      chunkSize: 1,
      onProgress: ({ done, total }) => seen.push(done, total),
    });
    expect(seen.filter((_, i) => i % 2 === 1)).toEqual([4, 4, 4, 4]);
    expect(seen.filter((_, i) => i % 2 === 0)).toEqual([1, 2, 3, 4]);
  });

  test("imap() yields results in order, imapUnordered() as they arrive", async () => {
    const pool = poolOf();
    const ordered: number[] = [];
    for await (const result of pool.imap(tasks.square, [1, 2, 3, 4, 5])) ordered.push(result);
    expect(ordered).toEqual([1, 4, 9, 16, 25]);
    const chunked: number[] = [];
    for await (const result of pool.imap(tasks.square, [1, 2, 3, 4, 5], { chunkSize: 2 })) chunked.push(result);
    expect(chunked).toEqual(ordered);

    const gate = file();
    const results = pool.imapUnordered(tasks.waitForFile, [gate, folder]);
    const first = await results.next();
    fs.writeFileSync(gate, "");
    const second = await results.next();
    expect([first.done, second.done]).toEqual([false, false]);
    expect((await results.next()).done).toBe(true);
  });

  test("imap() has back-pressure: it reads inputs, also async ones, only as results are taken", async () => {
    const pool = poolOf();
    for (const asynchronous of [false, true]) {
      let read = 0;
      function* count() {
        while (true) yield read++;
      }
      async function* countSlowly() {
        while (true) yield read++;
      }
      const results = pool.imap(tasks.square, asynchronous ? countSlowly() : count(), { bufferSize: 5 });
      for (let i = 0; i < 10; i++) {
        expect((await results.next()).value).toBe(i * i);
        expect(read).toBeLessThanOrEqual(i + 1 + 5);
      }
      await results.return();
      const after = read;
      await pool.apply(tasks.square, [1]);
      expect(read).toBe(after);
    }
    // Cancelled tasks end a little later.
    await until(() => pool.stats().running === 0);
    expect(pool.stats().waiting).toBe(0);
  });

  test("leaving the loop closes the input and cancels the remaining work", async () => {
    const pool = poolOf({ processes: 1, gracePeriod: 50 });
    let isClosed = false;
    const marks = file();
    function* inputs() {
      try {
        yield folder;
        while (true) yield path.join(folder, "never");
      } finally {
        isClosed = true;
      }
    }
    for await (const _ of pool.imap(tasks.waitForFile, inputs())) break;
    expect(isClosed).toBe(true);
    await pool.apply(tasks.say, [marks]);
    expect(linesOf(marks).length).toBe(1);
  });

  test("imap() yields the results before an error of its input", async () => {
    const pool = poolOf();
    function* inputs() {
      yield* [1, 2];
      throw new Error("no more");
    }
    const seen: number[] = [];
    const reading = (async () => {
      for await (const result of pool.imap(tasks.square, inputs())) seen.push(result);
    })();
    await expect(reading).rejects.toThrow("no more");
    expect(seen).toEqual([1, 4]);
    await expect(pool.map(tasks.square, inputs())).rejects.toThrow("no more");
  });

  test("the error of a task arrives as itself, and its stack trace continues with the caller's", async () => {
    const pool = poolOf();
    const error = await (async function theCaller() {
      return await pool.apply(tasks.fail, [undefined]);
    })().catch((error: unknown) => error as any);
    expect(error).toBeInstanceOf(RangeError);
    expect(error).toMatchObject({ message: "No undefined", code: "E_NO" });
    expect(error.cause).toBeInstanceOf(TypeError);
    expect(error.stack).toMatch(/tasks\.js[\s\S]*called from[\s\S]*theCaller[\s\S]*pool\.test/);
    await expect(pool.map(tasks.fail, [1, 2, 3, 4])).rejects.toThrow("No 3");
    const reading = (async () => {
      for await (const _ of pool.imap(tasks.fail, [1, 2, 3, 4]));
    })();
    await expect(reading).rejects.toThrow("No 3");
    for (const what of ["text", undefined, null]) {
      const [result] = await Promise.allSettled([pool.apply(tasks.throwText, [what])]);
      expect(result).toEqual({ status: "rejected", reason: what });
    }
    expect(await pool.apply(tasks.square, [2])).toBe(4);
  });

  test("a value that cannot be sent fails its call with its path, and the worker continues", async () => {
    const pool = poolOf({ processes: 1 });
    const pid = await pool.apply(tasks.myPid);
    await expect(pool.apply(tasks.square, [(() => {}) as never])).rejects.toThrow(SendError);
    const error = await pool.apply(tasks.unsendable).catch((error: unknown) => error as any);
    expect(error).toBeInstanceOf(SendError);
    expect(error.path).toBe("result.list[1]");
    expect(await pool.apply(tasks.myPid)).toBe(pid);
  });

  test("an AsyncResult has get(), wait(), ready() and successful()", async () => {
    const pool = poolOf({ processes: 1 });
    const gate = file();
    const result = pool.apply(tasks.waitForFile, [gate, 5]);
    expect(result.ready()).toBe(false);
    expect(() => result.successful()).toThrow("before the result was ready");
    await expect(result.get({ timeout: 5 })).rejects.toThrow(TimeoutError);
    expect(await result.wait({ timeout: 5 })).toBe(false);
    fs.writeFileSync(gate, "");
    expect(await result.get()).toBe(5);
    expect([result.ready(), result.successful()]).toEqual([true, true]);
    const failing = pool.apply(tasks.fail, [undefined]);
    expect(await failing.wait()).toBe(true);
    expect(failing.successful()).toBe(false);
    await expect(failing.get()).rejects.toThrow(RangeError);
  });

  test("a pool completes 10,000 calls at once", async () => {
    const pool = poolOf();
    const results = await Promise.all(Array.from({ length: 10_000 }, (_, i) => pool.apply(tasks.square, [i])));
    expect(results).toEqual(Array.from({ length: 10_000 }, (_, i) => i * i));
    expect(pool.stats()).toEqual({
      ...{ workers: expect.any(Number), waiting: 0, running: 0 },
      ...{ completed: 10_000, failed: 0, lost: 0 },
    });
  });

  test("an argument of 50 MB arrives", async () => {
    const pool = poolOf({ processes: 1 });
    expect(await pool.apply(tasks.length, [new Uint8Array(50_000_000)])).toBe(50_000_000);
  });

  test("a task can create a pool, whose workers end with the task's worker, also if that is killed", async () => {
    const pool = poolOf({ processes: 1 });
    expect(await pool.apply(tasks.nested, [[1, 2]])).toEqual([1, 4]);
    const marks = file();
    const stuck = pool.apply(tasks.nestedLoop, [marks]);
    await until(() => linesOf(marks).length === 1);
    const grandchild = Number(linesOf(marks)[0]);
    expect(isAlive(grandchild)).toBe(true);
    await pool.terminate();
    await expect(stuck).rejects.toThrow(PoolClosedError);
    await until(() => !isAlive(grandchild));
  });
});

describe("a worker that dies", () => {
  test.each([
    ["SIGKILL", -9, /^Worker \d+ ended with signal SIGKILL while running "kill": the system may be out of memory$/],
    ["SIGTERM", -15, /^Worker \d+ ended with signal SIGTERM while running "kill"$/],
  ])("by %s fails the task that it was running, and no other", async (signal, exitCode, message) => {
    const pool = poolOf();
    const others = Array.from({ length: 200 }, (_, i) => pool.apply(tasks.square, [i]));
    const error = await pool.apply(tasks.kill, [signal]).catch((error: unknown) => error as any);
    const later = pool.apply(tasks.square, [5]);
    expect(error).toBeInstanceOf(WorkerLostError);
    expect(error.message).toMatch(message);
    expect(error).toMatchObject({ exitCode, signal, task: "kill" });
    expect(await Promise.all(others)).toEqual(Array.from({ length: 200 }, (_, i) => i * i));
    expect(await later).toBe(25);
    expect(pool.stats().lost).toBe(1);
  });

  test("a worker that exits, also with 0, fails the task that it was running, and no other", async () => {
    const pool = poolOf({ processes: 1 });
    for (const code of [0, 3]) {
      const queued = [pool.apply(tasks.square, [1]), pool.apply(tasks.exit, [code]), pool.apply(tasks.square, [2])];
      const [before, dead, after] = await Promise.allSettled(queued);
      expect(before).toEqual({ status: "fulfilled", value: 1 });
      expect(dead).toMatchObject({ status: "rejected", reason: { exitCode: code, signal: null } });
      expect(after).toEqual({ status: "fulfilled", value: 4 });
    }
  });

  test("a task with retries left survives the death of its worker", async () => {
    const pool = poolOf({ processes: 1 });
    expect(await pool.apply(tasks.killOnce, [file()], { retries: 1 })).toBe("survived");
    await expect(pool.apply(tasks.kill, ["SIGKILL"], { retries: 2 })).rejects.toThrow(WorkerLostError);
    expect(pool.stats().lost).toBe(4);
    expect(await pool.apply(tasks.square, [3])).toBe(9);
  });

  test("a worker that dies while it is idle is replaced", async () => {
    const pool = poolOf({ processes: 1 });
    const pid = await pool.apply(tasks.myPid);
    globalThis.process.kill(pid, "SIGKILL");
    await until(() => !isAlive(pid));
    const next = await pool.apply(tasks.myPid).catch((error: unknown) => error as any);
    // A task may have been in flight when the worker died.
    expect(next instanceof WorkerLostError || next !== pid).toBe(true);
    expect(await pool.apply(tasks.square, [3])).toBe(9);
  });

  test("a worker that dies in a map fails the map", async () => {
    const pool = poolOf();
    await expect(pool.map(tasks.kill, ["SIGKILL", "SIGKILL"])).rejects.toThrow(WorkerLostError);
    expect(await pool.map(tasks.square, [1, 2])).toEqual([1, 4]);
  });
});

describe("a pool", () => {
  test("a pool refuses functions that workers cannot find, and invalid numbers", async () => {
    const pool = poolOf({ processes: 1 });
    await expect(pool.apply(function greet() {})).rejects.toThrow(TargetError);
    await expect(pool.imap(function greet() {}, []).next()).rejects.toThrow(/imap\(\) cannot use "greet"/);
    await expect(pool.apply(tasks.square, 5 as never)).rejects.toThrow(TypeError);
    await expect(pool.map(tasks.square, [1], { chunkSize: 0 })).rejects.toThrow(RangeError);
    await expect(pool.apply(tasks.square, [1], { timeout: -1 })).rejects.toThrow(RangeError);
    await expect(pool.apply(tasks.square, [1], { retries: 0.5 })).rejects.toThrow(RangeError);
    for (const options of [{ processes: 0 }, { processes: 1.5 }, { maxTasksPerChild: 0 }, { gracePeriod: -1 }]) {
      expect(() => new Pool(options)).toThrow(RangeError);
    }
    expect(() => new Pool({ initializer: function local() {} })).toThrow(TargetError);
  });

  test("a pool fails tasks whose module throws or has no such export, and continues", async () => {
    const pool = poolOf({ processes: 1 });
    const { any } = fromModule<{ any(): void }>(fixture(import.meta.url, "throws-while-loading.js"));
    const { missing } = fromModule<{ missing(): void }>(fixture(import.meta.url, "tasks.js"));
    await expect(pool.apply(any)).rejects.toThrow("could not be loaded: This module cannot be loaded");
    await expect(pool.apply(missing)).rejects.toThrow('has no export "missing"');
    expect(await pool.apply(tasks.square, [3])).toBe(9);
  });

  test("a pool refuses work after close() and terminate(), and join() before", async () => {
    const pool = poolOf({ processes: 1 });
    await expect(pool.join()).rejects.toThrow("call close() or terminate() first");
    const last = pool.apply(tasks.square, [4]);
    pool.close();
    await expect(pool.apply(tasks.square, [1])).rejects.toThrow(PoolClosedError);
    expect(await last).toBe(16);
    await pool.join();
    await pool.join();
    const other = poolOf({ processes: 1 });
    const waiting = other.apply(tasks.loop, [undefined]);
    await other.terminate();
    await expect(waiting).rejects.toThrow(PoolClosedError);
    await expect(other.map(tasks.square, [1])).rejects.toThrow("after terminate()");
  });

  // Start method "fork" refuses flags at once, since a copy cannot have any.
  test.skipIf(getStartMethod() === "fork")("whose workers cannot start fails its work with the reason", async () => {
    const pool = poolOf({ processes: 2, execArgv: ["--no-such-flag"] });
    await expect(pool.apply(tasks.square, [1])).rejects.toThrow("before it was ready");
    await expect(pool.apply(tasks.square, [1])).rejects.toThrow("before it was ready");
  });

  test("a pool whose initializer fails fails with that error, and starts no more workers", async () => {
    const pool = poolOf({ processes: 2, initializer: tasks.failToInitialize });
    await expect(pool.apply(tasks.square, [1])).rejects.toThrow(RangeError);
    await expect(pool.apply(tasks.square, [1])).rejects.toThrow("This worker does not want to");
    const dying = poolOf({ processes: 1, initializer: tasks.exit, initArgs: [4] });
    await expect(dying.apply(tasks.square, [1])).rejects.toThrow(
      "ended with exit code 4 before it was ready for tasks",
    );
  });
});

describe("workers", () => {
  test("workers call the initializer before their first task", async () => {
    const pool = poolOf({ processes: 1, initializer: tasks.initialize, initArgs: ["Good morning"] });
    expect(await pool.apply(tasks.greet, ["Ada"])).toBe("Good morning Ada");
  });

  test("workers are replaced after maxTasksPerChild tasks", async () => {
    const pool = poolOf({ processes: 1, maxTasksPerChild: 2 });
    const pids = await Promise.all(Array.from({ length: 6 }, () => pool.apply(tasks.myPid)));
    expect(new Set(pids).size).toBe(3);
    expect(pids).toEqual([pids[0], pids[0], pids[2], pids[2], pids[4], pids[4]]);
  });

  test("workers stop a cancelled task by its signal, and are killed if that does not help", async () => {
    const pool = poolOf({ processes: 1, gracePeriod: 100 });
    const marks = file();
    const soft = pool.apply(tasks.untilAborted, [marks]);
    await until(() => linesOf(marks).length === 1);
    soft.cancel(new Error("enough"));
    await expect(soft).rejects.toThrow("enough");
    await until(() => linesOf(marks)[1] === "aborted enough");
    expect(String(await pool.apply(tasks.myPid))).toBe(linesOf(marks)[0]);

    const hard = pool.apply(tasks.loop, [marks], { timeout: 300 });
    await expect(hard).rejects.toThrow("apply() timed out after 300 ms");
    expect(String(await pool.apply(tasks.myPid))).not.toBe(linesOf(marks)[0]);

    const controller = new AbortController();
    const aborted = pool.apply(tasks.loop, [marks], { signal: controller.signal });
    await until(() => linesOf(marks).length === 4);
    controller.abort(new Error("aborted"));
    await expect(aborted).rejects.toThrow("aborted");
    await expect(pool.apply(tasks.square, [1], { signal: controller.signal })).rejects.toThrow("aborted");
    expect(await pool.apply(tasks.square, [1])).toBe(1);
  });

  test("workers never receive a task that was cancelled in the queue", async () => {
    const pool = poolOf({ processes: 1 });
    const [gate, marks] = [file(), file()];
    const first = pool.apply(tasks.waitForFile, [gate, 1]);
    const second = pool.apply(tasks.say, [marks]);
    second.cancel();
    await expect(second).rejects.toThrow("cancelled");
    fs.writeFileSync(gate, "");
    expect(await first).toBe(1);
    expect(await pool.apply(tasks.square, [2])).toBe(4);
    expect(linesOf(marks)).toEqual([]);
  });

  test("workers do not keep a program alive", async () => {
    const program = runProgram(fixture(import.meta.url, "no-close.js"));
    onTestFinished(() => program[Symbol.asyncDispose]());
    const { code } = await program.exited;
    expect(program.stderr).toBe("");
    expect(program.stdout).toBe("[ 1, 4, 9 ]\n");
    expect(code).toBe(0);
  });

  test.each(["SIGKILL", "SIGTERM", "SIGINT"])("busy workers end with a parent that ends by %s", async (signal) => {
    const marks = file();
    const program = runProgram(fixture(import.meta.url, "busy.js"), [marks]);
    onTestFinished(() => program[Symbol.asyncDispose]());
    await until(() => linesOf(marks).length === 2, { message: () => program.stderr });
    const pids = linesOf(marks).map(Number);
    program.kill(signal);
    await until(() => !pids.some(isAlive), { timeout: 5000, message: "the workers to be gone" });
    expect((await program.exited).signal).toBe(signal);
  });

  test("workers can be killed at random, and every task settles", { timeout: 60_000 }, async () => {
    const pool = poolOf({ processes: 2 });
    let random = 7;
    const next = (n: number) => (random = (random * 16807) % 2147483647) % n;
    const results = await Promise.allSettled(
      Array.from({ length: 400 }, (_, i) =>
        next(40) === 0 ? pool.apply(tasks.kill, ["SIGKILL"]) : pool.apply(tasks.square, [i]),
      ),
    );
    for (const [i, result] of results.entries()) {
      if (result.status === "fulfilled") expect(result.value).toBe(i * i);
      else expect(result.reason).toMatchObject({ code: "ERR_WORKER_LOST", task: "kill" });
    }
    expect(results.filter(({ status }) => status === "rejected").length).toBe(pool.stats().lost);
  });
});
