// Runs under every start method.
import { inline } from "@multiproc/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FunctionTable } from "../src/functions/function-table.ts";
import { ImapJob, type ImapSpec } from "../src/jobs/imap-job.ts";
import type { Dispatcher, WorkTask } from "../src/jobs/job.ts";

/** A dispatcher whose tasks are done when the test says so. The result of an input is its index. */
class FakeDispatcher implements Dispatcher {
  readonly hasSubscribers = false;
  readonly tasks: WorkTask[] = [];
  readonly cancelled: WorkTask[] = [];
  doneCount = 0;

  submit(task: WorkTask): void {
    this.tasks.push(task);
  }

  cancel(task: WorkTask): void {
    this.cancelled.push(task);
    this.tasks.splice(this.tasks.indexOf(task), 1);
  }

  materialize(): void {}

  cancelQueued(): void {}

  cancelJob(): void {}

  /** Delivers the results of some items of a task. */
  answer(pick: number, all: boolean): void {
    const task = this.tasks[pick % this.tasks.length];
    if (task === undefined) return;
    const remaining = task.itemCount - task.answeredCount;
    const count = all ? remaining : 1;
    const values = Array.from({ length: count }, (_, i) => task.firstIndex + task.answeredCount + i);
    if (count === remaining) this.tasks.splice(this.tasks.indexOf(task), 1);
    const at = task.firstIndex + task.answeredCount;
    if (count === 1) task.job.result(task, values[0], at);
    else task.job.results(task, values, at);
    task.answeredCount += count;
  }

  fail(pick: number, error: unknown): WorkTask | undefined {
    const task = this.tasks[pick % this.tasks.length];
    if (task === undefined) return undefined;
    this.tasks.splice(this.tasks.indexOf(task), 1);
    task.job.failed(task, error, task.firstIndex + task.answeredCount);
    return task;
  }
}

interface Source {
  read: number;
  closed: number;
}

function* counting(source: Source, total: number): Generator<number> {
  try {
    while (source.read < total) yield source.read++;
  } finally {
    source.closed++;
  }
}

async function* countingAsync(source: Source, total: number): AsyncGenerator<number> {
  yield* counting(source, total);
}

const fn = new FunctionTable().getOrAdd(
  inline((x: number) => x),
  "imap()",
);

function startImap(
  dispatcher: FakeDispatcher,
  inputs: ImapSpec["inputs"],
  spec: Partial<ImapSpec> = {},
): ImapJob<number> {
  const stream = new ImapJob<number>(
    {
      ...{ call: "imap()", fn, inputs, isOrdered: true, workers: 2, chunkSize: 1, bufferSize: 4, traits: {} },
      ...spec,
    },
    { dispatcher, done: () => void dispatcher.doneCount++ },
  );
  stream.begin();
  return stream;
}

