import { CapabilityError, SendError } from "@multiproc/core";
import { handleOf, registry } from "@multiproc/core/internal";
import { JoinableQueue, Queue, QueueClosedError, SimpleQueue } from "@multiproc/queue";
import { describe, expect, test } from "vitest";

type Call = (queue: JoinableQueue<unknown>) => Promise<unknown>;
type ErrorClass = new (...args: never[]) => Error;

const owned = (): JoinableQueue<unknown> => new JoinableQueue(1);
/** A queue as a client has it: its calls reach the owner by messages. */
const received = (): JoinableQueue<unknown> =>
  registry.revivers.get("queue.Queue")?.(handleOf(new JoinableQueue(1)).data) as JoinableQueue<unknown>;
const sides = [
  { side: "its owner process", make: owned },
  { side: "another process", make: received },
];
const wrong = (options: unknown) => options as never;
const unsendable = (): void => {};

const mistakes: { call: string; run: Call; error: ErrorClass; message: string }[] = [
  { call: "put(function)", run: (queue) => queue.put(unsendable), error: SendError, message: "item" },
  {
    call: "put(item, { timeOut })",
    run: (queue) => queue.put(1, wrong({ timeOut: 5 })),
    error: TypeError,
    message: 'put() does not take the option "timeOut". Did you mean "timeout"?',
  },
  {
    call: "put(item, true)",
    run: (queue) => queue.put(1, wrong(true)),
    error: TypeError,
    message: "put() takes its options as one object, such as { block: … }, not true",
  },
  {
    call: "put(item, { block: 'no' })",
    run: (queue) => queue.put(1, wrong({ block: "no" })),
    error: TypeError,
    message: "put() takes block as true or false, not no",
  },
  {
    call: "put(item, { timeout: -1 })",
    run: (queue) => queue.put(1, { timeout: -1 }),
    error: RangeError,
    message: "put() takes a timeout of 0 or more milliseconds, not -1",
  },
  {
    call: "put(item, { signal: controller })",
    run: (queue) => queue.put(1, wrong({ signal: new AbortController() })),
    error: TypeError,
    message: "put() takes an AbortSignal as signal",
  },
  { call: "putNowait(function)", run: (queue) => queue.putNowait(unsendable), error: SendError, message: "item" },
  {
    call: "get(5)",
    run: (queue) => queue.get(wrong(5)),
    error: TypeError,
    message: "get() takes its options as one object, such as { block: … }, not 5",
  },
  {
    call: "get({ blocking })",
    run: (queue) => queue.get(wrong({ blocking: false })),
    error: TypeError,
    message: 'get() does not take the option "blocking". Did you mean "block"?',
  },
  {
    call: "get({ timeout: NaN })",
    run: (queue) => queue.get({ timeout: Number.NaN }),
    error: RangeError,
    message: "get() takes a timeout of 0 or more milliseconds, not NaN",
  },
  {
    call: "shutdown(true)",
    run: (queue) => queue.shutdown(wrong(true)),
    error: TypeError,
    message: "shutdown() takes its options as one object, such as { immediate: … }, not true",
  },
  {
    call: "shutdown({ force })",
    run: (queue) => queue.shutdown(wrong({ force: true })),
    error: TypeError,
    message: 'shutdown() does not take the option "force". Did you mean "immediate"?',
  },
  {
    call: "join(5)",
    run: (queue) => queue.join(wrong(5)),
    error: TypeError,
    message: "join() takes its options as one object, such as { timeout: … }, not 5",
  },
  {
    call: "join({ timeout: '5' })",
    run: (queue) => queue.join(wrong({ timeout: "5" })),
    error: RangeError,
    message: "join() takes a timeout of 0 or more milliseconds, not 5",
  },
  {
    call: "taskDone() without a task",
    run: (queue) => queue.taskDone(),
    error: RangeError,
    message: "taskDone() was called more often than items were put",
  },
];

const afterClose: { call: string; run: Call }[] = [
  { call: "put()", run: (queue) => queue.put(1) },
  { call: "putNowait()", run: (queue) => queue.putNowait(1) },
  { call: "get()", run: (queue) => queue.get() },
  { call: "getNowait()", run: (queue) => queue.getNowait() },
  { call: "state()", run: (queue) => queue.state() },
  { call: "shutdown()", run: (queue) => queue.shutdown() },
  { call: "backend()", run: (queue) => queue.backend() },
  { call: "taskDone()", run: (queue) => queue.taskDone() },
  { call: "join()", run: (queue) => queue.join() },
  { call: "next() of its iterator", run: (queue) => queue[Symbol.asyncIterator]().next() },
];

async function rejection(run: () => Promise<unknown>): Promise<unknown> {
  let promise: Promise<unknown> | undefined;
  expect(() => (promise = run())).not.toThrow();
  return promise?.then(
    () => "no error",
    (error: unknown) => error,
  );
}

describe.each(sides)("a queue in $side", ({ make }) => {
  test.each(mistakes)("$call rejects and does not throw", async ({ run, error, message }) => {
    const queue = make();
    const found = await rejection(() => run(queue));
    expect(found).toBeInstanceOf(error);
    expect((found as Error).message).toContain(message);
    expect((await queue.state()).size).toBe(0);
    queue.close();
  });

  test.each(afterClose)("$call rejects after close() and does not throw", async ({ call, run }) => {
    const queue = make();
    queue.close();
    queue.close(); // a second close() does nothing
    const found = await rejection(() => run(queue));
    expect(found).toBeInstanceOf(QueueClosedError);
    if (!call.startsWith("next()"))
      expect((found as Error).message).toBe(`${call} was called on a queue after close()`);
  });

  test("synchronous calls throw their usage errors", () => {
    const queue = make();
    expect(() => queue.getSync(wrong({ signal: AbortSignal.abort() }))).toThrow(
      'getSync() does not take the option "signal"',
    );
    expect(() => queue.putSync(1, wrong(5))).toThrow("putSync() takes its options as one object");
    queue.close();
    for (const read of [() => queue.qsize(), () => queue.empty(), () => queue.full()])
      expect(read).toThrow(QueueClosedError);
  });
});

test("a client of a broker cannot read the queue at once, and the error proposes state()", async () => {
  const queue = received();
  await queue.put("item");
  expect(() => queue.qsize()).toThrow(CapabilityError);
  expect(() => queue.qsize()).toThrow(`process ${globalThis.process.pid}, keeps them: use (await queue.state()).size`);
  expect(() => queue.empty()).toThrow("(await queue.state()).isEmpty");
  expect(() => queue.full()).toThrow("(await queue.state()).isFull");
  expect(await queue.state()).toEqual({ size: 1, maxSize: 1, isEmpty: false, isFull: true });
  queue.close();
});

test("constructors throw for a wrong size and for unknown options", () => {
  for (const size of [-1, 1.5, Number.NaN, "5", { maxSize: 5 }, null])
    expect(() => new Queue(wrong(size))).toThrow("A queue takes maxSize as a whole number of items");
  expect(() => new JoinableQueue(wrong({ lostTasks: "requeue" }))).toThrow(RangeError);
  expect(() => new JoinableQueue(0, wrong({ lostTask: "requeue" }))).toThrow('Did you mean "lostTasks"?');
  expect(() => new JoinableQueue(0, { lostTasks: wrong("ignore") })).toThrow('"throw" or "requeue"');
  expect(() => new SimpleQueue(wrong(5))).toThrow("use new Queue(maxSize) for a bounded queue");
});
