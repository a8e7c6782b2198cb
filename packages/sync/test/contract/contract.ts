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

/** A wait that is long enough for whoever is to get nothing. */
const SHORT_TIMEOUT = { timeout: 30 };

/** What every form of the primitives does, under every start method. */
export function contract(backend: "memory" | "home"): void {
  afterEach(endAll);

  test("form tells how they work", () => {
    for (const each of [new Lock(), new Semaphore(), new Event(), new Barrier(2), new Condition()])
      expect(each.backend).toBe(backend);
  });

  describe.each([
    ["Lock", Lock],
    ["RLock", RLock],
  ] as const)("%s", (_name, Class) => {
    test("is held by one process at a time", async () => {
      const lock = new Class();
      const child = await startRemoteChild({ lock });
      const held = (await lock.acquire()) as Guard;
      expect(held.previousOwnerDied).toBe(false);
      expect(await child.call("lock", "locked")).toBe(true);
      expect(await child.call("lock", "acquire", SHORT_TIMEOUT)).toBe(null);
      expect(await child.call("lock", "acquire", { timeout: 0 })).toBe(null);
      const waiting = child.call("lock", "acquire");
      await held.release();
      expect(await waiting).toEqual({ previousOwnerDied: false });
      expect(await lock.acquire(SHORT_TIMEOUT)).toBe(null);
      await child.call("lock", "release");
      expect(await lock.locked()).toBe(false);
    });

    test("is handed on when the process that holds it is killed, and whoever gets it is told", async () => {
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

    test("onOwnerDeath: throw leaves it to the next, who is told as well", async () => {
      const lock = new Class();
      const [first, second] = [await startRemoteChild({ lock }), await startRemoteChild({ lock })];
      await first.call("lock", "acquire");
      await first.kill();
      await expect(second.call("lock", "acquire", { onOwnerDeath: "throw" })).rejects.toThrow(OwnerDiedError);
      expect(await lock.acquire().then((held) => held?.previousOwnerDied)).toBe(true);
      await lock.release();
    });

    test("an aborted wait gives up its place and nothing else", async () => {
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
      await expect(lock.acquire({ timeout: -1 })).rejects.toThrow(RangeError);
      expect(await lock.locked()).toBe(false);
    });

    test("can be sent later, nested in a value, and on from there", async () => {
      const lock = new Class();
      const [first, second] = [await startRemoteChild({}), await startRemoteChild({})];
      await first.connection.send([0, "give", { lock }]);
      expect(await first.call("lock", "acquire")).toEqual({ previousOwnerDied: false });
      await second.connection.send([0, "give", { lock }]);
      expect(await second.call("lock", "acquire", SHORT_TIMEOUT)).toBe(null);
      await first.call("lock", "release");
      expect(await second.call("lock", "acquire")).toEqual({ previousOwnerDied: false });
    });

    test("release() by who does not hold it is refused", async () => {
      const lock = new Class();
      const child = await startRemoteChild({ lock });
      await expect((async () => lock.release())()).rejects.toThrow(NotHeldError);
      await expect(child.call("lock", "release")).rejects.toThrow(NotHeldError);
      lock.close();
      await expect(lock.acquire()).rejects.toThrow(SyncClosedError);
    });
  });

  test("Lock: increments of a number in a file add up", async () => {
    const folder = mkdtempSync(join(tmpdir(), "multiproc-test-"));
    try {
      const path = join(folder, "count");
      writeFileSync(path, "0");
      const lock = new Lock();
      const all = [1, 2, 3].map(() => startTask(tasks.count, lock, path, 100, backend === "memory"));
      await Promise.all(all.map(async (child) => (await child).join()));
      expect(readFileSync(path, "utf8")).toBe("300");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("Lock: any process may release it", async () => {
    const lock = new Lock();
    const child = await startRemoteChild({ lock });
    await lock.acquire();
    await child.call("lock", "release");
    expect(await lock.locked()).toBe(false);
  });

  test("RLock: its flow can take it again, other flows wait", async () => {
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
    expect(await lock.locked()).toBe(false);
  });

  test("RLock: is free when it was given back as often as it was taken", async () => {
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
    await expect((async () => lock.release())()).rejects.toThrow(NotHeldError);
  });

  test("RLock: a flow that did not wait for it is another flow", async () => {
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
  test("Semaphore: its units are shared", async () => {
    const semaphore = new Semaphore(2);
    const child = await startRemoteChild({ semaphore });
    await semaphore.acquire();
    await child.call("semaphore", "acquire");
    expect(await semaphore.getValue()).toBe(0);
    expect(await semaphore.locked()).toBe(true);
    expect(await semaphore.acquire(SHORT_TIMEOUT)).toBe(null);
    const waiting = semaphore.acquire();
    await child.call("semaphore", "release");
    expect(await waiting).not.toBe(null);
    await semaphore.release(2);
    expect(await child.call("semaphore", "getValue")).toBe(2);
    await semaphore.release(3);
    expect(await semaphore.getValue()).toBe(5);
  });

  test("Semaphore: the units of a process that is killed come back", async () => {
    const semaphore = new Semaphore(2);
    const child = await startRemoteChild({ semaphore });
    await child.call("semaphore", "acquire");
    await child.call("semaphore", "acquire");
    const waiting = [semaphore.acquire(), semaphore.acquire()];
    await child.kill();
    await Promise.all(waiting);
    expect(await semaphore.getValue()).toBe(0);
    expect(await semaphore.acquire(SHORT_TIMEOUT)).toBe(null);
  });

  test("Semaphore: one process can take what another makes", async () => {
    const semaphore = new Semaphore(0);
    const child = await startRemoteChild({ semaphore });
    const waiting = [semaphore.acquire(), semaphore.acquire()];
    await child.call("semaphore", "release", 2);
    await Promise.all(waiting);
    expect(await semaphore.getValue()).toBe(0);
    expect(() => new Semaphore(-1)).toThrow(RangeError);
    expect(() => semaphore.release(0)).toThrow(RangeError);
  });

  test("BoundedSemaphore: a release too many is refused", async () => {
    const semaphore = new BoundedSemaphore(1);
    const child = await startRemoteChild({ semaphore });
    await expect((async () => semaphore.release())()).rejects.toThrow(RangeError);
    await expect(child.call("semaphore", "release")).rejects.toThrow("at most 1 units");
    await semaphore.acquire();
    await child.call("semaphore", "release");
    expect(await semaphore.getValue()).toBe(1);
  });
}

function conditions(): void {
  const waiters = async (condition: Condition, count: number) => {
    const children = await Promise.all(Array.from({ length: count }, () => startRemoteChild({ condition })));
    const done = { count: 0 };
    for (const child of children) {
      await child.call("condition", "acquire");
      // It frees the lock when it waits.
      void child
        .call("condition", "wait")
        .then(() => child.call("condition", "release"))
        .then(() => {
          done.count += 1;
        });
      await (await condition.acquire())?.release();
    }
    return { children, done };
  };

  test("Condition: notify() lets as many go as it says", async () => {
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
    expect(await condition.locked()).toBe(false);
  });

  test("Condition: wait() ends with its time or its signal, and holds the lock then", async () => {
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
    expect(() => condition.notify()).toThrow(NotHeldError);
    await expect(child.call("condition", "notifyAll")).rejects.toThrow(NotHeldError);
  });

  test("Condition: wait() frees a lock that was taken more than once", async () => {
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

  test("Condition: a waiter that was killed takes nothing from the others", async () => {
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
  test("Event: all who wait are let go", async () => {
    const event = new Event();
    const child = await startRemoteChild({ event });
    expect(await event.isSet()).toBe(false);
    expect(await child.call("event", "wait", SHORT_TIMEOUT)).toBe(false);
    const waiting = [event.wait(), child.call("event", "wait"), child.call("event", "wait")];
    await child.call("event", "isSet"); // so that both wait
    await event.set();
    expect(await Promise.all(waiting)).toEqual([true, true, true]);
    expect(await child.call("event", "isSet")).toBe(true);
    expect(await event.wait({ timeout: 0 })).toBe(true);
    await child.call("event", "clear");
    expect(await event.wait({ timeout: 0 })).toBe(false);
    const reason = new Error("enough");
    await expect(event.wait({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
}

function barriers(): void {
  test("Barrier: lets all go when the last has come, again and again", async () => {
    const barrier = new Barrier(3, { timeout: 10_000 });
    const children = [await startRemoteChild({ barrier }), await startRemoteChild({ barrier })];
    for (let round = 0; round < 3; round++) {
      const places = await Promise.all([barrier.wait(), ...children.map(({ call }) => call("barrier", "wait"))]);
      expect(places.sort()).toEqual([0, 1, 2]);
    }
    expect(await barrier.nWaiting).toBe(0);
    expect(barrier.parties).toBe(3);
  });

  test("Barrier: its action runs once, before any goes; its failure breaks the barrier", async () => {
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

  test("Barrier: breaks when a wait runs out of time, and by abort(); reset() mends it", async () => {
    const barrier = new Barrier(3);
    const child = await startRemoteChild({ barrier });
    const waiting = child.call("barrier", "wait");
    await until(async () => (await barrier.nWaiting) === 1);
    await expect(barrier.wait(SHORT_TIMEOUT)).rejects.toThrow("a wait at it ran out of time");
    await expect(waiting).rejects.toThrow(BrokenBarrierError);
    expect(await barrier.broken).toBe(true);
    await expect(barrier.wait()).rejects.toThrow(BrokenBarrierError);
    await barrier.reset();
    expect(await barrier.broken).toBe(false);
    const again = child.call("barrier", "wait");
    await until(async () => (await barrier.nWaiting) === 1);
    await barrier.reset();
    await expect(again).rejects.toThrow("reset() was called");
    expect(await barrier.broken).toBe(false);
    const last = child.call("barrier", "wait");
    await until(async () => (await barrier.nWaiting) === 1);
    await child.call("barrier", "abort");
    await expect(last).rejects.toThrow("abort() was called");
    expect(await barrier.broken).toBe(true);
  });

  test("Barrier: a wait that ends by its signal gives up its place", async () => {
    const barrier = new Barrier(2);
    const child = await startRemoteChild({ barrier });
    const controller = new AbortController();
    const first = barrier.wait({ signal: controller.signal });
    await until(async () => (await barrier.nWaiting) === 1);
    controller.abort(new Error("enough"));
    await expect(first).rejects.toThrow("enough");
    expect(await barrier.nWaiting).toBe(0);
    await Promise.all([barrier.wait(), child.call("barrier", "wait")]);
  });

  test("Barrier: breaks when a process dies that waits at it", async () => {
    const barrier = new Barrier(3);
    const [first, second] = [await startRemoteChild({ barrier }), await startRemoteChild({ barrier })];
    void first.call("barrier", "wait");
    const waiting = second.call("barrier", "wait");
    await until(async () => (await barrier.nWaiting) === 2);
    const { pid } = first.process;
    await first.kill();
    await expect(waiting).rejects.toThrow(`process ${pid} died while it waited`);
  });
}
