import { whyNoSharedMemory } from "@multiproc/core/internal";
import { fixture, type Host, host, runProgram } from "@multiproc/testing";
import {
  Barrier,
  Condition,
  type Connection,
  Event,
  type Guard,
  Listener,
  Lock,
  Queue,
  RLock,
  Semaphore,
  ShareableList,
  SharedMemory,
  SharedValue,
} from "multiproc";
import { describe, expect, test } from "vitest";

const OTHER_HOST: Host = host === "node" ? "deno" : "node";
const ROUNDS = 2000;

describe.skipIf(whyNoSharedMemory() !== undefined)("a program on Node and one on Deno", () => {
  test("programs on Node and Deno share locks, memory and queues, and one outlives the other", {
    timeout: 60_000,
  }, async () => {
    const memory = new SharedMemory({ create: true, size: 4096 });
    const counts = new Int32Array(memory.buf.buffer, 0, 2);
    const shared = {
      lock: new Lock(),
      rlock: new RLock(),
      semaphore: new Semaphore(2),
      condition: new Condition(),
      event: new Event(),
      barrier: new Barrier(2),
      value: new SharedValue("float64", 0.5),
      list: new ShareableList(["there and there", 2n ** 40n]),
      memory,
      queue: new Queue<unknown>(),
    };
    const { lock, rlock, semaphore, condition, event, barrier, value, list, queue } = shared;
    await using listener = new Listener({ authKey: new TextEncoder().encode("secret") });
    const address = listener.address as string;
    await using program = runProgram(fixture(import.meta.url, "shares.js"), [address, "secret"], { host: OTHER_HOST });
    const connection: Connection = await listener.accept({ timeout: 30_000 });
    await connection.send(shared);

    await barrier.wait();
    for (let i = 0; i < ROUNDS; i++) {
      const held = (i % 2 === 0 ? await lock.acquire() : lock.acquireSync()) as Guard;
      counts[0] = (counts[0] as number) + 1;
      held.release();
    }
    for (let i = 0; i < ROUNDS; i++) {
      const held = (await value.lock.acquire()) as Guard;
      value.value += 1;
      held.release();
    }
    await barrier.wait();
    expect(counts[0]).toBe(2 * ROUNDS);
    expect(value.value).toBe(2 * ROUNDS + 0.5);

    expect(await connection.recv()).toBe("took a unit");
    expect(semaphore.getValue()).toBe(1);
    expect(rlock.tryAcquire()).toBe(null);
    await event.set();
    expect(await rlock.acquire({ timeout: 10_000 })).not.toBe(null);

    const held = (await condition.acquire()) as Guard;
    counts[1] = 1;
    await condition.notify();
    await held.release();
    expect(await queue.get({ timeout: 10_000 })).toBe(2n ** 40n);
    expect(list.get(0)).toBe("there");

    expect(await connection.recv()).toBe("has the lock");
    expect(lock.tryAcquire()).toBe(null);
    program.kill("SIGKILL");
    expect(await lock.acquire({ timeout: 10_000 })).toMatchObject({ previousOwnerDied: true });
    expect(semaphore.getValue()).toBe(2);
    connection.close();
  });
});
