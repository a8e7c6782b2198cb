import { fromModule } from "@multiproc/core";
import { Frame, handleOf, RobustMutex, type SharedSegment, whyNoSharedMemory } from "@multiproc/core/internal";
import { Process } from "@multiproc/process";
import { Queue } from "@multiproc/queue";
import { childrenOf, fixture, runProgram, until } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";
import { MpmcRing } from "../src/ring/mpmc-ring.ts";
import { TOO_LARGE_BYTES } from "./backends.ts";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
const { start, endChildren } = childrenOf((target, args) => new Process({ target, args }));

afterEach(endChildren);

function frameOf(bytes: Uint8Array, modules: string[] = []): Frame {
  return new Frame(0, bytes, 0, bytes.length, [], modules);
}

describe.skipIf(whyNoSharedMemory() !== undefined)("MpmcRing", () => {
  test("a ring returns all frames in order, also after it wraps many times", () => {
    const ring = MpmcRing.create(0);
    const waiting: Uint8Array[] = [];
    let seed = 1;
    const random = (below: number): number => (seed = (seed * 48271) % 0x7fffffff) % below;
    const frame = (bytes: Uint8Array): Frame => frameOf(bytes, bytes.length % 7 === 0 ? ["file:///module.js"] : []);
    const take = (found: Frame | undefined, expected: Uint8Array | undefined, i: number): void => {
      if (expected === undefined) return expect(found).toBeUndefined();
      // Comparing all bytes by expect() would take minutes.
      const bytes = found?.bytes.subarray(found.start, found.end);
      const isSame = bytes?.length === expected.length && bytes.every((byte, at) => byte === expected[at]);
      if (!isSame) expect.unreachable(`item ${i}`);
      expect(found?.modules.length).toBe(expected.length % 7 === 0 ? 1 : 0);
    };
    for (let i = 0; i < 5_000; i++) {
      const bytes = new Uint8Array(random(4) === 0 ? random(20_000) : random(100)).fill(i);
      const together = random(5) === 0 ? [bytes, bytes.subarray(1), bytes.subarray(2)] : [bytes];
      if (random(2) === 0 && ring.put(together.map(frame)) === "accepted") waiting.push(...together);
      else take(ring.take(), waiting.shift(), i);
      if (ring.size !== waiting.length || ring.isEmpty !== (waiting.length === 0))
        expect.unreachable(`${ring.size} items, not ${waiting.length}`);
    }
    expect(waiting.length).toBeGreaterThan(0);
    for (const [i, found] of ring.close().entries()) take(found, waiting[i], i);
  });

  test("put() reports why the ring does not accept a frame", () => {
    const ring = MpmcRing.create(2);
    const small = frameOf(new Uint8Array(10));
    const large = frameOf(new Uint8Array(TOO_LARGE_BYTES));
    expect([ring.fits(small), ring.fits(large), ring.put([large])]).toEqual([true, false, "no space"]);
    expect([ring.put([small]), ring.put([small]), ring.put([small])]).toEqual(["accepted", "accepted", "full"]);
    expect(ring.isFull).toBe(true);
    expect(ring.shutDown(true)).toBe(true);
    expect([ring.size, ring.put([small])]).toEqual([0, "shut down"]);
    expect(ring.close()).toEqual([]);
    expect([ring.put([small]), ring.shutDown(false)]).toEqual(["closed", false]);
  });

  test("a batch enters the ring as a whole or not at all", () => {
    const ring = MpmcRing.create(0);
    const batch = Array.from({ length: 60 }, () => frameOf(new Uint8Array(5_000)));
    expect([ring.put(batch), ring.size]).toEqual(["accepted", 60]);
    expect([ring.put(batch), ring.size]).toEqual(["no space", 60]);
    for (let i = 0; i < 15; i++) expect(ring.take()?.end).toBeDefined();
    expect([ring.put(batch), ring.size]).toEqual(["no space", 45]);
    for (let i = 0; i < 45; i++) ring.take();
    expect([ring.put(batch), ring.size]).toEqual(["accepted", 60]);
  });

  test("large parts and long bodies arrive intact and in order, also after their area wraps many times", () => {
    const ring = MpmcRing.create(0);
    const sizes = [70_000, 3_000_000, 1_000_001, 8 * 1024 ** 2 - 100, 65_537, 0];
    const frames = Array.from({ length: 40 }, (_, i) => {
      const body = new Uint8Array(i % 3 === 0 ? 20_000 : 5).fill(i);
      const parts = [0, 1].map((k) =>
        new Uint8Array(i % 6 === 3 ? 10 : (sizes[(i + k) % 6] as number) >> 1).fill(i + k),
      );
      return new Frame(0, body, 0, body.length, i % 5 === 0 ? [] : parts, i % 7 === 0 ? ["file:///module.js"] : []);
    });
    expect(ring.put([frames[1] as Frame])).toBe("no space");
    ring.addLargeArea();
    const check = (found: Frame, i: number): void => {
      const { parts, modules } = frames[i] as Frame;
      const all = [found.bytes.subarray(found.start, found.end), ...found.parts];
      expect(all.map(({ length }) => length)).toEqual([i % 3 === 0 ? 20_000 : 5, ...parts.map(({ length }) => length)]);
      for (const [k, part] of all.entries())
        if (!part.every((byte) => byte === (k === 0 ? i : i + k - 1))) expect.unreachable(`part ${k} of item ${i}`);
      expect(found.modules).toEqual(modules);
    };
    let taken = 0;
    for (const [i, frame] of frames.entries()) {
      while (ring.put([frame]) !== "accepted") check(ring.take() as Frame, taken++);
      expect(ring.size).toBe(i + 1 - taken);
    }
    for (const frame of ring.close()) check(frame, taken++);
    expect(taken).toBe(40);
  });

  test("a stopped producer delays other producers, and no consumer", () => {
    const ring = MpmcRing.create(0);
    const small = frameOf(new Uint8Array(10));
    ring.put([small, small]);
    const lock = new RobustMutex(ring.memory, 0, 0);
    lock.acquireSync();
    expect(ring.put([small])).toBe("busy");
    expect(ring.take()?.bytes.length).toBeGreaterThan(0);
    expect(ring.size).toBe(1);
    expect(ring.close().length).toBe(1);
    lock.release();
    expect([ring.put([small]), ring.take()]).toEqual(["closed", undefined]);
  });

  test("two consumers that have copied the same records take each record once", () => {
    const ring = MpmcRing.create(0);
    const other = new (MpmcRing as unknown as new (memory: SharedSegment) => MpmcRing)(ring.memory);
    const frames = Array.from({ length: 100 }, (_, i) => frameOf(new Uint8Array([i])));
    ring.put(frames);
    const seen: number[] = [];
    for (let i = 0; i < 150; i++) {
      const frame = (i % 3 === 0 ? ring : other).take();
      if (frame !== undefined) seen.push(frame.bytes[frame.start] as number);
    }
    expect(seen).toEqual(frames.map((_, i) => i));
  });
});