/** Waits until all pending promises have settled. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 0));

describe("ImapJob", () => {
  test("results are in order or as they arrive, inputs are read as results are taken, and the iterator is closed", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          total: fc.nat(40),
          chunkSize: fc.constantFrom(undefined, 1, 2, 5),
          bufferSize: fc.constantFrom(undefined, 1, 3, 10),
          isOrdered: fc.boolean(),
          isAsync: fc.boolean(),
          steps: fc.array(fc.record({ take: fc.boolean(), pick: fc.nat(20), all: fc.boolean() }), { maxLength: 200 }),
        }),
        async ({ total, chunkSize, bufferSize, isOrdered, isAsync, steps }) => {
          const source = { read: 0, closed: 0 };
          const dispatcher = new FakeDispatcher();
          const inputs = isAsync ? countingAsync(source, total) : counting(source, total);
          const stream = startImap(dispatcher, inputs, { chunkSize, bufferSize, isOrdered });
          const taken: Promise<IteratorResult<number, void>>[] = [];
          const limit = Math.max(chunkSize ?? 1, bufferSize ?? (chunkSize ?? 1) * 8);
          for (const { take, pick, all } of steps) {
            if (take) taken.push(stream.next());
            else dispatcher.answer(pick, all);
            if (isAsync) await settle();
            expect(source.read).toBeLessThanOrEqual(taken.length + limit);
          }
          while (taken.length <= total) taken.push(stream.next());
          for (let i = 0; i < 500 && dispatcher.doneCount === 0; i++) {
            await settle();
            dispatcher.answer(i, true);
          }
          const results = await Promise.all(taken);
          const values = results.slice(0, total).map(({ value }) => value as number);
          if (!isOrdered) values.sort((a, b) => a - b);
          expect(values).toEqual(Array.from({ length: total }, (_, i) => i));
          for (const { done } of results.slice(total)) expect(done).toBe(true);
          expect([source.closed, dispatcher.doneCount]).toEqual([1, 1]);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("an error is thrown in its place, cancels later tasks, and ends the iteration", async () => {
    const source = { read: 0, closed: 0 };
    const dispatcher = new FakeDispatcher();
    const stream = startImap(dispatcher, counting(source, 100));
    dispatcher.fail(2, new Error("third"));
    expect(source.closed).toBe(1);
    expect(dispatcher.cancelled.map(({ firstIndex }) => firstIndex)).toEqual([3]);
    dispatcher.answer(1, true);
    dispatcher.answer(0, true);
    expect(await stream.next()).toEqual({ done: false, value: 0 });
    expect(await stream.next()).toEqual({ done: false, value: 1 });
    await expect(stream.next()).rejects.toThrow("third");
    expect(await stream.next()).toEqual({ done: true, value: undefined });
    expect(dispatcher.doneCount).toBe(1);
  });

  test("return() cancels tasks, closes the input, and ends pending next() calls", async () => {
    const source = { read: 0, closed: 0 };
    const dispatcher = new FakeDispatcher();
    const stream = startImap(dispatcher, counting(source, 100));
    const waiting = stream.next();
    expect(await stream.return()).toEqual({ done: true, value: undefined });
    expect(await waiting).toEqual({ done: true, value: undefined });
    expect([dispatcher.cancelled.length, source.closed, dispatcher.doneCount]).toEqual([4, 1, 1]);
    await stream.return();
    expect([source.closed, dispatcher.doneCount]).toEqual([1, 1]);
  });

  test("return() does not wait for an input that never arrives", async () => {
    const dispatcher = new FakeDispatcher();
    const never = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) };
    const stream = startImap(dispatcher, never);
    expect(await stream.return()).toEqual({ done: true, value: undefined });
    expect(dispatcher.doneCount).toBe(1);
  });

  test("return() rejects with an error of the input's own return()", async () => {
    const dispatcher = new FakeDispatcher();
    const iterator = {
      next: () => ({ done: false, value: 1 }),
      return: () => {
        throw new Error("cannot close");
      },
    };
    const stream = startImap(dispatcher, { [Symbol.iterator]: () => iterator } as Iterable<number>);
    await expect(stream.return()).rejects.toThrow("cannot close");
    expect(dispatcher.doneCount).toBe(1);
  });

  test("cancel() rejects the pending or the next next(), and ends the iteration", async () => {
    const dispatcher = new FakeDispatcher();
    const waiting = startImap(dispatcher, counting({ read: 0, closed: 0 }, 100));
    const next = waiting.next();
    waiting.cancel(new Error("enough"));
    await expect(next).rejects.toThrow("enough");
    expect(await waiting.next()).toEqual({ done: true, value: undefined });
    const quiet = startImap(dispatcher, counting({ read: 0, closed: 0 }, 100));
    dispatcher.answer(0, true);
    quiet.cancel(new Error("enough"));
    await expect(quiet.next()).rejects.toThrow("enough");
    expect(await quiet.next()).toEqual({ done: true, value: undefined });
  });

  test("an input that cannot be sent is an error in its place", async () => {
    const dispatcher = new FakeDispatcher();
    const stream = startImap(dispatcher, [1, () => {}, 3], { chunkSize: 1 });
    dispatcher.answer(0, true);
    expect((await stream.next()).value).toBe(0);
    await expect(stream.next()).rejects.toMatchObject({ path: "inputs[1]" });
    expect(dispatcher.doneCount).toBe(1);
  });

  test("tiny items are batched into chunks, and async inputs are not", async () => {
    const tiny = new FunctionTable().getOrAdd(
      inline((x: number) => x),
      "imap()",
    );
    tiny.estimate.record(0.001);
    const dispatcher = new FakeDispatcher();
    const source = { read: 0, closed: 0 };
    const spec = { fn: tiny, chunkSize: undefined, bufferSize: undefined };
    await startImap(dispatcher, counting(source, 10_000), spec).return();
    expect(dispatcher.cancelled[0]?.itemCount).toBe(200);
    expect(source.read).toBe(1600);
    const one = startImap(dispatcher, countingAsync({ read: 0, closed: 0 }, 100), spec);
    await settle();
    expect(dispatcher.tasks[0]?.itemCount).toBe(1);
    await one.return();
  });
});
