// Mistakes in calls: methods that return a promise reject and never throw, and every error shows
// what to write.
import { inline, SendError, TargetError, type WaitOptions } from "@multiproc/core";
import { AsyncResult, type MapOptions, Pool, PoolClosedError, progressBar, ThreadPool } from "@multiproc/pool";
import { fixture, runProgram, until } from "@multiproc/testing";
import { describe, expect, onTestFinished, test } from "vitest";
import { terminatedAfterTest } from "./pools.ts";

const square = inline((x: number) => x * x);
const unsendable = (() => {}) as never;
const pools = [
  ["Pool", () => new Pool({ processes: 1 })],
  ["ThreadPool", () => new ThreadPool({ processes: 1 })],
] as const;

/** The calls of a pool, each as a promise. An `imap()` rejects by its first `next()`. */
type Call = (pool: Pool<any>, fn: never, inputs: never, options?: never) => Promise<unknown>;
const calls: Readonly<Record<string, Call>> = {
  "apply()": (pool, fn, args, options) => pool.apply<any, any>(fn, args, options),
  "map()": (pool, fn, inputs, options) => pool.map(fn, inputs, options),
  "starmap()": (pool, fn, inputs, options) => pool.starmap<any, any, any>(fn, inputs, options),
  "imap()": (pool, fn, inputs, options) => pool.imap(fn, inputs, options).next(),
  "imapUnordered()": (pool, fn, inputs, options) => pool.imapUnordered(fn, inputs, options).next(),
};

/** Expects that a call returns a promise that rejects. */
async function expectRejection(call: () => Promise<unknown>, message: RegExp | string, type: unknown = TypeError) {
  let result: Promise<unknown>;
  try {
    result = call();
  } catch (error) {
    throw new Error("The call threw instead of returning a promise that rejects", { cause: error });
  }
  const [outcome] = await Promise.allSettled([result]);
  expect(outcome).toMatchObject({ status: "rejected" });
  const { reason } = outcome as PromiseRejectedResult;
  expect(reason).toBeInstanceOf(type);
  expect(reason.message).toMatch(message);
}

describe.each(pools)("a mistake in a call to a %s", (_, create) => {
  test.each(Object.keys(calls))("%s rejects it and does not throw", async (name) => {
    const pool = terminatedAfterTest(create());
    const call = calls[name] as Call;
    const inputs = (name === "starmap()" ? [[1]] : [1]) as never;
    const fn = square as never;
    const options = (value: unknown) => () => call(pool, fn, inputs, value as never);
    await expectRejection(() => call(pool, (() => {}) as never, inputs), "cannot use", TargetError);
    await expectRejection(() => call(pool, "square" as never, inputs), `${name} takes a function`);
    await expectRejection(() => call(pool, fn, 5 as never), /takes (an iterable|the arguments as an array)/);
    await expectRejection(
      () => call(pool, fn, { timeout: 5 } as never),
      /takes (an iterable|the arguments as an array)/,
    );
    await expectRejection(options(4), `${name} takes its options as one object, such as {`);
    await expectRejection(options(null), `${name} takes its options as one object`);
    await expectRejection(
      options({ timeOut: 5 }),
      `${name} does not take the option "timeOut". Did you mean "timeout"?`,
    );
    await expectRejection(options({ maxRetries: 5 }), 'Did you mean "retries"?');
    await expectRejection(options({ abortSignal: undefined }), 'Did you mean "signal"?');
    await expectRejection(options({ timeout: -1 }), "takes a timeout of 0 or more milliseconds", RangeError);
    await expectRejection(options({ timeout: "5s" }), "takes a timeout", RangeError);
    await expectRejection(options({ retries: 0.5 }), "at least 0 as retries, not 0.5", RangeError);
    await expectRejection(options({ signal: new AbortController() }), "pass its signal property");
    await expectRejection(options({ signal: true }), "takes an AbortSignal as signal");
    await expectRejection(options({ traceContext: 7 }), "takes a string as traceContext, not 7");
    const values = (name === "starmap()" || name === "apply()" ? [[unsendable]] : [unsendable]) as never;
    if (name === "apply()") await expectRejection(() => call(pool, fn, [unsendable] as never), "args[0]", SendError);
    else await expectRejection(() => call(pool, fn, values), "inputs[0]", SendError);
    if (name === "apply()") await expectRejection(options({ chunkSize: 1 }), 'does not take the option "chunkSize"');
    else await expectRejection(options({ chunkSize: 0 }), "at least 1 as chunkSize, not 0", RangeError);
    if (name.startsWith("imap")) await expectRejection(options({ bufferSize: "4" }), "as bufferSize", RangeError);
    // A refused call leaves the pool as it was.
    expect(await pool.apply(square, [3])).toBe(9);
    expect(pool.stats()).toMatchObject({ waiting: 0, running: 0 });
    pool.close();
    await expectRejection(() => call(pool, fn, inputs), `${name} was called on a pool after close()`, PoolClosedError);
    await pool.terminate();
    await expectRejection(() => call(pool, fn, inputs), "after terminate()", PoolClosedError);
  });

  test("an iterable that throws rejects the map, and leaves no listener on the signal", async () => {
    const pool = terminatedAfterTest(create());
    const controller = new AbortController();
    const { signal } = controller;
    function* failing() {
      yield 1;
      throw new RangeError("no more");
    }
    const noIterator = {
      [Symbol.iterator]() {
        throw new RangeError("no iterator");
      },
    };
    await expectRejection(() => pool.map(square, failing(), { signal }), "no more", RangeError);
    await expectRejection(() => pool.map(square, noIterator as never, { signal }), "no iterator", RangeError);
    await expectRejection(() => pool.imap(square, noIterator as never, { signal }).next(), "no iterator", RangeError);
    controller.abort();
    expect(await pool.apply(square, [3])).toBe(9);
  });
});

