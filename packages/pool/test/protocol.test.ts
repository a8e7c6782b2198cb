import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as protocol from "../src/protocol.ts";
import { Estimate } from "../src/scheduler/task.ts";
import { Chunk } from "../src/worker/chunk-runner.ts";

describe("protocol", () => {
  test("an answer's kind tells the time within a factor of two", () => {
    fc.assert(
      fc.property(fc.double({ min: 0.001, max: 100_000, noNaN: true }), (ms) => {
        const bits = protocol.timeBits(ms);
        for (const kind of [protocol.RESULT, protocol.FAILURE, protocol.RESULTS, protocol.LAST]) {
          expect(protocol.answerKind(kind | bits)).toBe(kind);
          expect(protocol.answerMs(kind | bits) / ms).toBeGreaterThan(0.5);
          expect(protocol.answerMs(kind | bits) / ms).toBeLessThan(2);
        }
      }),
    );
    expect(protocol.timeBits(0)).toBe(0);
    expect(protocol.timeBits(1e12)).toBe(31);
    for (const kind of [protocol.READY, protocol.REFUSED, protocol.BEGIN, protocol.DROPPED]) {
      expect(protocol.answerKind(kind)).toBe(kind);
    }
  });

  test("a task's kind tells what it is and how careful to be", () => {
    for (const kind of [protocol.CALL, protocol.CHUNK, protocol.STAR_CHUNK]) {
      for (const care of ["loose", "careful"] as const) {
        for (const isSettling of [false, true]) {
          const read = protocol.readTaskKind(protocol.taskKind(kind, care, isSettling));
          expect(read).toEqual({ kind, care, isSettling });
        }
      }
    }
  });
});

describe("Estimate", () => {
  test("follows what is typical, whatever a single call takes", () => {
    const estimate = new Estimate();
    for (let i = 0; i < 100; i++) estimate.learn(0.001);
    estimate.learn(50);
    expect(estimate.typical).toBeLessThan(0.02);
    expect(estimate.average).toBeGreaterThan(0.5);
    for (let i = 0; i < 20; i++) estimate.learn(50);
    expect(estimate.typical).toBeGreaterThan(10);
  });

  test("a chunk of many items counts for as many", () => {
    const estimate = new Estimate();
    estimate.learn(0.001);
    for (let i = 0; i < 10; i++) {
      estimate.learn(0.002); // the first item of a chunk, which is answered alone
      estimate.learn(0.00003, 8191);
    }
    expect(estimate.average).toBeCloseTo(0.00003, 6);
    estimate.learn(50);
    expect(estimate.average).toBeGreaterThan(0.5);
  });
});

describe("Chunk", () => {
  const all = (chunk: Chunk): unknown[] => {
    while (!chunk.isDone) chunk.run();
    return chunk.take(performance.now()).results;
  };

  test("runs its items in order, from where another worker stopped", () => {
    const items = Array.from({ length: 1000 }, (_, i) => i);
    expect(all(new Chunk((x: number) => x * 2, items))).toEqual(items.map((x) => x * 2));
    expect(all(new Chunk((x: number) => x * 2, items, [998, 1000]))).toEqual([1996, 1998]);
    expect(
      all(
        new Chunk(
          (a: number, b: number) => a + b,
          [
            [1, 2],
            [3, 4],
          ],
          [0, 2],
          { isStar: true },
        ),
      ),
    ).toEqual([3, 7]);
  });

  test("stops at a promise, and at what is thrown, with the results before it", async () => {
    const promise = Promise.resolve(7);
    const chunk = new Chunk((x: number) => (x === 2 ? promise : x), [0, 1, 2, 3]);
    let pending: PromiseLike<unknown> | undefined;
    while (pending === undefined) pending = chunk.run();
    expect(pending).toBe(promise);
    await chunk.wait(promise);
    expect(all(chunk)).toEqual([0, 1, 7, 3]);
    const throwing = new Chunk(
      (x: number) => {
        if (x === 2) throw new Error("two");
        return x;
      },
      [0, 1, 2, 3],
    );
    expect(() => all(throwing)).toThrow("two");
    expect(throwing.take(0).results).toEqual([0, 1]);
  });

  test("shares half of what has not begun, again and again, and always keeps something", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), fc.array(fc.boolean(), { maxLength: 60 }), (count, shares) => {
        const items = Array.from({ length: count }, (_, i) => i);
        const ran: number[] = [];
        const run = (x: number) => void ran.push(x);
        const parts = [new Chunk(run, items)];
        const ends = [count];
        for (const mayShare of shares) {
          const [chunk] = parts as [Chunk];
          if (chunk.isDone) break;
          chunk.run();
          if (!mayShare || chunk.isDone) continue;
          const at = chunk.share();
          if (at < ends[0]!) parts.push(new Chunk(run, items, [at, ends[0]!]));
          ends.push(ends[0]!);
          ends[0] = at;
          expect(chunk.isDone).toBe(false);
        }
        for (const part of parts) while (!part.isDone) part.run();
        expect(ran.toSorted((a, b) => a - b)).toEqual(items);
      }),
    );
  });

  test("may settle: what an item throws is its answer", async () => {
    const chunk = new Chunk(
      (x: number) => {
        if (x === 1) throw new Error("one");
        return x === 2 ? Promise.reject(new Error("two")) : x;
      },
      [0, 1, 2, 3],
      undefined,
      { isSettling: true },
    );
    while (!chunk.isDone) {
      const pending = chunk.run();
      if (pending !== undefined) await chunk.wait(pending);
    }
    expect(chunk.take(0).results).toEqual([
      { status: "fulfilled", value: 0 },
      { status: "rejected", reason: new Error("one") },
      { status: "rejected", reason: new Error("two") },
      { status: "fulfilled", value: 3 },
    ]);
  });
});
