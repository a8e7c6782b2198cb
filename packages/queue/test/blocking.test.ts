// Runs under every start method.
import { CapabilityError, fromModule } from "@multiproc/core";
import { whyNoSharedMemory } from "@multiproc/core/internal";
import { type Connection, pipe } from "@multiproc/pipe";
import { Process } from "@multiproc/process";
import { JoinableQueue, Queue, QueueEmptyError, QueueFullError, QueueShutDownError } from "@multiproc/queue";
import { childrenOf, fixture } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";

const tasks = fromModule<typeof import("./fixtures/blocking-tasks.js")>(fixture(import.meta.url, "blocking-tasks.js"));
const { strange } = fromModule<typeof import("./fixtures/strange.js")>(fixture(import.meta.url, "strange.js"));
const { start, endChildren } = childrenOf((target, args) => new Process({ target, args }));

afterEach(endChildren);

describe.skipIf(whyNoSharedMemory() !== undefined)("getSync() and putSync()", () => {
  test("getSync() and putSync() block a child from its first line on", async () => {
    const questions = new Queue<unknown>();
    const answers = new Queue<unknown>();
    const child = await start(tasks.double, questions, answers);
    for (let i = 0; i < 2000; i++) await questions.put(i);
    for (let i = 0; i < 2000; i++) expect(await answers.get()).toBe(2 * i);
    await questions.put(null);
    expect(await child.join()).toBe(0);
  });

  test("getSync() and putSync() block the owner process while a child answers without it", async () => {
    const questions = new Queue<unknown>();
    const answers = new Queue<unknown>(1);
    const child = await start(tasks.double, questions, answers);
    const bytes = new Uint8Array(1_000_000).fill(7);
    for (let i = 0; i < 500; i++) {
      questions.putSync(i);
      expect(answers.getSync()).toBe(2 * i);
    }
    // This process has allocated the large-payload area before it blocks.
    questions.putSync(bytes);
    const answer = (await answers.get()) as Uint8Array;
    // Comparing the bytes by expect() would take seconds.
    expect([answer.length, answer.every((byte) => byte === 7)]).toEqual([1_000_000, true]);
    questions.putSync(null);
    expect(await child.join()).toBe(0);
  });

  test("getSync() and putSync() end by their timeout, and their errors name the call", async () => {
    const queue = new Queue<unknown>(1);
    const results = new Queue<unknown[]>();
    await start(tasks.tryAll, queue, results);
    expect(await results.get()).toEqual([
      ["ok", undefined],
      ["QueueFullError", "putSync() found the queue full: it holds at most 1 item"],
      ["QueueFullError", "putSync() found the queue full: it holds at most 1 item"],
      ["ok", "one"],
      ["QueueEmptyError", "getSync() found the queue empty"],
      ["QueueEmptyError", "getSync() found the queue empty"],
      ["RangeError", "getSync() takes a timeout of 0 or more milliseconds, not -1"],
      ["SendError", expect.stringContaining("item")],
    ]);
  });

  test("a blocked getSync() ends when the queue is shut down, and when the owner process dies", async () => {
    const queue = new Queue();
    const results = new Queue<unknown>();
    await start(tasks.block, queue, results);
    expect(await results.get()).toBe("blocks");
    await queue.shutdown();
    expect(await results.get()).toEqual(["QueueShutDownError", "getSync() found the queue shut down"]);

    const [here, there] = pipe<Queue>();
    const owner = await start(tasks.keepOne, there);
    const foreign = await (here as Connection<Queue>).recv();
    await start(tasks.block, foreign, results);
    expect(await results.get()).toBe("blocks");
    owner.kill();
    expect(await results.get()).toEqual(["QueueClosedError", expect.stringContaining(`process ${owner.pid}`)]);
    here.close();
  });

  test("a consumer that is killed during getSync() loses nothing", async () => {
    const queue = new Queue<string>();
    const results = new Queue<unknown>();
    const child = await start(tasks.block, queue, results);
    expect(await results.get()).toBe("blocks");
    child.kill();
    await child.join();
    queue.putSync("still there");
    expect(queue.getSync({ block: false })).toBe("still there");
  });

  test("getSync() leaves an item in the queue whose module is not loaded, and get() loads it", async () => {
    const queue = new Queue<unknown>();
    const results = new Queue<unknown>();
    await queue.put(strange);
    await start(tasks.takeStrange, queue, results);
    expect(await results.get()).toEqual([["CapabilityError", expect.stringContaining("strange.js")], "function"]);
  });
});

test("getSync() and putSync() on a broker do what needs no wait, and refuse the rest", async () => {
  for (const queue of [new Queue<number>(1), new JoinableQueue<number>(1)]) {
    queue.putSync(1);
    expect(() => queue.putSync(2, { block: false })).toThrow(QueueFullError);
    expect(() => queue.putSync(2)).toThrow(CapabilityError);
    expect(queue.getSync()).toBe(1);
    expect(() => queue.getSync({ timeout: 0 })).toThrow(QueueEmptyError);
    expect(() => queue.getSync()).toThrow("getSync() can block only while the items are in shared memory");
    await queue.shutdown();
    expect(() => queue.getSync()).toThrow(QueueShutDownError);
    expect(() => queue.putSync(1)).toThrow(QueueShutDownError);
    queue.close();
    expect(() => queue.getSync()).toThrow("close()");
  }
});