test("map() rejects inputs that are promises, also when they arrive asynchronously", async () => {
  const pool = terminatedAfterTest(new Pool(1));
  const promises = [Promise.resolve(1)] as never;
  await expectRejection(() => pool.map(square, promises), "inputs[0]", SendError);
  async function* later() {
    yield { x: Promise.resolve(1) } as never;
  }
  await expectRejection(() => pool.map(square, later()), "inputs[0].x", SendError);
});

test("map() and starmap() reject values of the wrong type in their own options", async () => {
  const pool = terminatedAfterTest(new Pool(1));
  const map = (options: unknown) => () => pool.map(square, [1], options as MapOptions);
  await expectRejection(map({ settle: 1 }), "takes true or false as settle, not 1");
  await expectRejection(map({ onProgress: 5 }), "takes a function as onProgress, not 5");
  await expectRejection(map({ chunksize: 4 }), 'Did you mean "chunkSize"?');
  await expectRejection(map({ batchSize: 4 }), 'Did you mean "chunkSize"?');
  await expectRejection(() => pool.starmap(square, [1, 2] as never), "inputs[0] is 1: use map()");
});

test("a signal of null means that there is none, as in fetch()", async () => {
  const pool = terminatedAfterTest(new Pool(1));
  const options = { signal: null } as never;
  expect(await pool.apply(square, [3], options)).toBe(9);
  expect(await pool.map(square, [3], options)).toEqual([9]);
  expect(await pool.imap(square, [3], options).next()).toEqual({ done: false, value: 9 });
});

test("the iterator of a refused imap() rejects once, and is at its end then", async () => {
  const pool = terminatedAfterTest(new Pool(1));
  const refuse = () => pool.imap(square, 5 as never);
  const results = refuse();
  await expectRejection(() => results.next(), "imap() takes an iterable");
  expect(await results.next()).toEqual({ done: true, value: undefined });
  const left = refuse();
  expect(await left.return()).toEqual({ done: true, value: undefined });
  expect(await left.next()).toEqual({ done: true, value: undefined });
  await expect(refuse().throw(new RangeError("mine"))).rejects.toThrow("mine");
  const looping = (async () => {
    for await (const _ of refuse());
  })();
  await expect(looping).rejects.toThrow("imap() takes an iterable");
  await refuse()[Symbol.asyncDispose]();
});

