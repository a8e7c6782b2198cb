import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as protocol from "../src/protocol.ts";
import { DurationEstimate } from "../src/scheduler/duration-estimate.ts";
import { ChunkRunner } from "../src/worker/chunk-runner.ts";

describe("protocol", () => {
  test("the kind of a reply holds its duration within a factor of two", () => {
    fc.assert(
      fc.property(fc.double({ min: 0.001, max: 100_000, noNaN: true }), (ms) => {
        const bits = protocol.timeBits(ms);
        for (const kind of [protocol.RESULT, protocol.FAILURE, protocol.RESULTS, protocol.DONE]) {
          expect(protocol.replyKind(kind | bits)).toBe(kind);
          expect(protocol.replyMs(kind | bits) / ms).toBeGreaterThan(0.5);
          expect(protocol.replyMs(kind | bits) / ms).toBeLessThan(2);
        }
      }),
    );
    expect(protocol.timeBits(0)).toBe(0);
    expect(protocol.timeBits(1e12)).toBe(31);
    for (const kind of [protocol.READY, protocol.INIT_FAILED, protocol.BEGIN, protocol.CANCELLED]) {
      expect(protocol.replyKind(kind)).toBe(kind);
    }
  });

  test("the kind of a task holds its acknowledgement mode and whether it settles", () => {
    for (const kind of [protocol.CALL, protocol.CHUNK, protocol.STAR_CHUNK]) {
      for (const ackMode of ["batched", "sync"] as const) {
        for (const isSettling of [false, true]) {
          const read = protocol.readTaskKind(protocol.taskKind(kind, ackMode, isSettling));
          expect(read).toEqual({ kind, ackMode, isSettling });
        }
      }
    }
  });
});

describe("DurationEstimate", () => {
  test("typicalMs ignores a single outlier, and follows many", () => {
    const estimate = new DurationEstimate();
    for (let i = 0; i < 100; i++) estimate.record(0.001);
    estimate.record(50);
    expect(estimate.typicalMs).toBeLessThan(0.02);
    expect(estimate.averageMs).toBeGreaterThan(0.5);
    for (let i = 0; i < 20; i++) estimate.record(50);
    expect(estimate.typicalMs).toBeGreaterThan(10);
  });

  test("a sample of many items has the weight of as many", () => {
    const estimate = new DurationEstimate();
    estimate.record(0.001);
    for (let i = 0; i < 10; i++) {
      estimate.record(0.002); // the first item of a chunk, which is answered alone
      estimate.record(0.00003, 8191);
    }
    expect(estimate.averageMs).toBeCloseTo(0.00003, 6);
    estimate.record(50);
    expect(estimate.averageMs).toBeGreaterThan(0.5);
  });
});

describe("ChunkRunner", () => {
  const all = (chunk: ChunkRunner): unknown[] => {
    while (!chunk.isDone) chunk.run();
    return chunk.take(performance.now()).results;
  };

  test("a chunk runs its items in order, also a part that was split off", () => {
    const items = Array.from({ length: 1000 }, (_, i) => i);
    expect(all(new ChunkRunner((x: number) => x * 2, items))).toEqual(items.map((x) => x * 2));
    expect(all(new ChunkRunner((x: number) => x * 2, items, [998, 1000]))).toEqual([1996, 1998]);
    expect(
      all(
        new ChunkRunner(
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

  test("run() stops at a promise and at an error, and keeps the results before it", async () => {
    const promise = Promise.resolve(7);
    const chunk = new ChunkRunner((x: number) => (x === 2 ? promise : x), [0, 1, 2, 3]);
    let pending: PromiseLike<unknown> | undefined;
    while (pending === undefined) pending = chunk.run();
    expect(pending).toBe(promise);
    await chunk.wait(promise);
    expect(all(chunk)).toEqual([0, 1, 7, 3]);
    const throwing = new ChunkRunner(
      (x: number) => {
        if (x === 2) throw new Error("two");
        return x;
      },
      [0, 1, 2, 3],
    );
    expect(() => all(throwing)).toThrow("two");
    expect(throwing.take(0).results).toEqual([0, 1]);
  });

  test("splitOff() leaves half of the remaining items to others, and always keeps one", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), fc.array(fc.boolean(), { maxLength: 60 }), (count, shares) => {
        const items = Array.from({ length: count }, (_, i) => i);
        const ran: number[] = [];
        const run = (x: number) => void ran.push(x);
        const parts = [new ChunkRunner(run, items)];
        const ends = [count];
        for (const mayShare of shares) {
          const [chunk] = parts as [ChunkRunner];
          if (chunk.isDone) break;
          chunk.run();
          if (!mayShare || chunk.isDone) continue;
          const at = chunk.splitOff();
          if (at < ends[0]!) parts.push(new ChunkRunner(run, items, [at, ends[0]!]));
          ends.push(ends[0]!);
          ends[0] = at;
          expect(chunk.isDone).toBe(false);
        }
        for (const part of parts) while (!part.isDone) part.run();
        expect(ran.toSorted((a, b) => a - b)).toEqual(items);
      }),
    );
  });

  test("a settling chunk has a result for an item that throws", async () => {
    const chunk = new ChunkRunner(
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
