// Runs under every start method.
import { fromModule } from "@multiproc/core";
import { Process } from "@multiproc/process";
import { JoinableQueue, Queue, SimpleQueue } from "@multiproc/queue";
import { childrenOf, fixture, runProgram } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";
import { inBroker } from "./backends.ts";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
const { start, endChildren } = childrenOf((target, args) => new Process({ target, args }));

afterEach(endChildren);

/** Each backend, with the function that moves the items of a new queue there. */
const backends = [
  { backend: "shared-memory", placed: async <T>(queue: Queue<T>): Promise<Queue<T>> => queue },
  { backend: "broker", placed: inBroker },
];

describe.each(backends)("a queue between processes, items in $backend", ({ backend, placed }) => {
  test("all items of a child arrive in order", async () => {
    const queue = await placed(new Queue<number>());
    await start(tasks.produce, queue, 0, 10_000);
    for (let i = 0; i < 10_000; i++) expect(await queue.get()).toBe(i);
  });

  test("two consumers get each item of two producers once, in the order of each producer", async () => {
    const queue = await placed(new Queue<number>(100));
    const results = await placed(new Queue<number[]>());
    await Promise.all([start(tasks.consume, queue, results), start(tasks.consume, queue, results)]);
    const producers = await Promise.all([
      start(tasks.produce, queue, 0, 3000),
      start(tasks.produce, queue, 10_000, 13_000),
    ]);
    for (const producer of producers) await producer.join();
    await queue.shutdown();
    const seen = [await results.get(), await results.get()];
    expect(seen.flat().sort((a, b) => a - b)).toEqual([...range(0, 3000), ...range(10_000, 13_000)]);
    for (const list of seen) {
      for (const own of [list.filter((i) => i < 10_000), list.filter((i) => i >= 10_000)]) {
        expect(own).toEqual([...own].sort((a, b) => a - b));
      }
    }
  });

  test("a process can be joined before its queue is drained", async () => {
    const queue = await placed(new Queue<string>());
    const child = await start(
      tasks.put,
      queue,
      Array.from({ length: 100 }, () => "x".repeat(100_000)),
    );
    expect(await child.join()).toBe(0);
    expect(queue.qsize()).toBe(100);
  });

  test("a child gets the same errors as the owner process", async () => {
    const queue = await placed(new Queue<string>(1));
    const results = await placed(new Queue<unknown[]>());
    await start(tasks.tryAll, queue, results);
    expect(await results.get()).toEqual([
      ["ok", undefined],
      ["QueueFullError", "ERR_QUEUE_FULL", "two"],
      ["QueueFullError", "ERR_QUEUE_FULL", "two"],
      ["ok", { size: 1, maxSize: 1, isEmpty: false, isFull: true }],
      ["ok", "one"],
      ["QueueEmptyError", "ERR_QUEUE_EMPTY", undefined],
      ["QueueEmptyError", "ERR_QUEUE_EMPTY", undefined],
      ["ok", { size: 0, maxSize: 1, isEmpty: true, isFull: false }],
      ["SendError", "ERR_SEND", undefined],
    ]);
  });

  test("a child reads a queue at once where the items are in shared memory, and everywhere by state()", async () => {
    const queue = await placed(new Queue<string>(1));
    const results = await placed(new Queue<unknown>());
    await queue.put("item");
    await start(tasks.readState, queue, results);
    const refused = ["CapabilityError", expect.stringContaining(`process ${globalThis.process.pid}`)];
    expect(await results.get()).toEqual([
      ...(backend === "shared-memory"
        ? [
            ["ok", 1],
            ["ok", false],
            ["ok", true],
          ]
        : [refused, refused, refused]),
      ["ok", { size: 1, maxSize: 1, isEmpty: false, isFull: true }],
    ]);
  });

  test("a SimpleQueue is sent through a queue", async () => {
    const replyQueues = await placed(new Queue<SimpleQueue<string>>());
    await start(tasks.answerReplyQueues, replyQueues);
    for (let i = 0; i < 3; i++) {
      const answers = new SimpleQueue<string>();
      await replyQueues.put(answers);
      expect(await answers.get()).toBe("an answer");
      answers.close();
    }
  });

  test("an idle consumer returns its prefetched items in order", async () => {
    const queue = await placed(new Queue<number>());
    const taken = await placed(new Queue<number[]>());
    for (let i = 0; i < 3000; i++) await queue.put(i);
    await start(tasks.takeAndIdle, queue, taken, 500);
    expect(await taken.get()).toEqual(range(0, 500));
    expect(queue.qsize()).toBe(2500);
    for (let i = 500; i < 3000; i++) expect(await queue.get({ timeout: 5000 })).toBe(i);
  });

  test("all items that were put before a shutdown arrive, and none after", async () => {
    const queue = await placed(new Queue<number>());
    const counts = await placed(new Queue<number>());
    await Promise.all([start(tasks.putUntilShutDown, queue, counts), start(tasks.putUntilShutDown, queue, counts)]);
    let seen = 0;
    for await (const _ of queue) if (++seen === 200) await queue.shutdown();
    expect((await counts.get()) + (await counts.get())).toBe(seen);
  });

  test("a queue is sent through a queue, nested in a value", async () => {
    const outer = await placed(new Queue<{ inner: Queue<string> }>());
    const inner = await placed(new Queue<string>());
    await start(tasks.fillFromNested, outer);
    await outer.put({ inner });
    expect(await inner.get()).toBe("through the nested queue");
  });

  test("a consumer that cancels a wait or closes the queue takes no item, and others can still use it", async () => {
    const queue = await placed(new Queue<string>());
    const results = await placed(new Queue<string[]>());
    await start(tasks.giveUp, queue, results);
    expect(await results.get()).toEqual(["RangeError", "QueueClosedError", "QueueClosedError", "QueueClosedError"]);
    await queue.put("still used");
    expect([queue.qsize(), await queue.get()]).toEqual([1, "still used"]);
  });

  test("an item that was taken just before close() is not delivered again", async () => {
    const queues = await Promise.all(range(0, 12).map(() => placed(new Queue<number>())));
    const results = await placed(new Queue<number[][]>());
    for (const queue of queues) for (let i = 0; i < 20; i++) await queue.put(i);
    await start(tasks.takeAndClose, queues, results);
    expect(await results.get()).toEqual(queues.map((_, i) => range(0, i + 1)));
    for (const [taken, queue] of queues.entries()) {
      for (let i = taken + 1; i < 20; i++) expect(await queue.get({ timeout: 5000 })).toBe(i);
      expect(queue.empty()).toBe(true);
    }
  });

  test("join() waits for the workers of a JoinableQueue in other processes", async () => {
    const queue = new JoinableQueue<number>();
    await Promise.all([start(tasks.work, queue), start(tasks.work, queue)]);
    for (let i = 0; i < 100; i++) await queue.put(i);
    await queue.join();
    expect(queue.empty()).toBe(true);
    await queue.shutdown();
  });
});

test("join() resolves in several processes when all tasks are done, and an excess taskDone() rejects", async () => {
  const jobs = new JoinableQueue<number>();
  const [ready, results] = [new Queue<string>(), new Queue<unknown>()];
  await jobs.put(1);
  await Promise.all([start(tasks.joinJobs, jobs, ready, results), start(tasks.joinJobs, jobs, ready, results)]);
  for (let i = 0; i < 2; i++) await ready.get();
  const joining = jobs.join();
  expect(results.empty()).toBe(true);
  await jobs.get();
  await jobs.taskDone();
  await joining;
  for (let i = 0; i < 2; i++) expect(await results.get()).toBe("done");
  await jobs.put(2);
  await start(tasks.doneTooOften, jobs, results);
  expect(await results.get()).toEqual(["RangeError", "taskDone() was called more often than items were put"]);
});

test("a program stays alive while it waits for the work of a daemonic child", async () => {
  await using program = runProgram(fixture(import.meta.url, "daemonic-consumer.js"));
  expect(await program.exited).toEqual({ code: 0, signal: null });
  expect(program.stdout).toBe("42\n");
});

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}
