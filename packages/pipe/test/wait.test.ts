// Runs under every start method.
import { fromModule } from "@multiproc/core";
import { connect, Listener, pipe, wait } from "@multiproc/pipe";
import { Process } from "@multiproc/process";
import { fixture, noChildLeft } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));

afterEach(noChildLeft);

describe("wait()", () => {
  test("wait() returns all ready objects at once, in order", async () => {
    const pipes = [pipe<number>(), pipe<number>(), pipe<number>()] as const;
    const ends = pipes.map(([, end]) => end);
    await pipes[2][0].send(1);
    pipes[0][0].close();
    expect(await wait(ends)).toEqual([ends[0], ends[2]]);
    expect(await ends[2]?.recv()).toBe(1);
  });

  test("wait() ends with its timeout and its signal, and a timeout of 0 returns at once", async () => {
    const [a, b] = pipe<number>();
    expect(await wait([b], { timeout: 0 })).toEqual([]);
    expect(await wait([b], { timeout: 5 })).toEqual([]);
    expect(await wait([], { timeout: 5 })).toEqual([]);
    await expect(wait([b], { signal: AbortSignal.timeout(5) })).rejects.toThrow();
    await expect(wait([b], { timeout: -1 })).rejects.toThrow(RangeError);
    const waiting = wait([b]);
    await a.send(1);
    expect(await waiting).toEqual([b]);
    expect(await wait([b], { timeout: 0 })).toEqual([b]);
  });

  test("two processes that share an end are both woken from poll(), though neither has called recv()", async () => {
    const [sender, shared] = pipe<number>();
    const [ready, readySender] = pipe<boolean>();
    const [results, resultSender] = pipe<boolean>();
    const children = [1, 2].map(
      () => new Process({ target: tasks.pollFirst, args: [shared, readySender, resultSender] }),
    );
    for (const child of children) await child.start();
    for (const _ of children) await ready.recv();
    for (const _ of children) await sender.send(1);
    expect([await results.recv(), await results.recv()]).toEqual([true, true]);
    for (const child of children) expect(await child.join()).toBe(0);
  });

  test("wait() takes no message, and does not end for a message that another call took", async () => {
    const [a, b] = pipe<number>();
    const taken = b.recv();
    const waiting = wait([b]);
    await a.send(1);
    expect(await taken).toBe(1);
    await a.send(2);
    expect(await waiting).toEqual([b]);
    expect(await b.recv()).toBe(2);
  });

  test("wait() rejects for closed objects, and for objects that are not waitable", async () => {
    const [a, b] = pipe({ duplex: false });
    await expect(wait([b])).rejects.toThrow("wait() was called on the sending end");
    const waiting = wait([a]);
    a.close();
    expect(await waiting).toEqual([a]);
    await expect(wait([a])).rejects.toThrow("after close()");
    for (const objects of [[{}], [null], [5], null, undefined, 5, a])
      await expect(wait(objects as never)).rejects.toThrow(/^wait\(\) takes /);
  });

  test("wait() takes connections, listeners and sentinels together", async () => {
    const [here, there] = pipe<string>();
    const child = new Process({ target: tasks.hold, args: [there, there] as never });
    await child.start();
    const listener = new Listener();
    const { sentinel } = child;
    expect(child.sentinel).toBe(sentinel);
    const all = [here, listener, sentinel];
    expect(await wait(all)).toEqual([here]);
    expect(await here.recv()).toBe("ready");
    expect(await wait(all, { timeout: 0 })).toEqual([]);
    const client = await connect(listener.address);
    expect(await wait(all)).toEqual([listener]);
    (await listener.accept()).close();
    child.kill();
    expect((await wait([listener, sentinel])).includes(child.sentinel)).toBe(true);
    expect(child.exitCode).toBe(-9);
    expect(await wait([here])).toEqual([here]); // the end of the pipe
    client.close();
    listener.close();
  });

  test("wait() finds each of 1,000 connections when it becomes ready", async () => {
    const pipes = Array.from({ length: 1000 }, () => pipe<number>());
    const ends = pipes.map(([, end]) => end);
    for (let i = 0; i < 1000; i += 50) {
      const waiting = wait(ends);
      await pipes[i]?.[0].send(i);
      const ready = await waiting;
      expect(ready).toEqual([ends[i]]);
      expect(await ready[0]?.recv()).toBe(i);
    }
    for (const [a, b] of pipes) {
      a.close();
      b.close();
    }
  });
});
