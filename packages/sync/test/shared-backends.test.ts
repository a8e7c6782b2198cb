// Runs under every start method.
import { whyNoSharedMemory } from "@multiproc/core/internal";
import { DeadlockError, type Guard, Lock } from "@multiproc/sync";
import { describe, expect, test } from "vitest";
import { contract } from "./contract/contract.ts";
import { kills } from "./contract/kills.ts";
import { startRemoteChild } from "./contract/remote-controlled-child.ts";

describe.skipIf(whyNoSharedMemory() !== undefined)("in shared memory", () => {
  contract("memory");
  kills();

  test("acquireSync() blocks the thread, and not for what only this thread can do", async () => {
    const lock = new Lock();
    const child = await startRemoteChild({ lock });
    const held = lock.acquireSync() as Guard;
    expect(lock.acquireSync({ timeout: 5 })).toBe(null);
    expect(() => lock.acquireSync()).toThrow(DeadlockError);
    expect(await child.call("lock", "acquireSync", { timeout: 5 })).toBe(null);
    expect(await child.call("lock", "tryAcquire")).toBe(null);
    held.release();
    await child.call("lock", "acquireSync");
    await child.call("soon", "release", "lock");
    lock.acquireSync()?.release();
  });

  test("a lock outlives the process that made it", async () => {
    const maker = await startRemoteChild({});
    const lock: Lock = await maker.call("make", "lock");
    const child = await startRemoteChild({ lock });
    await maker.call("lock", "acquire");
    const waiting = child.call("lock", "acquire");
    await maker.kill();
    expect(await waiting).toEqual({ previousOwnerDied: true });
    expect(await lock.acquire({ timeout: 0 })).toBe(null);
    // It passes on what its maker is no longer there to pass on.
    const other = await startRemoteChild({ lock });
    await child.call("lock", "release");
    expect(await other.call("lock", "acquire")).toEqual({ previousOwnerDied: false });
  });
});
