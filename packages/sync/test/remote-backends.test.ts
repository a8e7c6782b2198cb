// Runs under every start method.
import process from "node:process";
import { CapabilityError } from "@multiproc/core";
import { Barrier, Condition, Event, Lock, RLock, Semaphore, SyncClosedError } from "@multiproc/sync";
import { describe, expect, test } from "vitest";
import { contract } from "./contract/contract.ts";
import { kills } from "./contract/kills.ts";
import { startRemoteChild } from "./contract/remote-controlled-child.ts";

// This process and its children read the variable when they first need shared memory.
process.env.MULTIPROC_SHARED_MEMORY = "off";

describe("served by the owner process", () => {
  contract("server");
  kills();

  test("calls that would block the thread are refused, with the reason", async () => {
    const lock = new Lock();
    const child = await startRemoteChild({ lock });
    for (const method of ["acquireSync", "tryAcquire"]) {
      const error = await child.call("lock", method).catch((error) => error);
      expect(error).toBeInstanceOf(CapabilityError);
      expect(error.message).toContain("MULTIPROC_SHARED_MEMORY=off");
    }
    await lock.acquire();
    expect(() => lock.acquireSync()).toThrow(CapabilityError);
    expect(() => new Semaphore(0).acquireSync()).toThrow(CapabilityError);
    expect(() => new Event().waitSync()).toThrow("await wait()");
    expect(() => new Barrier(2).waitSync()).toThrow("await wait()");
    const condition = new Condition();
    await condition.acquire();
    expect(() => condition.waitSync()).toThrow(CapabilityError);
  });

  test("a child cannot read a state at once: the error names the code to write, which works", async () => {
    const objects = {
      lock: new Lock(),
      rlock: new RLock(),
      semaphore: new Semaphore(2),
      event: new Event(),
      barrier: new Barrier(2),
      condition: new Condition(),
    };
    const child = await startRemoteChild(objects);
    await objects.event.set();
    const reads: [object: string, read: [string, ...string[]], alternative: string, value: unknown][] = [
      ["lock", ["lock", "locked"], "(await lock.state()).isLocked", false],
      ["rlock", ["rlock", "locked"], "(await lock.state()).isLocked", false],
      ["condition", ["condition", "locked"], "(await lock.state()).isLocked", false],
      ["semaphore", ["semaphore", "getValue"], "(await semaphore.state()).value", 2],
      ["semaphore", ["semaphore", "locked"], "(await semaphore.state()).isLocked", false],
      ["event", ["event", "isSet"], "(await event.state()).isSet", true],
      ["barrier", ["read", "property", "barrier", "broken"], "(await barrier.state()).broken", false],
      ["barrier", ["read", "property", "barrier", "nWaiting"], "(await barrier.state()).nWaiting", 0],
    ];
    for (const [object, [name, method, ...args], alternative, value] of reads) {
      const error = await child.call(name, method as string, ...args).catch((error) => error);
      expect(error).toBeInstanceOf(CapabilityError);
      expect(error.message).toContain(`MULTIPROC_SHARED_MEMORY=off`);
      expect(error.message.endsWith(`: use ${alternative}`)).toBe(true);
      const state: Record<string, unknown> = await child.call(object, "state");
      expect(state[alternative.split(").")[1] as string]).toBe(value);
    }
  });

  test("a wait rejects when the owner process is gone", async () => {
    const maker = await startRemoteChild({});
    const lock: Lock = await maker.call("make", "lock");
    const child = await startRemoteChild({ lock });
    await maker.call("lock", "acquire");
    const waiting = [lock.acquire(), child.call("lock", "acquire")].map((wait) => wait.catch((error) => error));
    await lock.state(); // its reply shows that the owner process has received the first request
    await maker.kill();
    for (const wait of waiting) expect(await wait).toBeInstanceOf(SyncClosedError);
    await expect(lock.acquire()).rejects.toThrow("the process that serves the object is gone");
  });
});
