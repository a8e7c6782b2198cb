// Runs under every start method.
import { fromModule, SendError } from "@multiproc/core";
import { pipe } from "@multiproc/pipe";
import { Process } from "@multiproc/process";
import {
  JoinableQueue,
  Queue,
  QueueClosedError,
  QueueEmptyError,
  QueueFullError,
  QueueShutDownError,
  SimpleQueue,
  TasksLostError,
} from "@multiproc/queue";
import { fixture, noChildLeft, until } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
const children: Process[] = [];

async function start(target: (...args: never[]) => unknown, ...args: unknown[]): Promise<Process> {
  const child = new Process({ target: target as never, args: args as never });
  await child.start();
  children.push(child);
  return child;
}

afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill();
    await child.join();
  }
  await noChildLeft();
});

describe("Queue at home", () => {
  test("items come out in the order in which they went in", async () => {
    const queue = new Queue<number>();
    for (let i = 0; i < 5000; i++) await queue.put(i);
    expect(await queue.qsize()).toBe(5000);
    for (let i = 0; i < 5000; i++) expect(await queue.get()).toBe(i);
    expect(await queue.empty()).toBe(true);
  });

  test("put() takes the item as it is at the call", async () => {
    const queue = new Queue<unknown>();
    const item = { list: [1] };
    const bytes = new Uint8Array(100_000).fill(1);
    await queue.put(item);
    await queue.put(bytes);
    item.list.push(2);
    bytes.fill(2);
    expect(await queue.get()).toEqual({ list: [1] });
    expect(((await queue.get()) as Uint8Array)[99_999]).toBe(1);
  });

  test("get() waits for an item; getNowait() and a time-out throw", async () => {
    const queue = new Queue<number>();
    const waiting = queue.get();
    await queue.put(1);
    expect(await waiting).toBe(1);
    await expect(queue.getNowait()).rejects.toThrow(QueueEmptyError);
    await expect(queue.get({ block: false })).rejects.toThrow(QueueEmptyError);
    await expect(queue.get({ timeout: 5 })).rejects.toThrow(QueueEmptyError);
    const reason = new Error("enough");
    await expect(queue.get({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    // Those who gave up take nothing away.
    const next = queue.get();
    await queue.put(2);
    expect(await next).toBe(2);
  });

  test("put() waits while the queue is full; putNowait() and a time-out throw, with the item", async () => {
    const queue = new Queue<string>(2);
    await queue.put("a");
    await queue.put("b");
    expect(await queue.full()).toBe(true);
    const error = await queue.putNowait("c").catch((error) => error);
    expect(error).toBeInstanceOf(QueueFullError);
    expect(error.item).toBe("c");
    await expect(queue.put("c", { timeout: 5 })).rejects.toThrow("at most 2 items");
    let isOver = false;
    const putting = queue.put("c").then(() => {
      isOver = true;
    });
    const controller = new AbortController();
    const aborted = queue.put("d", { signal: controller.signal });
    controller.abort(new Error("enough"));
    await expect(aborted).rejects.toThrow("enough");
    expect(isOver).toBe(false);
    expect(await queue.get()).toBe("a");
    await putting;
    expect([await queue.get(), await queue.get()]).toEqual(["b", "c"]);
    expect(await queue.empty()).toBe(true);
  });

  test("an item that cannot be sent is refused at the call", async () => {
    const queue = new Queue<unknown>();
    const error = await queue.put({ bad: () => {} }).catch((error) => error);
    expect(error).toBeInstanceOf(SendError);
    expect(error.path).toBe("item.bad");
    expect(await queue.empty()).toBe(true);
  });

  test("shutdown() lets what is there be taken, and ends those who wait", async () => {
    const queue = new Queue<number>(1);
    await queue.put(1);
    const putting = queue.put(2);
    await queue.shutdown();
    await expect(putting).rejects.toThrow(QueueShutDownError);
    await expect(queue.put(3)).rejects.toThrow(QueueShutDownError);
    expect(await queue.get()).toBe(1);
    await expect(queue.get()).rejects.toThrow(QueueShutDownError);
    await expect(queue.getNowait()).rejects.toThrow(QueueShutDownError);
    const other = new Queue<number>();
    const waiting = other.get();
    await other.shutdown();
    await expect(waiting).rejects.toThrow(QueueShutDownError);
    const third = new Queue<number>();
    await third.put(1);
    await third.shutdown({ immediate: true });
    await expect(third.get()).rejects.toThrow(QueueShutDownError);
  });

  test("for await ends when the queue is shut down and empty", async () => {
    const queue = new Queue<number>();
    for (const i of [1, 2, 3]) await queue.put(i);
    await queue.shutdown();
    const seen: number[] = [];
    for await (const i of queue) seen.push(i);
    expect(seen).toEqual([1, 2, 3]);
  });

  test("nothing works after close()", async () => {
    const queue = new Queue<number>();
    queue.close();
    queue.close();
    for (const use of [() => queue.put(1), () => queue.get(), () => queue.qsize(), () => queue.shutdown()]) {
      await expect(use()).rejects.toThrow(QueueClosedError);
    }
    expect(() => new Queue(-1)).toThrow(RangeError);
    expect(() => new Queue(1.5)).toThrow(RangeError);
  });

  test("JoinableQueue: join() waits for every taskDone()", async () => {
    const queue = new JoinableQueue<number>();
    await queue.join();
    await queue.put(1);
    await queue.put(2);
    let isOver = false;
    const joining = queue.join().then(() => {
      isOver = true;
    });
    await queue.get();
    await queue.taskDone();
    expect(isOver).toBe(false);
    await queue.taskDone();
    await joining;
    await expect(queue.taskDone()).rejects.toThrow(RangeError);
  });

  test("SimpleQueue", async () => {
    const queue = new SimpleQueue<number>();
    expect(await queue.empty()).toBe(true);
    await queue.put(1);
    expect(await queue.get()).toBe(1);
    queue.close();
    await expect(queue.get()).rejects.toThrow(QueueClosedError);
  });
});

describe("Queue between processes", () => {
  test("items come from a child in order, and every one", async () => {
    const queue = new Queue<number>();
    await start(tasks.produce, queue, 0, 10_000);
    for (let i = 0; i < 10_000; i++) expect(await queue.get()).toBe(i);
  });

  test("two producers, two consumers: each item once, each producer's order kept", async () => {
    const queue = new Queue<number>(100);
    const results = new Queue<number[]>();
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

  test("what put() resolved for is there after the producer was SIGKILLed", async () => {
    const queue = new Queue<{ i: number }>();
    const child = await start(tasks.putAndExit, queue, 1000);
    expect(await child.join()).toBe(-9);
    for (let i = 0; i < 1000; i++) expect((await queue.get()).i).toBe(i);
  });

  test("a process can be joined before its queue is drained", async () => {
    const queue = new Queue<string>();
    const child = await start(
      tasks.put,
      queue,
      Array.from({ length: 100 }, () => "x".repeat(100_000)),
    );
    expect(await child.join()).toBe(0);
    expect(await queue.qsize()).toBe(100);
  });

  test("a consumer that was SIGKILLed while it waited has lost nothing", async () => {
    const queue = new Queue<string>();
    const ready = new Queue<string>();
    const child = await start(tasks.waitForItem, queue, ready);
    await ready.get();
    child.kill();
    await child.join();
    await queue.put("for another");
    expect(await queue.get({ timeout: 5000 })).toBe("for another");
  });

  test("an item on its way to a consumer that is stopped and SIGKILLed goes to another", async () => {
    const queue = new Queue<string>();
    const ready = new Queue<string>();
    const child = await start(tasks.waitForItem, queue, ready);
    await ready.get();
    globalThis.process.kill(child.pid as number, "SIGSTOP");
    await queue.put("on its way");
    expect(await queue.qsize()).toBe(1); // it was sent, and not taken
    child.kill();
    await child.join();
    expect(await queue.get({ timeout: 5000 })).toBe("on its way");
  });

  test("the same errors in a child as at home", async () => {
    const queue = new Queue<string>(1);
    const results = new Queue<unknown[]>();
    await start(tasks.tryAll, queue, results);
    expect(await results.get()).toEqual([
      ["ok", undefined],
      ["QueueFullError", "ERR_QUEUE_FULL", "two"],
      ["QueueFullError", "ERR_QUEUE_FULL", "two"],
      ["ok", true],
      ["ok", 1],
      ["ok", "one"],
      ["QueueEmptyError", "ERR_QUEUE_EMPTY", undefined],
      ["QueueEmptyError", "ERR_QUEUE_EMPTY", undefined],
      ["ok", true],
      ["SendError", "ERR_SEND", undefined],
    ]);
  });

  test("when its home is gone, everyone who waits hears of it", async () => {
    const [here, there] = pipe<Queue<string>>();
    const child = await start(tasks.home, there);
    const queue = await here.recv();
    expect(await queue.get()).toBe("only");
    const waits = [queue.get(), queue.put("a").then(() => queue.put("b"))];
    const settled = Promise.allSettled(waits);
    await until(async () => (await queue.qsize()) >= 0);
    child.kill();
    for (const result of await settled) {
      if (result.status === "rejected") expect(result.reason).toBeInstanceOf(QueueClosedError);
    }
    await child.join();
    await expect(queue.get()).rejects.toThrow(QueueClosedError);
    await expect(queue.put("c")).rejects.toThrow(QueueClosedError);
  });

  test("queues travel through queues, nested in values", async () => {
    const outer = new Queue<{ inner: Queue<string> }>();
    const inner = new Queue<string>();
    await start(tasks.fillFromNested, outer);
    await outer.put({ inner });
    expect(await inner.get()).toBe("through the nested queue");
  });

  test("JoinableQueue: workers in other processes", async () => {
    const queue = new JoinableQueue<number>();
    await Promise.all([start(tasks.work, queue), start(tasks.work, queue)]);
    for (let i = 0; i < 100; i++) await queue.put(i);
    await queue.join();
    expect(await queue.empty()).toBe(true);
    await queue.shutdown();
  });

  test("JoinableQueue: join() says who ended with tasks not done", async () => {
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

  test("a 100 MiB item", async () => {
    const queue = new Queue<Uint8Array>();
    const results = new Queue<Uint8Array>();
    await start(tasks.getOne, queue, results);
    const bytes = new Uint8Array(100 * 1024 * 1024).fill(3);
    await queue.put(bytes);
    const back = await results.get();
    expect(back.length).toBe(bytes.length);
    expect(back[back.length - 1]).toBe(3);
  });
});

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}
