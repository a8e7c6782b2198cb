// Runs under every start method.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fromModule, SendError, TimeoutError } from "@multiproc/core";
import {
  BrokenPipeError,
  BufferTooShortError,
  type Connection,
  ConnectionError,
  EOFError,
  pipe,
} from "@multiproc/pipe";
import { Process } from "@multiproc/process";
import { childrenOf, fixture, host, until } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
const { start, endChildren } = childrenOf((target, args) => new Process({ target, args }));

afterEach(endChildren);

describe("pipe() within one process", () => {
  test("messages keep their order and boundaries, in both directions", async () => {
    const [a, b] = pipe<unknown>();
    for (let i = 0; i < 100; i++) await a.send(i);
    await b.send({ reply: true });
    for (let i = 0; i < 100; i++) expect(await b.recv()).toBe(i);
    expect(await a.recv()).toEqual({ reply: true });
  });

  test("send() takes the value as it is at the call", async () => {
    const [a, b] = pipe<number[]>();
    const list = [1];
    const bytes = new Uint8Array(200_000).fill(1);
    await a.send(list);
    await a.send(bytes as never);
    list.push(2);
    bytes.fill(2);
    expect(await b.recv()).toEqual([1]);
    expect(((await b.recv()) as never as Uint8Array)[199_999]).toBe(1);
  });

  test("recv() waits for a message, and gives up with its time-out and its signal", async () => {
    const [a, b] = pipe<number>();
    const waiting = b.recv();
    await a.send(1);
    expect(await waiting).toBe(1);
    await expect(b.recv({ timeout: 5 })).rejects.toThrow(TimeoutError);
    const controller = new AbortController();
    const aborted = b.recv({ signal: controller.signal });
    controller.abort(new Error("enough"));
    await expect(aborted).rejects.toThrow("enough");
    // Those who gave up take nothing from those who wait.
    const next = b.recv();
    await a.send(2);
    expect(await next).toBe(2);
  });

  test("poll() tells whether there is something", async () => {
    const [a, b] = pipe<number>();
    expect(await b.poll()).toBe(false);
    expect(await b.poll(5)).toBe(false);
    const polling = b.poll(10_000);
    await a.send(1);
    expect(await polling).toBe(true);
    expect(await b.poll()).toBe(true);
    expect(await b.recv()).toBe(1);
    a.close();
    expect(await b.poll()).toBe(true); // the end can be read
  });

  test("recv() throws EOFError once all is read and the other end is closed", async () => {
    const [a, b] = pipe<number>();
    await a.send(1);
    a.close();
    expect(await b.recv()).toBe(1);
    await expect(b.recv()).rejects.toThrow(EOFError);
    await expect(b.send(2)).rejects.toThrow(BrokenPipeError);
    const [c, d] = pipe<number>();
    const waiting = d.recv();
    c.close();
    await expect(waiting).rejects.toThrow(EOFError);
  });

  test("for await ends with the other end", async () => {
    const [a, b] = pipe<number>();
    for (const i of [1, 2, 3]) await a.send(i);
    a.close();
    const seen: number[] = [];
    for await (const i of b) seen.push(i);
    expect(seen).toEqual([1, 2, 3]);
  });

  test("bytes: whole, in part, into a buffer, empty", async () => {
    const [a, b] = pipe();
    const bytes = Uint8Array.from([1, 2, 3, 4, 5]);
    await a.sendBytes(bytes);
    await a.sendBytes(bytes, 1);
    await a.sendBytes(bytes, 1, 2);
    await a.sendBytes(new Uint8Array(0));
    expect(await b.recvBytes()).toEqual(bytes);
    expect(await b.recv()).toEqual(bytes.slice(1));
    const buffer = new Uint8Array(4);
    expect(await b.recvBytesInto(buffer, 1)).toBe(2);
    expect(buffer).toEqual(Uint8Array.from([0, 2, 3, 0]));
    expect(await b.recvBytes()).toEqual(new Uint8Array(0));
    await expect(a.sendBytes(bytes, 4, 2)).rejects.toThrow(RangeError);
  });

  test("a message longer than there is room for is in the error", async () => {
    const [a, b] = pipe();
    await a.sendBytes(Uint8Array.from([1, 2, 3]));
    const error = await b.recvBytes(2).catch((error) => error);
    expect(error).toBeInstanceOf(BufferTooShortError);
    expect(error.bytes).toEqual(Uint8Array.from([1, 2, 3]));
    await a.sendBytes(Uint8Array.from([1, 2, 3]));
    await expect(b.recvBytesInto(new Uint8Array(2))).rejects.toThrow(BufferTooShortError);
  });

  test("recvBytes() leaves a value to recv()", async () => {
    const [a, b] = pipe<number>();
    await a.send(7);
    await expect(b.recvBytes()).rejects.toThrow(ConnectionError);
    expect(await b.recv()).toBe(7);
    const waiting = b.recvBytes();
    await a.send(8);
    await expect(waiting).rejects.toThrow(ConnectionError);
    expect(await b.recv()).toBe(8);
  });

  test("one-way ends refuse the other way", async () => {
    const [receiver, sender] = pipe<number>({ duplex: false });
    expect([receiver.readable, receiver.writable, sender.readable, sender.writable]).toEqual([
      true,
      false,
      false,
      true,
    ]);
    await sender.send(1);
    expect(await receiver.recv()).toBe(1);
    await expect(receiver.send(1)).rejects.toThrow("receiving end");
    await expect(sender.recv()).rejects.toThrow("sending end");
  });

  test("what cannot be sent is refused with its path, and nothing is sent", async () => {
    const [a, b] = pipe<unknown>();
    const error = await a.send({ list: [1, () => {}] }).catch((error) => error);
    expect(error).toBeInstanceOf(SendError);
    expect(error.path).toBe("value.list[1]");
    expect(await b.poll()).toBe(false);
  });

  test("nothing works after close()", async () => {
    const [a] = pipe();
    a.close();
    a.close();
    expect(a.closed).toBe(true);
    for (const use of [
      () => a.send(1),
      () => a.recv(),
      () => a.poll(),
      () => a.sendBytes(new Uint8Array(1)),
      () => a.recvBytes(),
    ]) {
      await expect(use()).rejects.toThrow("after close()");
    }
    const [c, d] = pipe();
    a satisfies Connection;
    await expect(c.send(a)).rejects.toThrow("after close()");
    const waiting = d.recv();
    d.close();
    await expect(waiting).rejects.toThrow("closed meanwhile");
  });

  test("a sender waits while the receiver is slow", async () => {
    const [a, b] = pipe<Uint8Array>();
    let sent = 0;
    const sending = (async () => {
      for (; sent < 100; sent++) await a.send(new Uint8Array(100_000));
    })();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(sent).toBeLessThan(20);
    for (let i = 0; i < 100; i++) await b.recv();
    await sending;
  });
});

