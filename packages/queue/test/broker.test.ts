import { SendError, TimeoutError } from "@multiproc/core";
import {
  JoinableQueue,
  Queue,
  QueueClosedError,
  QueueEmptyError,
  QueueFullError,
  QueueShutDownError,
  SimpleQueue,
} from "@multiproc/queue";
import { describe, expect, test } from "vitest";

describe("a queue in its owner process", () => {
  test("items come out in the order in which they went in", async () => {
    const queue = new Queue<number>();
    for (let i = 0; i < 5000; i++) await queue.put(i);
    expect(queue.qsize()).toBe(5000);
    for (let i = 0; i < 5000; i++) expect(await queue.get()).toBe(i);
    expect(queue.empty()).toBe(true);
  });

  test("put() encodes the item at the call, so a later change has no effect", async () => {
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

  test("get() waits for an item; getNowait() and a timeout reject on an empty queue", async () => {
    const queue = new Queue<number>();
    const waiting = queue.get();
    await queue.put(1);
    expect(await waiting).toBe(1);
    await expect(queue.getNowait()).rejects.toThrow(QueueEmptyError);
    await expect(queue.get({ block: false })).rejects.toThrow(QueueEmptyError);
    await expect(queue.get({ timeout: 5 })).rejects.toThrow(QueueEmptyError);
    const reason = new Error("enough");
    await expect(queue.get({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    // A wait that has ended takes no item.
    const next = queue.get();
    await queue.put(2);
    expect(await next).toBe(2);
  });

  test("put() waits while the queue is full; putNowait() and a timeout reject with the item", async () => {
    const queue = new Queue<string>(2);
    await queue.put("a");
    await queue.put("b");
    expect(queue.full()).toBe(true);
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
    expect(queue.empty()).toBe(true);
  });

  test("put() rejects an item that cannot be sent", async () => {
    const queue = new Queue<unknown>();
    const error = await queue.put({ bad: () => {} }).catch((error) => error);
    expect(error).toBeInstanceOf(SendError);
    expect(error.path).toBe("item.bad");
    expect(queue.empty()).toBe(true);
  });

  test("shutdown() ends all waits, and the remaining items can still be taken", async () => {
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

  test("shutdown({ immediate: true }) drops the items, and tasks among them count as done", async () => {
    const queue = new JoinableQueue<number>();
    for (const i of [1, 2, 3]) await queue.put(i);
    await queue.get();
    await queue.shutdown({ immediate: true });
    expect(queue.qsize()).toBe(0);
    await expect(queue.get()).rejects.toThrow(QueueShutDownError);
    await expect(queue.join({ timeout: 5 })).rejects.toThrow(TimeoutError);
    await queue.taskDone();
    await queue.join();
  });

  test("close() ends the waits in this process", async () => {
    const queue = new JoinableQueue<number>(1);
    const getting = queue.get();
    queue.close();
    await expect(getting).rejects.toThrow(QueueClosedError);
    const full = new JoinableQueue<number>(1);
    await full.put(1);
    const waits = [full.put(2), full.join()];
    full.close();
    for (const wait of waits) await expect(wait).rejects.toThrow(QueueClosedError);
  });

  test("waiting calls of get() are served in order", async () => {
    const queue = new Queue<number>();
    const waits = Array.from({ length: 500 }, () => queue.get());
    for (let i = 0; i < 500; i++) await queue.put(i);
    expect(await Promise.all(waits)).toEqual(Array.from({ length: 500 }, (_, i) => i));
  });

  test("a queue holds 100,000 items", async () => {
    const queue = new Queue<{ i: number }>();
    for (let i = 0; i < 100_000; i++) await queue.put({ i });
    expect(queue.qsize()).toBe(100_000);
    for (let i = 0; i < 100_000; i++) if ((await queue.get()).i !== i) expect.unreachable(`item ${i}`);
    expect(queue.empty()).toBe(true);
  });

  test("for await ends when the queue is shut down and empty", async () => {
    const queue = new Queue<number>();
    for (const i of [1, 2, 3]) await queue.put(i);
    await queue.shutdown();
    const seen: number[] = [];
    for await (const i of queue) seen.push(i);
    expect(seen).toEqual([1, 2, 3]);
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

  test("SimpleQueue puts and gets items", async () => {
    const queue = new SimpleQueue<number>();
    expect(queue.empty()).toBe(true);
    await queue.put(1);
    expect(await queue.get()).toBe(1);
    queue.close();
    await expect(queue.get()).rejects.toThrow(QueueClosedError);
  });
});
