// Many calls at once: the queue, batches of results, and promises.
import { inline, SendError } from "@multiproc/core";
import { AsyncResult } from "@multiproc/pool";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ResultList } from "../src/jobs/result-list.ts";
import * as tasks from "./fixtures/tasks.js";
import { poolOf } from "./pools.ts";

const echo = inline((value: unknown) => value);

describe("many calls at once", () => {
  test("each call gets its own result, of any type and from any worker", async () => {
    const pool = poolOf();
    const values = [1, 2.5, "text", "x".repeat(5000), null, undefined, true, { a: [1] }, [1, 2], 7n, new Date(0)];
    for (let round = 0; round < 2; round++) {
      const calls = Array.from({ length: 1000 }, (_, i) => {
        if (i % 7 === 0) return { result: pool.apply(tasks.square, [i]), expected: i * i };
        if (i % 11 === 0) return { result: pool.apply(tasks.fail, [3]), expected: new RangeError("No 3") };
        return { result: pool.apply(echo, [values[i % values.length]]), expected: values[i % values.length] };
      });
      const seen = await Promise.allSettled(calls.map(({ result }) => result));
      for (const [i, outcome] of seen.entries()) {
        const { expected } = calls[i]!;
        if (expected instanceof RangeError) expect(outcome).toMatchObject({ status: "rejected", reason: { x: 3 } });
        else expect(outcome).toEqual({ status: "fulfilled", value: expected });
      }
    }
    expect(pool.stats()).toMatchObject({ waiting: 0, running: 0, lost: 0 });
  });

  test("calls that are cancelled in the queue never run, and the others do", async () => {
    const pool = poolOf({ processes: 1 });
    await pool.map(tasks.square, [1, 2], { chunkSize: 1 });
    const results = Array.from({ length: 2000 }, (_, i) => pool.apply(tasks.square, [i]));
    for (let i = 0; i < results.length; i += 3) results[i]!.cancel();
    expect(pool.stats().waiting + pool.stats().running).toBeLessThan(1334);
    const seen = await Promise.allSettled(results);
    for (const [i, outcome] of seen.entries()) {
      if (i % 3 === 0) expect(outcome).toMatchObject({ status: "rejected", reason: { name: "AbortError" } });
      else expect(outcome).toEqual({ status: "fulfilled", value: i * i });
    }
    expect(await pool.apply(tasks.square, [3])).toBe(9);
    expect(pool.stats()).toMatchObject({ waiting: 0, running: 0, failed: 667 });
  });

  test("every call fails when its pool is terminated", async () => {
    const pool = poolOf({ processes: 1 });
    const results = Array.from({ length: 500 }, (_, i) => pool.apply(tasks.sleep, [60_000 + i]));
    const map = pool.map(tasks.sleep, [60_000, 60_001, 60_002], { chunkSize: 1 });
    await pool.terminate();
    for (const result of [...results, map]) await expect(result).rejects.toMatchObject({ code: "ERR_POOL_CLOSED" });
    expect(pool.stats()).toMatchObject({ waiting: 0, running: 0, failed: 503 });
  });

  test("a map with a chunk size of 1 fails with the first error, and runs no more inputs", async () => {
    const pool = poolOf({ processes: 1 });
    const inputs = Array.from({ length: 10_000 }, (_, i) => i + 1);
    await expect(pool.map(tasks.fail, inputs, { chunkSize: 1 })).rejects.toMatchObject({ x: 3 });
    expect(pool.stats().waiting).toBe(0);
    const settled = await pool.map(tasks.fail, inputs.slice(0, 5), { chunkSize: 1, settle: true });
    expect(settled.map(({ status }) => status[0]).join("")).toBe("ffrff");
    const unsendable = (i: number) => (i === 5000 ? () => {} : i);
    await expect(pool.map(tasks.square, inputs.map(unsendable) as number[], { chunkSize: 1 })).rejects.toThrow(
      SendError,
    );
    await expect(pool.map(tasks.square, inputs.map(unsendable) as number[], { chunkSize: 1 })).rejects.toThrow(
      "inputs[4999]",
    );
  });
});

describe("results", () => {
  test("results are promises, and then(), catch() and finally() make plain promises of them", async () => {
    const pool = poolOf({ processes: 1 });
    const result = pool.apply(tasks.square, [3]);
    expect(result).toBeInstanceOf(Promise);
    expect(result).toBeInstanceOf(AsyncResult);
    expect(Promise.resolve(result)).toBe(result); // the engine does not wrap it in another promise
    for (const made of [result.then(), result.catch(() => {}), result.finally(() => {})]) {
      expect(made).not.toBeInstanceOf(AsyncResult);
      expect(await made).toBe(9);
    }
  });

  test("a result can be awaited many times, before and after it settles", async () => {
    const pool = poolOf({ processes: 1 });
    for (const [fn, at] of [
      [tasks.square, "fulfilled"],
      [tasks.fail, "rejected"],
    ] as const) {
      const result = pool.apply(fn as (x: number) => number, [3]);
      const early = Promise.allSettled([result, result, result.then((x) => x), result.get(), result.finally(() => {})]);
      expect((await early).map(({ status }) => status)).toEqual([at, at, at, at, at]);
      const late = Promise.allSettled([result, result.then((x) => x), result.get()]);
      expect((await late).map(({ status }) => status)).toEqual([at, at, at]);
    }
  });
});

test("the results of a map are in the order of the inputs, in whatever pieces they arrive", () => {
  const pieces = fc.array(fc.tuple(fc.integer({ min: 1, max: 200 }), fc.nat()), { maxLength: 60 });
  fc.assert(
    fc.property(pieces, fc.constantFrom(1, 64, 200), (list, chunkSize) => {
      let total = 0;
      const places = list.map(([length, order]) => {
        total += length;
        return { at: total - length, length, order };
      });
      const results = new ResultList(total, chunkSize);
      for (const { at, length } of places.toSorted((a, b) => a.order - b.order)) {
        if (length === 1) results.put(at, at);
        else {
          results.putAll(
            at,
            Array.from({ length }, (_, i) => at + i),
          );
        }
      }
      expect(results.all()).toEqual(Array.from({ length: total }, (_, i) => i));
    }),
  );
});
