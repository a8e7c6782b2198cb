import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  Barrier,
  BoundedSemaphore,
  BrokenBarrierError,
  Condition,
  Event,
  type Guard,
  Lock,
  NotHeldError,
  OwnerDiedError,
  RLock,
  Semaphore,
  SyncClosedError,
} from "@multiproc/sync";
import { until } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";
import { endAll, startRemoteChild, startTask, tasks } from "./remote-controlled-child.ts";

/** A timeout for waits that must not succeed. */
const SHORT_TIMEOUT = { timeout: 30 };

/** The tests that all backends pass, under every start method. */
export function contract(backend: "shared-memory" | "server"): void {
  afterEach(endAll);

  test("backend reports where a primitive is", () => {
    for (const each of [new Lock(), new Semaphore(), new Event(), new Barrier(2), new Condition()])
      expect(each.backend).toBe(backend);
  });

  describe.each([
    ["Lock", Lock],
    ["RLock", RLock],
  ] as const)("%s", (_name, Class) => {
    test("a lock is held by one process at a time", async () => {
      const lock = new Class();
      const child = await startRemoteChild({ lock });
      const held = (await lock.acquire()) as Guard;
      expect(held.previousOwnerDied).toBe(false);
      expect(lock.locked()).toBe(true);
      expect(await child.call("lock", "state")).toEqual({ isLocked: true });
      expect(await child.call("lock", "acquire", SHORT_TIMEOUT)).toBe(null);
      expect(await child.call("lock", "acquire", { timeout: 0 })).toBe(null);
      const waiting = child.call("lock", "acquire");
      await held.release();
      expect(await waiting).toEqual({ previousOwnerDied: false });
      expect(await lock.acquire(SHORT_TIMEOUT)).toBe(null);
      await child.call("lock", "release");
      expect(lock.locked()).toBe(false);
    });

    test("the next waiter gets the lock of a killed process, and its guard reports the death", async () => {
      const lock = new Class();
      const child = await startRemoteChild({ lock });
      await child.call("lock", "acquire");
      const waiting = lock.acquire();
      await child.kill();
      const held = (await waiting) as Guard;
      expect(held.previousOwnerDied).toBe(true);
      await held.release();
      expect((await lock.acquire())?.previousOwnerDied).toBe(false);
      await lock.release();
    });

    test("with onOwnerDeath: throw, the lock goes to the next waiter, whose guard reports the death too", async () => {
      const lock = new Class();
      const [first, second] = [await startRemoteChild({ lock }), await startRemoteChild({ lock })];
      await first.call("lock", "acquire");
      await first.kill();
      await expect(second.call("lock", "acquire", { onOwnerDeath: "throw" })).rejects.toThrow(OwnerDiedError);
      expect(await lock.acquire({ onOwnerDeath: "report" }).then((held) => held?.previousOwnerDied)).toBe(true);
      await lock.release();
    });

    test("an aborted wait leaves the queue of waiters, and has no other effect", async () => {
      const lock = new Class();
      const child = await startRemoteChild({ lock });
      await child.call("lock", "acquire");
      const controller = new AbortController();
      const first = lock.acquire({ signal: controller.signal });
      const second = lock.acquire();
      const reason = new Error("enough");
      controller.abort(reason);
      await expect(first).rejects.toBe(reason);
      await child.call("lock", "release");
      await (await second)?.release();
      await expect(lock.acquire({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      expect(lock.locked()).toBe(false);
    });

    test("a lock can be sent later, inside a value, and from its receiver to others", async () => {
      const lock = new Class();
      const [first, second] = [await startRemoteChild({}), await startRemoteChild({})];
      await first.connection.send([0, "give", { lock }]);
      expect(await first.call("lock", "acquire")).toEqual({ previousOwnerDied: false });
      await second.connection.send([0, "give", { lock }]);
      expect(await second.call("lock", "acquire", SHORT_TIMEOUT)).toBe(null);
      await first.call("lock", "release");
      expect(await second.call("lock", "acquire")).toEqual({ previousOwnerDied: false });
    });

    test("release() rejects if the lock is not held, and acquire() after close()", async () => {
      const lock = new Class();
      const child = await startRemoteChild({ lock });
      await expect(lock.release()).rejects.toThrow(NotHeldError);
      await expect(child.call("lock", "release")).rejects.toThrow(NotHeldError);
      lock.close();
      await expect(lock.acquire()).rejects.toThrow(SyncClosedError);
    });

    test("a guard releases once: later calls do nothing", async () => {
      const lock = new Class();
      const held = (await lock.acquire()) as Guard;
      await held.release();
      const again = (await lock.acquire()) as Guard;
      await held.release();
      held[Symbol.dispose]();
      await held[Symbol.asyncDispose]();
      expect(lock.locked()).toBe(true);
      await again[Symbol.asyncDispose]();
      expect(await lock.state()).toEqual({ isLocked: false });
    });
  });

  test("a Lock protects a number in a file: the increments of all processes add up", async () => {
    const folder = mkdtempSync(join(tmpdir(), "multiproc-test-"));
    try {
      const path = join(folder, "count");
      writeFileSync(path, "0");
      const lock = new Lock();
      const all = [1, 2, 3].map(() => startTask(tasks.count, lock, path, 100, backend === "shared-memory"));
      await Promise.all(all.map(async (child) => (await child).join()));
      expect(readFileSync(path, "utf8")).toBe("300");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("a Lock can be released by any process", async () => {
    const lock = new Lock();
    const child = await startRemoteChild({ lock });
    await lock.acquire();
    await child.call("lock", "release");
    expect(lock.locked()).toBe(false);
  });

  test("the flow that holds an RLock can acquire it again, and other flows wait", async () => {
    const lock = new RLock();
    const order: string[] = [];
    const inner = async (name: string): Promise<void> => {
      using _ = (await lock.acquire()) as Guard;
      await Promise.resolve();
      order.push(`${name} inside`);
    };
    const outer = async (name: string): Promise<void> => {
      using _ = (await lock.acquire()) as Guard;
      order.push(`${name} in`);
      await new Promise((resolve) => setTimeout(resolve, 2));
      await inner(name);
      order.push(`${name} out`);
    };
    const first = outer("a");
    await until(() => order.includes("a in"));
    await Promise.all([first, outer("b"), outer("c")]);
    expect(order).toEqual(["a", "b", "c"].flatMap((name) => [`${name} in`, `${name} inside`, `${name} out`]));
    expect(lock.locked()).toBe(false);
  });

  test("an RLock is free when it was released as often as it was acquired", async () => {
    const lock = new RLock();
    const child = await startRemoteChild({ lock });
    await lock.acquire();
    await lock.acquire();
    await lock.acquire();
    await lock.release();
    await lock.release();
    expect(await child.call("lock", "acquire", SHORT_TIMEOUT)).toBe(null);
    await lock.release();
    expect(await child.call("lock", "acquire")).toEqual({ previousOwnerDied: false });
    await expect(lock.release()).rejects.toThrow(NotHeldError);
  });

  test("a flow that did not wait for the holder of an RLock is another flow", async () => {
    const lock = new RLock();
    let open = (): void => {};
    const gate = new Promise<void>((resolve) => (open = resolve));
    let isInside = false;
    const first = (async () => {
      await lock.acquire();
      isInside = true;
      await gate;
      await lock.release();
    })();
    await until(() => isInside);
    expect(await lock.acquire(SHORT_TIMEOUT)).toBe(null);
    open();
    await first;
    expect(await lock.acquire()).not.toBe(null);
    await lock.release();
  });

  semaphores();
  conditions();
  events();
  barriers();
}

function semaphores(): void {
  test("processes share the units of a Semaphore", async () => {
    const semaphore = new Semaphore(2);
    const child = await startRemoteChild({ semaphore });
    await semaphore.acquire();
    await child.call("semaphore", "acquire");
    expect(semaphore.getValue()).toBe(0);
    expect(semaphore.locked()).toBe(true);
    expect(await child.call("semaphore", "state")).toEqual({ value: 0, isLocked: true });
    expect(await semaphore.acquire(SHORT_TIMEOUT)).toBe(null);
    const waiting = semaphore.acquire();
    await child.call("semaphore", "release");
    expect(await waiting).not.toBe(null);
    await semaphore.release(2);
    expect(await child.call("semaphore", "state")).toEqual({ value: 2, isLocked: false });
    await semaphore.release(3);
    expect(await semaphore.state()).toEqual({ value: 5, isLocked: false });
  });

  test("a Semaphore gets back the units of a killed process", async () => {
    const semaphore = new Semaphore(2);
    const child = await startRemoteChild({ semaphore });
    await child.call("semaphore", "acquire");
    await child.call("semaphore", "acquire");
    const waiting = [semaphore.acquire(), semaphore.acquire()];
    await child.kill();
    await Promise.all(waiting);
    expect(semaphore.getValue()).toBe(0);
    expect(await semaphore.acquire(SHORT_TIMEOUT)).toBe(null);
  });

  test("a process can take the units of a Semaphore that another process adds", async () => {
    const semaphore = new Semaphore(0);
    const child = await startRemoteChild({ semaphore });
    const waiting = [semaphore.acquire(), semaphore.acquire()];
    await child.call("semaphore", "release", 2);
    await Promise.all(waiting);
    expect(semaphore.getValue()).toBe(0);
  });

  test("a BoundedSemaphore rejects a release too many", async () => {
    const semaphore = new BoundedSemaphore(1);
    const child = await startRemoteChild({ semaphore });
    await expect(semaphore.release()).rejects.toThrow(RangeError);
    await expect(child.call("semaphore", "release")).rejects.toThrow("at most 1 units");
    await semaphore.acquire();
    await child.call("semaphore", "release");
    expect(semaphore.getValue()).toBe(1);
  });
}

function conditions(): void {
  const waiters = async (condition: Condition, count: number) => {
    const children = await Promise.all(Array.from({ length: count }, () => startRemoteChild({ condition })));
    const done = { count: 0 };
    for (const child of children) {
      await child.call("condition", "acquire");
      void child
        .call("condition", "wait")
        .then(() => child.call("condition", "release"))
        .then(() => {
          done.count += 1;
        });
      await (await condition.acquire())?.release(); // the lock is free once the child waits
    }
    return { children, done };
  };

  test("notify() of a Condition wakes as many waiters as it is asked to", async () => {
    const condition = new Condition();
    const { done } = await waiters(condition, 3);
    await condition.acquire();
    await condition.notify(2);
    await condition.release();
    await until(() => done.count === 2);
    await condition.acquire();
    await condition.notifyAll();
    await condition.release();
    await until(() => done.count === 3);
    expect(condition.locked()).toBe(false);
    expect(await condition.state()).toEqual({ isLocked: false });
  });

  test("wait() of a Condition ends by its timeout or signal, and then holds the lock", async () => {
    const condition = new Condition(new Lock());
    const child = await startRemoteChild({ condition });
    await condition.acquire();
    expect(await condition.wait(SHORT_TIMEOUT)).toBe(false);
    const reason = new Error("enough");
    await expect(condition.wait({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(await child.call("condition", "acquire", { timeout: 0 })).toBe(null);
    expect(await condition.waitFor(() => false, SHORT_TIMEOUT)).toBe(false);
    await condition.release();
    await expect(condition.wait()).rejects.toThrow(NotHeldError);
    await expect(condition.notify()).rejects.toThrow(NotHeldError);
    await expect(child.call("condition", "notifyAll")).rejects.toThrow(NotHeldError);
  });

  test("wait() of a Condition frees a lock that was acquired more than once", async () => {
    const condition = new Condition();
    const child = await startRemoteChild({ condition });
    await condition.acquire();
    await condition.acquire();
    const waiting = condition.wait();
    await child.call("condition", "acquire");
    await child.call("condition", "notify");
    await child.call("condition", "release");
    expect(await waiting).toBe(true);
    await condition.release();
    expect(await child.call("condition", "acquire", { timeout: 0 })).toBe(null);
    await condition.release();
  });

  test("a notification of a Condition is not lost with a killed waiter", async () => {
    const condition = new Condition();
    const { children, done } = await waiters(condition, 2);
    await children[0]?.kill();
    await condition.acquire();
    await condition.notify();
    await condition.release();
    await until(() => done.count === 1);
  });
}

function events(): void {
  test("set() of an Event wakes all waiters", async () => {
    const event = new Event();
    const child = await startRemoteChild({ event });
    expect(event.isSet()).toBe(false);
    expect(await child.call("event", "wait", SHORT_TIMEOUT)).toBe(false);
    const waiting = [event.wait(), child.call("event", "wait"), child.call("event", "wait")];
    await child.call("event", "state"); // its reply shows that both calls of the child wait
    await event.set();
    expect(await Promise.all(waiting)).toEqual([true, true, true]);
    expect(event.isSet()).toBe(true);
    expect(await child.call("event", "state")).toEqual({ isSet: true });
    expect(await event.wait({ timeout: 0 })).toBe(true);
    expect(await child.call("event", "wait", { timeout: 0 })).toBe(true);
    await child.call("event", "clear");
    expect(await event.wait({ timeout: 0 })).toBe(false);
    expect(await event.state()).toEqual({ isSet: false });
    const reason = new Error("enough");
    await expect(event.wait({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
}

function barriers(): void {
  test("a Barrier releases all parties when the last has arrived, again and again", async () => {
    const barrier = new Barrier(3, { timeout: 10_000 });
    const children = [await startRemoteChild({ barrier }), await startRemoteChild({ barrier })];
    for (let round = 0; round < 3; round++) {
      const indexes = await Promise.all([barrier.wait(), ...children.map(({ call }) => call("barrier", "wait"))]);
      expect(indexes.sort()).toEqual([0, 1, 2]);
    }
    const state = { parties: 3, nWaiting: 0, broken: false };
    expect(await barrier.state()).toEqual(state);
    expect(await children[0]?.call("barrier", "state")).toEqual(state);
    expect([barrier.nWaiting, barrier.broken, barrier.parties]).toEqual([0, false, 3]);
  });

  test("the action of a Barrier runs once before any party continues, and breaks the barrier if it fails", async () => {
    let isBad = false;
    const order: string[] = [];
    const action = (): void => {
      if (isBad) throw new Error("bad action");
      order.push("action");
    };
    const barrier = new Barrier(2, { action });
    const wait = () => barrier.wait().then(() => order.push("gone"));
    await Promise.all([wait(), wait()]);
    expect(order).toEqual(["action", "gone", "gone"]);
    isBad = true;
    const first = barrier.wait();
    const errors = await Promise.all([first.catch((error) => error), barrier.wait().catch((error) => error)]);
    expect(errors.map(({ message }) => message).sort()).toEqual([
      "bad action",
      "wait() found the barrier broken: its action failed",
    ]);
  });

  test("a Barrier breaks when a wait times out and by abort(), until reset()", async () => {
    const barrier = new Barrier(3);
    const child = await startRemoteChild({ barrier });
    const waiting = child.call("barrier", "wait");
    await until(() => barrier.nWaiting === 1);
    await expect(barrier.wait(SHORT_TIMEOUT)).rejects.toThrow("a wait timed out");
    await expect(waiting).rejects.toThrow(BrokenBarrierError);
    expect(barrier.broken).toBe(true);
    await expect(barrier.wait()).rejects.toThrow(BrokenBarrierError);
    await barrier.reset();
    expect(barrier.broken).toBe(false);
    const again = child.call("barrier", "wait");
    await until(() => barrier.nWaiting === 1);
    await barrier.reset();
    await expect(again).rejects.toThrow("reset() was called");
    expect(barrier.broken).toBe(false);
    const last = child.call("barrier", "wait");
    await until(() => barrier.nWaiting === 1);
    await child.call("barrier", "abort");
    await expect(last).rejects.toThrow("abort() was called");
    expect(barrier.broken).toBe(true);
  });

  test("a wait at a Barrier that ends by its signal takes its arrival back", async () => {
    const barrier = new Barrier(2);
    const child = await startRemoteChild({ barrier });
    const controller = new AbortController();
    const first = barrier.wait({ signal: controller.signal });
    await until(() => barrier.nWaiting === 1);
    controller.abort(new Error("enough"));
    await expect(first).rejects.toThrow("enough");
    expect(barrier.nWaiting).toBe(0);
    await Promise.all([barrier.wait(), child.call("barrier", "wait")]);
  });

  test("a Barrier breaks when a waiting process dies", async () => {
    const barrier = new Barrier(3);
    const [first, second] = [await startRemoteChild({ barrier }), await startRemoteChild({ barrier })];
    void first.call("barrier", "wait");
    const waiting = second.call("barrier", "wait");
    await until(() => barrier.nWaiting === 2);
    const { pid } = first.process;
    await first.kill();
    await expect(waiting).rejects.toThrow(`process ${pid} died while it waited`);
  });
}
