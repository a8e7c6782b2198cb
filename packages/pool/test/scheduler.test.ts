import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Scheduler } from "../src/scheduler.ts";

interface Job {
  id: number;
  isExclusive: boolean;
}

const job = (id: number, isExclusive = false): Job => ({ id, isExclusive });

describe("Scheduler", () => {
  test("hands out tasks in order, to the worker with the least to do", () => {
    const scheduler = new Scheduler<string, Job>();
    for (const id of [1, 2, 3]) scheduler.submit(job(id));
    expect(scheduler.assign(0)).toEqual([]);
    scheduler.join("a");
    scheduler.join("b");
    expect(scheduler.assign(0)).toEqual([
      ["a", job(1)],
      ["b", job(2)],
    ]);
    expect(scheduler.waiting).toBe(1);
  });

  test("gives a worker tasks ahead while they are short, and no longer", () => {
    const scheduler = new Scheduler<string, Job>();
    scheduler.join("a");
    for (let id = 0; id < 100; id++) scheduler.submit(job(id));
    expect(scheduler.assign(0).length).toBe(1); // nothing is known yet
    scheduler.finish("a", 0.01);
    expect(scheduler.assign(0.01).length).toBeGreaterThan(10);
    for (let now = 10; scheduler.load("a") > 0; now += 10) scheduler.finish("a", now);
    expect(scheduler.assign(1000).length).toBe(1);
  });

  test("leaves an exclusive task alone with its worker", () => {
    const scheduler = new Scheduler<string, Job>();
    scheduler.join("a");
    scheduler.submit(job(0));
    scheduler.assign(0);
    scheduler.finish("a", 0.001);
    for (const id of [1, 2, 3]) scheduler.submit(job(id, id === 2));
    expect(scheduler.assign(1).map(([, { id }]) => id)).toEqual([1]);
    scheduler.finish("a", 1.001);
    expect(scheduler.assign(1.001).map(([, { id }]) => id)).toEqual([2]);
    scheduler.finish("a", 2);
    expect(scheduler.assign(2).map(([, { id }]) => id)).toEqual([3]);
  });

  test("a lost worker's running task is told, its others wait again before all", () => {
    const scheduler = new Scheduler<string, Job>();
    scheduler.join("a");
    scheduler.submit(job(0));
    scheduler.assign(0);
    scheduler.finish("a", 0.001);
    for (let id = 1; id < 60; id++) scheduler.submit(job(id));
    const sent = scheduler.assign(1).map(([, { id }]) => id);
    expect(sent.length).toBeGreaterThan(2);
    expect(scheduler.leave("a")).toEqual(job(1));
    scheduler.join("b");
    expect(scheduler.assign(1)).toEqual([["b", job(2)]]);
    expect(scheduler.leave("nobody")).toBe(undefined);
  });

  test("every task is done once, whatever happens to the workers", () => {
    const event = fc.oneof(
      { weight: 4, arbitrary: fc.constant("submit" as const) },
      { weight: 4, arbitrary: fc.constant("finish" as const) },
      { weight: 2, arbitrary: fc.constant("join" as const) },
      { weight: 1, arbitrary: fc.constant("leave" as const) },
      { weight: 1, arbitrary: fc.constant("retire" as const) },
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(event, fc.nat(7), fc.boolean()), { maxLength: 200 }), (events) => {
        const scheduler = new Scheduler<number, Job>();
        const has = new Map<number, number[]>();
        const over: number[] = [];
        let ids = 0;
        let now = 0;
        const apply = (): void => {
          for (const [worker, { id }] of scheduler.assign(now)) has.get(worker)?.push(id);
        };
        for (const [what, worker, flag] of events) {
          now += flag ? 0.01 : 5;
          if (what === "submit") scheduler.submit(job(ids++, flag && worker === 0));
          if (what === "join" && !has.has(worker)) {
            scheduler.join(worker);
            has.set(worker, []);
          }
          if (what === "finish" && has.has(worker)) {
            const expected = has.get(worker)?.shift();
            expect(scheduler.finish(worker, now)?.id).toBe(expected);
            if (expected !== undefined) over.push(expected);
          }
          if (what === "retire") scheduler.retire(worker);
          if (what === "leave" && has.has(worker)) {
            const running = scheduler.leave(worker);
            expect(running?.id).toBe(has.get(worker)?.[0]);
            has.delete(worker);
            if (running !== undefined) over.push(running.id);
          }
          apply();
        }
        for (const worker of has.keys())
          scheduler.leave(worker)?.id !== undefined && over.push(has.get(worker)?.[0] as number);
        scheduler.join(99);
        has.set(99, []);
        for (apply(); scheduler.load(99) > 0; apply()) over.push(scheduler.finish(99, (now += 1))?.id as number);
        expect([...over].sort((a, b) => a - b)).toEqual(Array.from({ length: ids }, (_, id) => id));
      }),
      { numRuns: 500 },
    );
  });
});
