import { readFileSync } from "node:fs";
import { fixture, noChildLeft, type Program, runProgram, until } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";
import { ACQUIRED, OWNER_DIED, RobustMutex, WOULD_BLOCK } from "../src/shm/robust-mutex.ts";
import { SharedSegment, whyNoSharedMemory } from "../src/shm/shared-memory-segment.ts";
import { currentThreadId, hasExited } from "../src/shm/thread-id.ts";
import { WaitQueue } from "../src/shm/wait-queue.ts";

const programs: Program[] = [];
const SEGMENT_BYTES = 8192;

function start(name: string, memory: SharedSegment, ...args: string[]): Program {
  const program = runProgram(fixture(import.meta.url, name), [JSON.stringify(memory.address()), ...args]);
  programs.push(program);
  return program;
}

afterEach(async () => {
  for (const program of programs.splice(0)) await program[Symbol.asyncDispose]();
  await noChildLeft();
});

describe.each(["shared", "local"] as const)("RobustMutex in %s memory", (kind) => {
  const isMissing = kind === "shared" && whyNoSharedMemory() !== undefined;
  const make = (): RobustMutex => {
    const memory = kind === "shared" ? SharedSegment.create(SEGMENT_BYTES) : SharedSegment.processLocal(SEGMENT_BYTES);
    return new RobustMutex(memory, 0, 64);
  };

  test.skipIf(isMissing)("only one owner has the mutex at a time", async () => {
    const lock = make();
    expect(lock.tryAcquire()).toBe(ACQUIRED);
    expect(lock.isOurs).toBe(true);
    expect(lock.tryAcquire()).toBe(WOULD_BLOCK);
    expect(await lock.acquire("acquire()", { timeout: 0 })).toBe(WOULD_BLOCK);
    expect(await lock.acquire("acquire()", { timeout: 10 })).toBe(WOULD_BLOCK);
    lock.release();
    expect(lock.isHeld).toBe(false);
    expect(await lock.acquire("acquire()", {})).toBe(ACQUIRED);
    lock.release();
  });

  test.skipIf(isMissing)("the waits of one process get the mutex in their order", async () => {
    const lock = make();
    lock.tryAcquire();
    const order: number[] = [];
    const all = [1, 2, 3, 4, 5].map(async (i) => {
      await lock.acquire("acquire()", {});
      order.push(i);
      await Promise.resolve();
      lock.release();
    });
    lock.release();
    await Promise.all(all);
    expect(order).toEqual([1, 2, 3, 4, 5]);
    expect(lock.tryAcquire()).toBe(ACQUIRED);
  });

  test.skipIf(isMissing)("an aborted wait loses its place, and other waits keep theirs", async () => {
    const lock = make();
    lock.tryAcquire();
    const controller = new AbortController();
    const reason = new Error("enough");
    const first = lock.acquire("acquire()", { signal: controller.signal });
    const second = lock.acquire("acquire()", {});
    await new Promise((resolve) => setTimeout(resolve, 10)); // long enough that it requests priority
    controller.abort(reason);
    await expect(first).rejects.toBe(reason);
    lock.release();
    expect(await second).toBe(ACQUIRED);
    lock.release();
    await expect(lock.acquire("acquire()", { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await expect(lock.acquire("acquire()", { timeout: -1 })).rejects.toThrow(RangeError);
  });
});

describe.skipIf(whyNoSharedMemory() !== undefined)("RobustMutex between processes", () => {
  test("no increment is lost when processes mix acquire() and acquireSync()", async () => {
    const memory = SharedSegment.create(SEGMENT_BYTES);
    const rounds = 250_000; // a million in all
    const kinds = ["sync", "async", "mixed", "mixed"];
    const all = kinds.map((kind) => start("counts-under-lock.js", memory, String(rounds), kind));
    for (const { exited } of all) expect(await exited).toEqual({ code: 0, signal: null });
    expect(new Float64Array(memory.buffer, SEGMENT_BYTES - 8)[0]).toBe(kinds.length * rounds);
  });

  test.each(["sync", "async"])(
    "a waiting thread gets the mutex of a killed owner, and learns that it died: %s",
    async (kind) => {
      const memory = SharedSegment.create(SEGMENT_BYTES);
      const lock = new RobustMutex(memory, 0, 64);
      const owner = start("takes-lock.js", memory, kind, "yes");
      await until(() => owner.stdout.includes("taken 1"));
      expect(lock.tryAcquire()).toBe(WOULD_BLOCK);
      const waiter = start("takes-lock.js", memory, kind, "no");
      await until(() => waiter.stdout.includes("ready"));
      owner.kill("SIGKILL");
      await waiter.exited;
      expect(waiter.stdout).toContain(`taken ${OWNER_DIED}`);
      expect(lock.tryAcquire()).toBe(ACQUIRED);
    },
  );

  test.each(["sync", "async"])("a waiting thread uses almost no CPU time: %s", async (kind) => {
    const memory = SharedSegment.create(SEGMENT_BYTES);
    const lock = new RobustMutex(memory, 0, 64);
    lock.tryAcquire();
    const waiter = start("takes-lock.js", memory, kind, "no");
    await until(() => waiter.stdout.includes("ready"));
    const sampleCpuTime = (): { at: number; used: number } => ({ at: performance.now(), used: cpuTimeMs(waiter.pid) });
    let first = sampleCpuTime();
    // Its start is over when it has used no CPU time for half a second.
    await until(() => {
      const now = sampleCpuTime();
      if (now.used - first.used > 10) first = now;
      return now.at - first.at > 500;
    });
    first = sampleCpuTime();
    await until(() => sampleCpuTime().at - first.at > 1000);
    const last = sampleCpuTime();
    expect((last.used - first.used) / (last.at - first.at)).toBeLessThan(0.05);
    lock.release();
    expect(await waiter.exited).toEqual({ code: 0, signal: null });
  });

  test("tryAcquire() notices that the owner has died", async () => {
    const memory = SharedSegment.create(SEGMENT_BYTES);
    const lock = new RobustMutex(memory, 0, 64);
    const owner = start("takes-lock.js", memory, "async", "yes");
    await until(() => owner.stdout.includes("taken 1"));
    owner.kill("SIGKILL");
    await until(() => lock.tryAcquire() === OWNER_DIED);
  });

  test("a live thread keeps its mutex, and a reused TID does not keep that of a dead one", () => {
    const memory = SharedSegment.create(SEGMENT_BYTES);
    const words = new Int32Array(memory.buffer);
    const lock = new RobustMutex(memory, 0, 0);
    // The id of process 1 with two start times: at least one of them is wrong, so its thread has
    // exited.
    words[0] = 1 | (1 << 22);
    const isRight = !hasExited(words[0]);
    words[0] = 1 | ((isRight ? 2 : 1) << 22);
    expect(hasExited(words[0])).toBe(true);
    expect(lock.tryAcquire()).toBe(OWNER_DIED);
    expect(lock.isOurs).toBe(true);
    expect(hasExited(currentThreadId().id)).toBe(false);
  });

  test("a waiting thread gets the mutex from a thread that locks it in a tight loop", async () => {
    const memory = SharedSegment.create(SEGMENT_BYTES);
    const lock = new RobustMutex(memory, 0, 64);
    const busy = start("counts-under-lock.js", memory, "1e9", "sync");
    await until(() => busy.stdout.includes("ready"));
    for (let i = 0; i < 20; i++) {
      expect(await lock.acquire("acquire()", { timeout: 5000 })).toBe(ACQUIRED);
      lock.release();
    }
  });
});

describe.skipIf(whyNoSharedMemory() !== undefined)("WaitQueue", () => {
  test.each(["sync", "async"])("wake() wakes waiting threads of other processes: %s", async (kind) => {
    const memory = SharedSegment.create(4096);
    const queue = new WaitQueue(memory, 16, 8);
    const words = new Int32Array(memory.buffer);
    const waiters = [1, 2, 3].map(() => start("waits-for-word.js", memory, kind));
    await until(() => waiters.every(({ stdout }) => stdout.includes("ready")));
    Atomics.store(words, 0, 2);
    queue.wake(2);
    await until(() => waiters.filter(({ stdout }) => stdout.includes("taken")).length === 2);
    expect(Atomics.load(words, 0)).toBe(0);
    waiters.find(({ stdout }) => !stdout.includes("taken"))?.kill("SIGKILL");
    // The slot of the killed process does not swallow wake-ups.
    for (let i = 0; i < 20; i++) {
      const wait = queue.wait(() => Atomics.load(words, 0) === 1, "wait()", {});
      Atomics.store(words, 0, 1);
      queue.wake(1);
      expect(await wait).toBe(true);
      Atomics.store(words, 0, 0);
    }
  });

  test("a thread without a slot finds a change by its own checks", async () => {
    const memory = SharedSegment.create(4096);
    const queue = new WaitQueue(memory, 16, 0);
    const words = new Int32Array(memory.buffer);
    const wait = queue.wait(() => Atomics.load(words, 0) === 1, "wait()", {});
    Atomics.store(words, 0, 1);
    queue.wake(1);
    expect(await wait).toBe(true);
  });
});

/** Returns the CPU time of a process in milliseconds. The system counts in steps of 10 ms. */
function cpuTimeMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
