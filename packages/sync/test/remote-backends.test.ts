// Runs under every start method.
import process from "node:process";
import { CapabilityError } from "@multiproc/core";
import { Condition, Event, Lock, Semaphore, SyncClosedError } from "@multiproc/sync";
import { describe, expect, test } from "vitest";
import { contract } from "./contract/contract.ts";
import { kills } from "./contract/kills.ts";
import { startRemoteChild } from "./contract/remote-controlled-child.ts";

// Before anything looks: here, and in the children.
process.env.MULTIPROC_SHARED_MEMORY = "off";

describe("served by a home process", () => {
  contract("home");
  kills();

  test("what blocks the thread is refused, and says why", async () => {
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
    const condition = new Condition();
    await condition.acquire();
    expect(() => condition.waitSync()).toThrow(CapabilityError);
  });

  test("what is waited for ends when the home is gone, and says so", async () => {
    const maker = await startRemoteChild({});
    const lock: Lock = await maker.call("make", "lock");
    const child = await startRemoteChild({ lock });
    await maker.call("lock", "acquire");
    const waiting = [lock.acquire(), child.call("lock", "acquire")].map((wait) => wait.catch((error) => error));
    await lock.locked(); // answered after the home has seen the first
    await maker.kill();
    for (const wait of waiting) expect(await wait).toBeInstanceOf(SyncClosedError);
    await expect(lock.acquire()).rejects.toThrow("the process that serves it is gone");
  });
});