describe.skipIf(whyNoSharedMemory() !== undefined)("a queue in shared memory", () => {
  test.each([
    { size: 1_000_000, backend: "shared-memory" },
    { size: TOO_LARGE_BYTES, backend: "broker" },
  ])(
    "a queue enters shared memory when it is sent, and its backend is $backend after an item of $size bytes",
    async ({ size, backend }) => {
      const queue = new Queue<number | Uint8Array>();
      await queue.put(-1);
      expect(await queue.backend()).toBe("broker");
      const answers = new Queue<string>();
      await start(tasks.putMixed, queue, answers, size);
      expect(await answers.get()).toBe("shared-memory");
      expect(await queue.get()).toBe(-1);
      for (let i = 0; i < 100; i++) {
        const item = await queue.get({ timeout: 20_000 });
        if (i === 50) expect((item as Uint8Array).length).toBe(size);
        else expect(item).toBe(i);
      }
      expect(await queue.backend()).toBe(backend);
    },
  );

  test("a queue moves to the broker when more items are put than fit, and no process takes any", async () => {
    const queue = new Queue<string>();
    const text = "x".repeat(10_000);
    const child = await start(
      tasks.put,
      queue,
      Array.from({ length: 200 }, (_, i) => `${i} ${text}`),
    );
    expect(await child.join()).toBe(0);
    expect([queue.qsize(), await queue.backend()]).toEqual([200, "broker"]);
    for (let i = 0; i < 200; i++) expect(await queue.get()).toBe(`${i} ${text}`);
  });

  test("a queue is intact after producers and consumers were SIGKILLed at random moments", {
    timeout: 120_000,
  }, async () => {
    const queue = new Queue<[string, number]>(200);
    const next = new Map<string, number>();
    let isOver = false;
    const taking = (async () => {
      for await (const [name, i] of queue) {
        if (!(i >= (next.get(name) ?? 0))) throw new Error(`${name} put ${i} after ${next.get(name)}`);
        next.set(name, i + 1);
      }
    })();
    const replace = async (i: number, target: (...args: never[]) => unknown): Promise<void> => {
      for (let round = 0; !isOver; round++) {
        const name = `${i}.${round}`;
        const child = await start(target, queue, name);
        if (target === tasks.putNamed) await until(() => next.has(name), { timeout: 60_000 });
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
        child.kill();
        await child.join();
      }
    };
    const replacing = [replace(0, tasks.putNamed), replace(1, tasks.putNamed), replace(2, tasks.takeSome)];
    await until(() => next.size >= 16, { timeout: 100_000 });
    isOver = true;
    await Promise.all(replacing);
    expect(await queue.backend()).toBe("shared-memory");
    await queue.shutdown();
    await taking;
    expect(queue.qsize()).toBe(0);
  });

  test("a queue moves to the broker when it is sent to a process that must not map memory", {
    timeout: 60_000,
  }, async () => {
    const questions = new Queue<number>();
    const answers = new Queue<unknown>();
    const handles = [questions, answers].map((queue) => JSON.stringify(handleOf(queue).data));
    const waiting = answers.get();
    for (let i = 0; i < 10; i++) await questions.put(i);
    expect(await questions.backend()).toBe("shared-memory");
    await using program = runProgram(fixture(import.meta.url, "client-program.js"), handles, {
      host: "deno",
      execArgv: ["--allow-read", "--allow-write", "--allow-env", "--allow-net"],
    });
    expect(await waiting).toBe(0);
    for (let i = 1; i < 10; i++) expect(await answers.get()).toBe(i);
    expect(await questions.backend()).toBe("broker");
    await questions.shutdown();
    expect(await answers.get()).toBe("over");
    expect(await program.exited).toEqual({ code: 0, signal: null });
  });
});