describe("pipe() between processes", () => {
  test("values go to a child and come back", async () => {
    const [here, there] = pipe<unknown>();
    await start(tasks.echo, there);
    for (const value of [1, "two", { three: [3, new Map([[4, new Set([5])]])] }, null, undefined, -0]) {
      await here.send(value);
      expect(await here.recv()).toEqual(value);
    }
    await here.sendBytes(new Uint8Array(0));
    expect(await here.recv()).toEqual(new Uint8Array(0));
  });

  test.for([
    [0, "sendAndCompute"],
    [1000, "sendAndCompute"],
    [1000, "sendManyAndCompute"],
  ] as const)(
    "messages arrive while their sender computes on without a pause, after %i others: %s",
    async ([before, name]) => {
      const folder = mkdtempSync(path.join(tmpdir(), "pipe-test-"));
      // Deno writes to sockets in turns of its event loop: the first leaves, and those behind it must wait for one.
      const count = host === "deno" ? 1 : 200;
      try {
        const [here, there] = pipe<unknown>();
        const child = await start(tasks[name], there, folder, before, count);
        for (let i = 0; i < before; i++) expect(await here.recv()).toBe(i);
        await here.send("go on");
        for (let i = 0; i < count; i++) {
          expect(await here.recv()).toBe(i);
          writeFileSync(path.join(folder, String(i)), "");
        }
        expect(await child.join()).toBe(0);
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  );

  test("messages that were sent before the child had its end are there", async () => {
    const [here, there] = pipe<number>();
    for (let i = 0; i < 1000; i++) await here.send(i);
    await start(tasks.echo, there);
    for (let i = 0; i < 1000; i++) expect(await here.recv()).toBe(i);
  });

  test("recv() throws EOFError when a child that held the other end was SIGKILLed, or ended", async () => {
    const [here, there] = pipe<string>();
    const child = await start(tasks.hold, there, there);
    expect(await here.recv()).toBe("ready");
    const waiting = here.recv();
    child.kill();
    await expect(waiting).rejects.toThrow(EOFError);
    await expect(here.send("anyone?")).rejects.toThrow(BrokenPipeError);

    const [mine, yours] = pipe<number>();
    await start(tasks.send, yours, [1, 2]);
    const seen: number[] = [];
    for await (const value of mine) seen.push(value);
    expect(seen).toEqual([1, 2]);
  });

  test("recv() throws EOFError when the child died before it took its end", async () => {
    const [here, there] = pipe<string>();
    const broken = fromModule<{ any(end: unknown): void }>(fixture(import.meta.url, "not-there.js"));
    const child = new Process({ target: broken.any, args: [there], stdio: "ignore" });
    await child.start();
    await expect(here.recv()).rejects.toThrow(EOFError);
    await child.join();
  });

  test("a child that closes its end and lives on: EOFError", async () => {
    const [here, there] = pipe<number>();
    await start(tasks.report, there, [1]);
    expect(await here.recv()).toBe(1);
    await expect(here.recv()).rejects.toThrow(EOFError);
  });

  test("both ends can be in children", async () => {
    const [a, b] = pipe<number>({ duplex: false });
    const [result, to] = pipe<number>({ duplex: false });
    await start(tasks.sum, a, to);
    await start(tasks.send, b, [1, 2, 3, 4]);
    expect(await result.recv()).toBe(10);
  });

  test("an end can be sent through a connection, nested in a value", async () => {
    const [here, there] = pipe<{ deep: [Map<string, Connection<string>>] }>();
    await start(tasks.sendEnd, there);
    const end = (await here.recv()).deep[0].get("end") as Connection<string>;
    expect(await end.recv()).toBe("from the child's own pipe");
    await end.send("thanks");
    expect(await here.recv()).toBe("thanks");
    end.close();
  });

  test("an end with messages waiting can be handed on and on", async () => {
    const [to, there] = pipe<Connection<string>>();
    const [result, back] = pipe<string>();
    const [a, b] = pipe<string>();
    await a.send("first");
    await a.send("second");
    const child = await start(tasks.handOn, there, back);
    await to.send(b as never);
    expect(await result.recv()).toBe("first");
    expect(await child.join()).toBe(0);
  });

  test("one end in several processes: each message goes to one of them", async () => {
    const [here, there] = pipe<number>();
    const [results, back] = pipe<number>();
    await Promise.all([
      start(tasks.recvOne, there, back),
      start(tasks.recvOne, there, back),
      start(tasks.recvOne, there, back),
    ]);
    for (const i of [1, 2, 3]) await here.send(i);
    const seen = [await results.recv(), await results.recv(), await results.recv()];
    expect(seen.sort()).toEqual([1, 2, 3]);
  });

  test("several producers on one end: the order of each is kept", async () => {
    const [here, there] = pipe<number | string>();
    await Promise.all([0, 1000, 2000].map((from) => start(tasks.count, there, from, from + 500)));
    const seen: number[] = [];
    for (let done = 0; done < 3; ) {
      const value = await here.recv();
      if (value === "done") done++;
      else seen.push(value as number);
    }
    expect(seen.length).toBe(1500);
    for (const from of [0, 1000, 2000]) {
      const own = seen.filter((i) => i >= from && i < from + 500);
      expect(own).toEqual([...own].sort((x, y) => x - y));
    }
  });

  test("an end that was handed on can be handed on again after its holder has ended", async () => {
    const [here, there] = pipe<number>();
    for (const round of [1, 2]) {
      const child = await start(tasks.send, there, [round, round]);
      expect([await here.recv(), await here.recv()]).toEqual([round, round]);
      await child.join();
      await expect(here.recv()).rejects.toThrow(EOFError);
      await expect(here.send(0)).rejects.toThrow(BrokenPipeError);
    }
    // Used here, it is held here.
    await there.send(3);
    expect(await here.recv()).toBe(3);
    await expect(here.recv({ timeout: 5 })).rejects.toThrow(TimeoutError);
    there.close();
    await expect(here.recv()).rejects.toThrow(EOFError);
  });

  test("10,000 messages at once", async () => {
    const [here, there] = pipe<{ id: number }>();
    await start(tasks.echo, there);
    const sending = Promise.all(Array.from({ length: 10_000 }, (_, id) => here.send({ id })));
    for (let id = 0; id < 10_000; id++) expect((await here.recv()).id).toBe(id);
    await sending;
  });

  test("a child that floods is held up, and gone without a trace when it is killed in mid-message", async () => {
    const [here, there] = pipe<[number, Uint8Array]>();
    const child = await start(tasks.flood, there);
    await until(() => here.poll());
    child.kill();
    await child.join();
    let last = -1;
    try {
      while (true) {
        const [i, bytes] = await here.recv();
        expect(i).toBe(last + 1);
        expect(bytes.length).toBe(100_000);
        last = i;
      }
    } catch (error) {
      expect(error).toBeInstanceOf(EOFError);
    }
    expect(last).toBeGreaterThanOrEqual(0);
    expect(last).toBeLessThan(100); // it did not run ahead
  });
});
