import { handleOf, registry } from "@multiproc/core/internal";
import { Barrier, Condition, Event, Lock, NotHeldError, RLock, Semaphore, SyncClosedError } from "@multiproc/sync";
import { describe, expect, test } from "vitest";

type ErrorClass = new (...args: never[]) => Error;
const wrong = (value: unknown) => value as never;

interface Primitives {
  lock: Lock;
  rlock: RLock;
  semaphore: Semaphore;
  condition: Condition;
  event: Event;
  barrier: Barrier;
}
const owned = (): Primitives => ({
  lock: new Lock(),
  rlock: new RLock(),
  semaphore: new Semaphore(1),
  condition: new Condition(),
  event: new Event(),
  barrier: new Barrier(2),
});
/**
 * The primitives as another process would have them. They reach the owner, which is this process
 * too, by messages.
 */
const received = (): Primitives => {
  const receive = <T extends object>(primitive: T): T => {
    const { kind, data } = handleOf(primitive);
    const remote = JSON.parse(JSON.stringify(Array.isArray(data) ? data[0] : data));
    remote.memory = undefined;
    const address = Array.isArray(data) ? [remote, ...data.slice(1)] : remote;
    return registry.revivers.get(kind)?.(address) as T;
  };
  const { lock, rlock, semaphore, event, barrier } = owned();
  const received = { lock, rlock, semaphore, event, barrier };
  for (const [name, primitive] of Object.entries(received)) Object.assign(received, { [name]: receive(primitive) });
  return { ...received, condition: receive(new Condition(received.rlock)) };
};
const sides = [
  { side: "of the owner process", make: owned },
  { side: "of another process", make: received },
];

const mistakes: { call: string; run: (all: Primitives) => Promise<unknown>; error: ErrorClass; message: string }[] = [
  {
    call: "lock.acquire(5)",
    run: ({ lock }) => lock.acquire(wrong(5)),
    error: TypeError,
    message: "acquire() takes its options as one object",
  },
  {
    call: "lock.acquire({ timeOut })",
    run: ({ lock }) => lock.acquire(wrong({ timeOut: 5 })),
    error: TypeError,
    message: 'acquire() does not take the option "timeOut". Did you mean "timeout"?',
  },
  {
    call: "lock.acquire({ timeout: -1 })",
    run: ({ lock }) => lock.acquire({ timeout: -1 }),
    error: RangeError,
    message: "acquire() takes a timeout of 0 or more milliseconds, not -1",
  },
  {
    call: "rlock.acquire({ onOwnerDeath: 'warn' })",
    run: ({ rlock }) => rlock.acquire(wrong({ onOwnerDeath: "warn" })),
    error: TypeError,
    message: 'acquire() takes onOwnerDeath as "report" or "throw", not "warn"',
  },
  {
    call: "rlock.acquire({ signal: controller })",
    run: ({ rlock }) => rlock.acquire(wrong({ signal: new AbortController() })),
    error: TypeError,
    message: "acquire() takes an AbortSignal as signal",
  },
  {
    call: "lock.release() of a free lock",
    run: ({ lock }) => lock.release(),
    error: NotHeldError,
    message: "release() was called on a lock that is free",
  },
  {
    call: "rlock.release() of a free lock",
    run: ({ rlock }) => rlock.release(),
    error: NotHeldError,
    message: "release() was called by code that does not hold the lock",
  },
  {
    call: "semaphore.acquire({ block })",
    run: ({ semaphore }) => semaphore.acquire(wrong({ block: false })),
    error: TypeError,
    message: 'acquire() does not take the option "block"',
  },
  {
    call: "semaphore.release(0)",
    run: ({ semaphore }) => semaphore.release(0),
    error: RangeError,
    message: "release() takes a whole number of units, 1 or more, not 0",
  },
  {
    call: "condition.acquire(true)",
    run: ({ condition }) => condition.acquire(wrong(true)),
    error: TypeError,
    message: "acquire() takes its options as one object",
  },
  {
    call: "condition.release() of a free lock",
    run: ({ condition }) => condition.release(),
    error: NotHeldError,
    message: "release()",
  },
  {
    call: "condition.wait() without the lock",
    run: ({ condition }) => condition.wait(),
    error: NotHeldError,
    message: "wait() was called by code that does not hold the lock: acquire it first",
  },
  {
    call: "condition.wait(5)",
    run: ({ condition }) => condition.wait(wrong(5)),
    error: TypeError,
    message: "wait() takes its options as one object",
  },
  {
    call: "condition.waitFor(true)",
    run: ({ condition }) => condition.waitFor(wrong(true)),
    error: TypeError,
    message: "waitFor() takes a function that returns whether to continue, not true",
  },
  {
    call: "condition.notify() without the lock",
    run: ({ condition }) => condition.notify(),
    error: NotHeldError,
    message: "notify()",
  },
  {
    call: "condition.notify(-1)",
    run: ({ condition }) => condition.notify(-1),
    error: RangeError,
    message: "notify() takes a whole number of waiters, 0 or more, not -1",
  },
  {
    call: "condition.notifyAll() without the lock",
    run: ({ condition }) => condition.notifyAll(),
    error: NotHeldError,
    message: "notifyAll()",
  },
  {
    call: "event.wait(5)",
    run: ({ event }) => event.wait(wrong(5)),
    error: TypeError,
    message: "wait() takes its options as one object, such as { timeout: … }, not 5",
  },
  {
    call: "barrier.wait({ timeout: '5' })",
    run: ({ barrier }) => barrier.wait(wrong({ timeout: "5" })),
    error: RangeError,
    message: "wait() takes a timeout of 0 or more milliseconds, not 5",
  },
];

