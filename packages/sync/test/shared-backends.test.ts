// Runs under every start method.
import { whyNoSharedMemory } from "@multiproc/core/internal";
import { Condition, DeadlockError, Event, type Guard, Lock, NotHeldError, RLock, Semaphore } from "@multiproc/sync";
import { describe, expect, test } from "vitest";
import { contract } from "./contract/contract.ts";
import { kills } from "./contract/kills.ts";
import { startRemoteChild } from "./contract/remote-controlled-child.ts";

describe.skipIf(whyNoSharedMemory() !== undefined)("in shared memory", () => {
  contract("shared-memory");
  kills();

  test("acquireSync() blocks the thread, but not for a lock that only this thread can release", async () => {
    const lock = new Lock();
    const child = await startRemoteChild({ lock });
    const held = lock.acquireSync() as Guard;
    expect(lock.acquireSync({ timeout: 5 })).toBe(null);
    expect(() => lock.acquireSync()).toThrow(DeadlockError);
    expect(await child.call("lock", "acquireSync", { timeout: 5 })).toBe(null);
    expect(await child.call("lock", "tryAcquire")).toBe(null);
    void held.release();
    await child.call("lock", "acquireSync");
    await child.call("soon", "release", "lock");
    void lock.acquireSync()?.release();
  });

  test("a lock outlives the process that created it", async () => {
    const maker = await startRemoteChild({});
    const lock: Lock = await maker.call("make", "lock");
    const child = await startRemoteChild({ lock });
    await maker.call("lock", "acquire");
    const waiting = child.call("lock", "acquire");
    await maker.kill();
    expect(await waiting).toEqual({ previousOwnerDied: true });
    expect(await lock.acquire({ timeout: 0 })).toBe(null);
    // This process can pass the lock on, although its creator is gone.
    const other = await startRemoteChild({ lock });
    await child.call("lock", "release");
    expect(await other.call("lock", "acquire")).toEqual({ previousOwnerDied: false });
  });

  test("a child reads the state of a primitive at once", async () => {
    const objects = { lock: new Lock(), semaphore: new Semaphore(2), event: new Event() };
    const child = await startRemoteChild(objects);
    await objects.event.set();
    expect(await child.call("lock", "locked")).toBe(false);
    expect(await child.call("semaphore", "getValue")).toBe(2);
    expect(await child.call("event", "isSet")).toBe(true);
  });

  test("a change is in effect when its call returns, before its promise settles", async () => {
    const [lock, semaphore, event] = [new RLock(), new Semaphore(0), new Event()];
    lock.acquireSync();
    const promises = [lock.release(), semaphore.release(), event.set()];
    expect([lock.locked(), semaphore.getValue(), event.isSet()]).toEqual([false, 1, true]);
    promises.push(event.clear());
    expect(event.isSet()).toBe(false);
    expect(await Promise.all(promises)).toEqual([undefined, undefined, undefined, undefined]);
    const condition = new Condition(lock);
    const notified = condition.acquire().then(() => condition.wait());
    await expect.poll(() => lock.locked()).toBe(false);
    {
      using _ = condition.acquireSync();
      void condition.notify();
    }
    expect(await notified).toBe(true);
  });

  test("using throws if its lock was released by another call", () => {
    const lock = new Lock();
    const held = lock.acquireSync() as Guard;
    void lock.release();
    expect(() => held[Symbol.dispose]()).toThrow(NotHeldError);
  });
});
