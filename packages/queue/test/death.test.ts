import { fromModule } from "@multiproc/core";
import { pipe } from "@multiproc/pipe";
import { Process } from "@multiproc/process";
import { JoinableQueue, Queue, QueueClosedError, TasksLostError } from "@multiproc/queue";
import { childrenOf, fixture, until } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";
import { inBroker } from "./backends.ts";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
const { start, endChildren } = childrenOf((target, args) => new Process({ target, args }));

function signal(child: Process, name: "SIGSTOP" | "SIGCONT"): void {
  globalThis.process.kill(child.pid as number, name);
}

afterEach(endChildren);

const backends = [
  { backend: "shared-memory", placed: async <T>(queue: Queue<T>): Promise<Queue<T>> => queue },
  { backend: "broker", placed: inBroker },
];

describe.each(backends)("a producer dies, items in $backend", ({ placed }) => {
  test.each([0, 2000])(
    "items whose put() resolved survive a SIGKILL of the producer, with maxSize %i",
    async (size) => {
      const queue = await placed(new Queue<{ i: number }>(size));
      const child = await start(tasks.putAndExit, queue, 1000);
      expect(await child.join()).toBe(-9);
      for (let i = 0; i < 1000; i++) expect((await queue.get()).i).toBe(i);
      expect(queue.empty()).toBe(true);
    },
  );

  test("a producer that dies while it puts small items leaves the first ones, in order", async () => {
    const queue = await placed(new Queue<[string, number, string] | null>());
    const child = await start(tasks.putNamed, queue, "one");
    expect((await queue.get())?.[1]).toBe(0);
    child.kill();
    await child.join();
    await queue.put(null);
    for (let i = 1; ; i++) {
      const item = await queue.get({ timeout: 20_000 });
      if (item === null) break;
      expect(item).toEqual(["one", i, "x".repeat(i % 300)]);
    }
    expect(queue.empty()).toBe(true);
  });

  test.each([1, 32])("a producer that dies in the middle of a put of %i MiB corrupts nothing", async (size) => {
    const queue = await placed(new Queue<Uint8Array | string>());
    const ready = new Queue<string>();
    const child = await start(tasks.putForever, queue, ready, size * 1024 * 1024);
    await ready.get();
    child.kill();
    await child.join();
    await queue.put("after");
    while (true) {
      const item = await queue.get({ timeout: 20_000 });
      if (item === "after") break;
      expect((item as Uint8Array).length).toBe(size * 1024 * 1024);
      expect((item as Uint8Array).at(-1)).toBe(7);
    }
    expect(queue.empty()).toBe(true);
  });
});

describe.each(backends)("a consumer dies, items in $backend", ({ placed }) => {
  test("a consumer that is SIGKILLed while it waits loses nothing", async () => {
    const queue = await placed(new Queue<string>());
    const ready = new Queue<string>();
    const child = await start(tasks.waitForItem, queue, ready);
    await ready.get();
    child.kill();
    await child.join();
    await queue.put("for another");
    expect(await queue.get({ timeout: 5000 })).toBe("for another");
  });

  test("an item in flight to a consumer that is stopped and SIGKILLed is requeued", async () => {
    const queue = await placed(new Queue<string>());
    const ready = new Queue<string>();
    const child = await start(tasks.waitForItem, queue, ready);
    await ready.get();
    globalThis.process.kill(child.pid as number, "SIGSTOP");
    await queue.put("on its way");
    expect(queue.qsize()).toBe(1); // the item is in flight
    child.kill();
    await child.join();
    expect(await queue.get({ timeout: 5000 })).toBe("on its way");
  });

  test("prefetched items of a consumer that is SIGKILLed are requeued in order", async () => {
    const queue = await placed(new Queue<number>());
    const taken = new Queue<number[]>();
    for (let i = 0; i < 3000; i++) await queue.put(i);
    const child = await start(tasks.takeAndIdle, queue, taken, 500);
    expect((await taken.get()).length).toBe(500);
    child.kill();
    await child.join();
    for (let i = 500; i < 3000; i++) expect(await queue.get({ timeout: 5000 })).toBe(i);
  });

  test("a stopped consumer does not delay others, and its prefetched items are requeued when it dies", async () => {
    const queue = await placed(new Queue<number>());
    const taken = new Queue<number[]>();
    for (let i = 0; i < 3000; i++) await queue.put(i);
    const child = await start(tasks.takeAndIdle, queue, taken, 500);
    await taken.get();
    signal(child, "SIGSTOP");
    const seen = [await queue.get({ timeout: 10_000 })];
    child.kill();
    await child.join();
    while (seen.length < 2500) seen.push(await queue.get({ timeout: 5000 }));
    expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: 2500 }, (_, i) => 500 + i));
  });
});