const afterClose: { call: string; run: (all: Primitives) => Promise<unknown> }[] = [
  { call: "acquire()", run: ({ lock }) => lock.acquire() },
  { call: "release()", run: ({ lock }) => lock.release() },
  { call: "state()", run: ({ lock }) => lock.state() },
  { call: "acquire()", run: ({ rlock }) => rlock.acquire() },
  { call: "release()", run: ({ rlock }) => rlock.release() },
  { call: "acquire()", run: ({ semaphore }) => semaphore.acquire() },
  { call: "release()", run: ({ semaphore }) => semaphore.release() },
  { call: "state()", run: ({ semaphore }) => semaphore.state() },
  { call: "wait()", run: ({ condition }) => condition.wait() },
  { call: "notify()", run: ({ condition }) => condition.notify() },
  { call: "notifyAll()", run: ({ condition }) => condition.notifyAll() },
  { call: "wait()", run: ({ event }) => event.wait() },
  { call: "set()", run: ({ event }) => event.set() },
  { call: "clear()", run: ({ event }) => event.clear() },
  { call: "state()", run: ({ event }) => event.state() },
  { call: "wait()", run: ({ barrier }) => barrier.wait() },
  { call: "abort()", run: ({ barrier }) => barrier.abort() },
  { call: "reset()", run: ({ barrier }) => barrier.reset() },
  { call: "state()", run: ({ barrier }) => barrier.state() },
];

async function rejection(run: () => Promise<unknown>): Promise<unknown> {
  let promise: Promise<unknown> | undefined;
  expect(() => (promise = run())).not.toThrow();
  expect(promise).toBeInstanceOf(Promise);
  return promise?.then(
    () => "no error",
    (error: unknown) => error,
  );
}

describe.each(sides)("a primitive $side", ({ make }) => {
  test.each(mistakes)("$call rejects and does not throw", async ({ run, error, message }) => {
    const found = await rejection(() => run(make()));
    expect(found).toBeInstanceOf(error);
    expect((found as Error).message).toContain(message);
  });

  test.each(afterClose)("$call rejects after close() and does not throw", async ({ call, run }) => {
    const all = make();
    for (const primitive of Object.values(all) as Disposable[]) primitive[Symbol.dispose]();
    const found = await rejection(() => run(all));
    expect(found).toBeInstanceOf(SyncClosedError);
    expect((found as Error).message).toBe(`${call} was called after close()`);
  });

  test("synchronous calls throw, with the options that they take", () => {
    const { lock, rlock, semaphore, condition, event, barrier } = make();
    const calls: [string, () => unknown][] = [
      ["acquireSync()", () => lock.acquireSync(wrong({ signal: AbortSignal.abort() }))],
      ["tryAcquire()", () => rlock.tryAcquire(wrong({ timeout: 5 }))],
      ["acquireSync()", () => semaphore.acquireSync(wrong({ onOwnerDeath: "throw" }))],
      ["waitSync()", () => condition.waitSync(wrong({ signal: AbortSignal.abort() }))],
      ["waitForSync()", () => condition.waitForSync(() => true, wrong({ timeOut: 5 }))],
      ["waitSync()", () => event.waitSync(wrong({ timeOut: 5 }))],
      ["waitSync()", () => barrier.waitSync(wrong({ timeOut: 5 }))],
    ];
    for (const [call, run] of calls) expect(run).toThrow(`${call} does not take the option`);
    for (const primitive of [lock, rlock, semaphore, condition, event, barrier]) primitive.close();
    expect(() => lock.locked()).toThrow(SyncClosedError);
    expect(() => semaphore.getValue()).toThrow(SyncClosedError);
    expect(() => event.isSet()).toThrow(SyncClosedError);
    expect(() => barrier.broken).toThrow(SyncClosedError);
  });
});

test("constructors refuse wrong arguments", () => {
  for (const lock of ["no lock", 1, null, {}, new Semaphore(1), Lock])
    expect(() => new Condition(wrong(lock))).toThrow("new Condition() takes a Lock or an RLock, not ");
  expect(() => new Semaphore(-1)).toThrow("A semaphore takes a whole number of units from 0 to 2147483647, not -1");
  expect(() => new Barrier(0)).toThrow("new Barrier() takes a whole number of parties, 1 or more, not 0");
  expect(() => new Barrier(2, { timeout: -1 })).toThrow("new Barrier() takes a timeout of 0 or more milliseconds");
  expect(() => new Barrier(2, wrong({ timeOut: 5 }))).toThrow('Did you mean "timeout"?');
  expect(
    () =>
      new Barrier(
        2,
        wrong(() => {}),
      ),
  ).toThrow("new Barrier() takes its options as one object");
  expect(() => new Barrier(2, wrong({ action: "go" }))).toThrow('new Barrier() takes a function as action, not "go"');
});

test("completion lists show no internal members", () => {
  const names = new Set<string>();
  for (const each of Object.values(owned()))
    for (let object = each as object; object !== Object.prototype; object = Object.getPrototypeOf(object))
      for (const name of Object.getOwnPropertyNames(object)) names.add(name);
  expect([...names].filter((name) => !/^[a-z][A-Za-z]*$/.test(name))).toEqual([]);
});