test("get(), wait() and join() reject unknown options and wrong values", async () => {
  const pool = terminatedAfterTest(new Pool(1));
  const result = pool.apply(square, [3]);
  expect(result).toBeInstanceOf(AsyncResult);
  const waits: Record<string, (options: never) => Promise<unknown>> = {
    "get()": (options: WaitOptions) => result.get(options),
    "wait()": (options: WaitOptions) => result.wait(options),
    "join()": (options: WaitOptions) => pool.join(options),
  };
  for (const [name, wait] of Object.entries(waits)) {
    await expectRejection(() => wait(5 as never), `${name} takes its options as one object, such as { timeout: … }`);
    await expectRejection(() => wait({ timeOut: 5 } as never), 'Did you mean "timeout"?');
    await expectRejection(() => wait({ timeout: -1 } as never), "takes a timeout", RangeError);
  }
  await expectRejection(() => pool.join(), "call close() or terminate() first", PoolClosedError);
  await expectRejection(() => progressBar({ titel: "x" } as never), 'Did you mean "title"?');
});

test("new Pool(2) and new ThreadPool(2) have two workers, as in Python", async () => {
  for (const pool of [new Pool(2), new ThreadPool(2)]) {
    terminatedAfterTest(pool);
    await until(() => pool.stats().workers === 2);
  }
});

test.each([
  [4.5, RangeError, "new Pool() takes a whole number of at least 1 as processes, not 4.5"],
  [0, RangeError, "at least 1 as processes, not 0"],
  ["4", TypeError, 'takes its options as one object, such as { processes: … }, not "4"'],
  [null, TypeError, "takes its options as one object"],
  [{ workers: 4 }, TypeError, 'does not take the option "workers". Did you mean "processes"?'],
  [{ concurrency: 4 }, TypeError, 'Did you mean "processes"?'],
  [{ size: 4 }, TypeError, 'Did you mean "processes"?'],
  [{ maxWorkers: 4 }, TypeError, 'Did you mean "processes"?'],
  [{ threads: 4 }, TypeError, 'Did you mean "processes"?'],
  [{ proceses: 4 }, TypeError, 'Did you mean "processes"?'],
  [{ initargs: [] }, TypeError, 'Did you mean "initArgs"?'],
  [{ maxtasksperchild: 4 }, TypeError, 'Did you mean "maxTasksPerChild"?'],
  [{ graceMs: 4 }, TypeError, 'Did you mean "gracePeriod"?'],
  [{ processes: "4" }, RangeError, 'as processes, not "4"'],
  [{ gracePeriod: -1 }, RangeError, "new Pool() with gracePeriod takes a timeout"],
  [{ initArgs: 5 }, TypeError, "takes initArgs as an array, not 5"],
  [{ name: 5 }, TypeError, "takes a string as name, not 5"],
  [{ output: "label" }, TypeError, 'takes "inherit", "prefix" or a function as output, not "label"'],
  [{ traceContext: "00-ab" }, TypeError, "takes a function that returns a string as traceContext"],
] as const)("new Pool() throws for %j and shows what to write", (options, type, message) => {
  expect(() => new Pool(options as never)).toThrow(type);
  expect(() => new Pool(options as never)).toThrow(message);
});

test.each([
  [{ workers: 4 }, 'new ThreadPool() does not take the option "workers". Did you mean "processes"?'],
  [{ env: {} }, 'new ThreadPool() does not take the option "env": its workers are threads'],
  [{ processes: 0 }, "new ThreadPool() takes a whole number of at least 1"],
  ["4", "new ThreadPool() takes its options as one object"],
  [null, "new ThreadPool() takes its options as one object"],
] as const)("new ThreadPool() throws for %j and shows what to write", (options, message) => {
  expect(() => new ThreadPool(options as never)).toThrow(message);
});

test("a mistake that nothing handles is an unhandled rejection, unlike the failure of a task", async () => {
  const program = runProgram(fixture(import.meta.url, "unhandled-mistake.js"));
  onTestFinished(() => program[Symbol.asyncDispose]());
  const { code } = await program.exited;
  expect(code).toBe(1);
  expect(program.stderr).toContain('apply() cannot use "greet"');
  expect(program.stdout).toBe("");
});