describe("a consumer of a JoinableQueue dies", () => {
  test("join() names the process that ended with unfinished tasks", async () => {
    const queue = new JoinableQueue<string>();
    const ready = new Queue<string>();
    const child = await start(tasks.takeAndHang, queue, ready);
    await queue.put("a task");
    await ready.get();
    const joining = queue.join().catch((error) => error);
    child.kill();
    const error = await joining;
    expect(error).toBeInstanceOf(TasksLostError);
    expect(error).toMatchObject({ pid: child.pid, count: 1 });
  });

  test("the next join() reports a loss that happened while no join() waited", async () => {
    const queue = new JoinableQueue<string>();
    const ready = new Queue<string>();
    const child = await start(tasks.takeAndHang, queue, ready);
    await queue.put("a task");
    await ready.get();
    child.kill();
    await child.join();
    await expect(queue.join()).rejects.toThrow(TasksLostError);
    await queue.join();
  });

  test('a queue with lostTasks: "requeue" requeues lost tasks', async () => {
    const queue = new JoinableQueue<string>(0, { lostTasks: "requeue" });
    const ready = new Queue<string>();
    for (const item of ["first", "second"]) await queue.put(item);
    const child = await start(tasks.takeAndHang, queue, ready);
    expect(await ready.get()).toBe("first");
    await queue.shutdown();
    expect(await queue.get()).toBe("second");
    await queue.taskDone();
    const joining = queue.join();
    const next = queue.get({ timeout: 10_000 });
    child.kill();
    expect(await next).toBe("first");
    await queue.taskDone();
    await joining;
  });

  test("a loss rejects every join() in every process", async () => {
    const queue = new JoinableQueue<string>();
    const [ready, results] = [new Queue<string>(), new Queue<unknown>()];
    await queue.put("a task");
    const child = await start(tasks.takeAndHang, queue, ready);
    await ready.get();
    for (let i = 0; i < 2; i++) await start(tasks.joinJobs, queue, ready, results);
    for (let i = 0; i < 2; i++) await ready.get();
    child.kill();
    for (let i = 0; i < 2; i++) expect(await results.get()).toEqual(["TasksLostError", child.pid, 1]);
    await queue.join(); // the loss was reported
  });

  test("every task is done although workers are SIGKILLed at random moments", {
    timeout: 120_000,
  }, async () => {
    const jobs = new JoinableQueue<number>(0, { lostTasks: "requeue" });
    const results = new Queue<number>();
    const seen = new Set<number>();
    const seeing = (async () => {
      for await (const job of results) seen.add(job);
    })();
    for (let i = 0; i < 2000; i++) await jobs.put(i);
    for (let round = 0; round < 4; round++) {
      const before = seen.size;
      const [victim] = await Promise.all([start(tasks.doJobs, jobs, results), start(tasks.doJobs, jobs, results)]);
      await until(() => seen.size > before + 50 || seen.size === 2000, { timeout: 30_000 });
      victim?.kill();
      await victim?.join();
    }
    await jobs.join({ timeout: 60_000 });
    await jobs.shutdown();
    await until(() => seen.size === 2000);
    expect([...seen].sort((a, b) => a - b)).toEqual(Array.from({ length: 2000 }, (_, i) => i));
    expect(jobs.qsize()).toBe(0);
    await results.shutdown({ immediate: true });
    await seeing;
  });
});

describe("the owner process dies", () => {
  test("every wait in another process rejects, and the error names the owner", async () => {
    const [here, there] = pipe<{ queue: Queue<string>; tasks: JoinableQueue<string> }>();
    const child = await start(tasks.ownQueues, there);
    const { queue, tasks: jobs } = await here.recv();
    const waits = [queue.put("no room"), jobs.join(), new Queue<string>().get({ timeout: 1 }).catch(() => jobs.get())];
    const settled = Promise.allSettled(waits);
    expect((await queue.state()).size).toBe(1);
    child.kill();
    for (const result of await settled) {
      expect(result.status).toBe("rejected");
      const { reason } = result as PromiseRejectedResult;
      expect(reason).toBeInstanceOf(QueueClosedError);
      expect(reason.message).toContain(`process ${child.pid}`);
    }
    await child.join();
    for (const use of [() => queue.get(), () => queue.put("late"), () => queue.state(), () => jobs.taskDone()])
      await expect(use()).rejects.toThrow(QueueClosedError);
  });

  test.each(backends)("every wait in any process rejects, items in $backend", async ({ backend }) => {
    const [here, there] = pipe<object>();
    const [ready, results] = [new Queue<string>(), new Queue<[string, string][]>()];
    const owner = await start(tasks.keepAll, there, backend === "broker");
    const queues = await here.recv();
    for (let i = 0; i < 3; i++) await start(tasks.waitForAll, queues, ready, results);
    for (let i = 0; i < 3; i++) await ready.get();
    owner.kill();
    for (let i = 0; i < 3; i++) {
      const ends = await results.get({ timeout: 20_000 });
      expect(ends.length).toBe(6);
      for (const end of ends)
        expect(end).toEqual(["QueueClosedError", expect.stringContaining(`process ${owner.pid}`)]);
    }
    here.close();
  });

  test("the first call on a queue that was never used rejects, too", async () => {
    const [here, there] = pipe<{ queue: Queue<string> }>();
    const child = await start(tasks.ownQueues, there);
    const { queue } = await here.recv();
    child.kill();
    await child.join();
    await expect(queue.put("late")).rejects.toThrow(`process ${child.pid}`);
    await expect(queue.get()).rejects.toThrow(QueueClosedError);
  });
});
