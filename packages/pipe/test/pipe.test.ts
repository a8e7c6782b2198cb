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

describe("a pipe within one process", () => {
  test("messages keep their order and boundaries in both directions", async () => {
    const [a, b] = pipe<unknown>();
    for (let i = 0; i < 100; i++) await a.send(i);
    await b.send({ reply: true });
    for (let i = 0; i < 100; i++) expect(await b.recv()).toBe(i);
    expect(await a.recv()).toEqual({ reply: true });
  });

  test("send() takes the value as it is when it is called", async () => {
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

  test("recv() waits for a message, until its timeout ends or its signal aborts", async () => {
    const [a, b] = pipe<number>();
    const waiting = b.recv();
    await a.send(1);
    expect(await waiting).toBe(1);
    await expect(b.recv({ timeout: 5 })).rejects.toThrow(TimeoutError);
    const controller = new AbortController();
    const aborted = b.recv({ signal: controller.signal });
    controller.abort(new Error("enough"));
    await expect(aborted).rejects.toThrow("enough");
    // A cancelled recv() does not take the message of a waiting one.
    const next = b.recv();
    await a.send(2);
    expect(await next).toBe(2);
  });

  test("poll() returns whether a message or the end can be received", async () => {
    const [a, b] = pipe<number>();
    expect(await b.poll()).toBe(false);
    expect(await b.poll({ timeout: 5 })).toBe(false);
    const polling = b.poll({ timeout: 10_000 });
    await a.send(1);
    expect(await polling).toBe(true);
    expect(await b.poll()).toBe(true);
    expect(await b.recv()).toBe(1);
    a.close();
    expect(await b.poll()).toBe(true); // the end can be received
  });

  test("recv() throws EOFError after the last message once the other end is closed", async () => {
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

  test("for await ends when the other end is closed", async () => {
    const [a, b] = pipe<number>();
    for (const i of [1, 2, 3]) await a.send(i);
    a.close();
    const seen: number[] = [];
    for await (const i of b) seen.push(i);
    expect(seen).toEqual([1, 2, 3]);
  });

  test("sendBytes() sends a whole array, a part of it, or no bytes", async () => {
    const [a, b] = pipe();
    const bytes = Uint8Array.from([1, 2, 3, 4, 5]);
    await a.sendBytes(bytes);
    await a.sendBytes(bytes, { offset: 1 });
    await a.sendBytes(bytes, { offset: 1, size: 2 });
    await a.sendBytes(new Uint8Array(0));
    expect(await b.recvBytes()).toEqual(bytes);
    expect(await b.recv()).toEqual(bytes.slice(1));
    expect(await b.recvBytes()).toEqual(bytes.slice(1, 3));
    expect(await b.recvBytes()).toEqual(new Uint8Array(0));
    for (const options of [{ offset: 4, size: 2 }, { offset: -1 }, { size: 6 }, { offset: 1.5 }])
      await expect(a.sendBytes(bytes, options)).rejects.toThrow(RangeError);
    expect(await b.poll()).toBe(false);
  });

  test("sendBytes() refuses everything but a Uint8Array, and says how to send the memory of another view", async () => {
    const [a] = pipe();
    for (const value of ["text", null, undefined, 7, [1], new ArrayBuffer(4)])
      await expect(a.sendBytes(value as never)).rejects.toThrow(/^sendBytes\(\) takes a Uint8Array, not /);
    await expect(a.sendBytes(Int32Array.of(1) as never)).rejects.toThrow("send new Uint8Array(view.buffer");
  });

  test.each([
    ["a Uint8Array", new Uint8Array(8)],
    ["an Int32Array", new Int32Array(2)],
    ["a BigUint64Array", new BigUint64Array(1)],
    ["a DataView", new DataView(new ArrayBuffer(8))],
    ["a part of a larger buffer", new Uint16Array(new ArrayBuffer(32), 8, 4)],
    ["an ArrayBuffer", new ArrayBuffer(8)],
    ["a SharedArrayBuffer", new SharedArrayBuffer(8)],
  ])("recvBytesInto() writes the bytes of a message into the memory of %s", async (_, buffer) => {
    const [a, b] = pipe();
    await a.sendBytes(Uint8Array.from([1, 255, 3]));
    expect(await b.recvBytesInto(buffer, { offset: 2 })).toBe(3);
    const memory = ArrayBuffer.isView(buffer)
      ? new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength)
      : new Uint8Array(buffer);
    expect([...memory]).toEqual([0, 0, 1, 255, 3, 0, 0, 0]);
  });

  test("recvBytesInto() does not lose a message if its buffer was transferred during the wait", async () => {
    for (const make of [(memory: ArrayBuffer) => memory, (memory: ArrayBuffer) => new DataView(memory)]) {
      const [a, b] = pipe();
      const memory = new ArrayBuffer(4);
      const waiting = b.recvBytesInto(make(memory)).catch((error) => error);
      structuredClone(memory, { transfer: [memory] });
      await a.sendBytes(Uint8Array.of(1, 2));
      expect((await waiting).bytes).toEqual(Uint8Array.of(1, 2));
    }
  });

  test("recvBytesInto() refuses a wrong buffer or offset, and leaves the message", async () => {
    const [a, b] = pipe();
    await a.sendBytes(Uint8Array.of(1));
    for (const buffer of ["text", null, undefined, [0], {}])
      await expect(b.recvBytesInto(buffer as never)).rejects.toThrow("takes a typed array or an ArrayBuffer");
    for (const offset of [-1, 5, 0.5, Number.NaN])
      await expect(b.recvBytesInto(new Uint8Array(4), { offset })).rejects.toThrow(RangeError);
    expect(await b.recvBytes()).toEqual(Uint8Array.of(1));
  });

  test("a message that is too long is in the error", async () => {
    const [a, b] = pipe();
    const calls = [
      () => b.recvBytes({ maxLength: 2 }),
      () => b.recvBytesInto(new Uint8Array(2)),
      () => b.recvBytesInto(new Uint8Array(4), { offset: 2 }),
    ];
    for (const call of calls) {
      await a.sendBytes(Uint8Array.from([1, 2, 3]));
      const error = await call().catch((error) => error);
      expect(error).toBeInstanceOf(BufferTooShortError);
      expect(error.bytes).toEqual(Uint8Array.from([1, 2, 3]));
    }
  });

  test("recvBytes() leaves a value for recv()", async () => {
    const [a, b] = pipe<number>();
    await a.send(7);
    await expect(b.recvBytes()).rejects.toThrow(ConnectionError);
    expect(await b.recv()).toBe(7);
    const waiting = b.recvBytes();
    await a.send(8);
    await expect(waiting).rejects.toThrow(ConnectionError);
    expect(await b.recv()).toBe(8);
  });

  test("the ends of a one-way pipe refuse the other direction", async () => {
    const [receiver, sender] = pipe<number>({ duplex: false });
    expect([receiver.readable, receiver.writable, sender.readable, sender.writable]).toEqual([
      true,
      false,
      false,
      true,
    ]);
    await sender.send(1);
    expect(await receiver.recv()).toBe(1);
    await expect(receiver.send(1 as never)).rejects.toThrow("receiving end");
    await expect(sender.recv()).rejects.toThrow("sending end");
  });

  test("a value that cannot be sent is refused with its path, and nothing is sent", async () => {
    const [a, b] = pipe<unknown>();
    const error = await a.send({ list: [1, () => {}] }).catch((error) => error);
    expect(error).toBeInstanceOf(SendError);
    expect(error.path).toBe("value.list[1]");
    expect(await b.poll()).toBe(false);
  });

  test("every call is rejected after close()", async () => {
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
    await expect(waiting).rejects.toThrow("recv() was cancelled by close()");
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

describe("a pipe between processes", () => {
  test("values are sent to a child and back", async () => {
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
    "messages arrive while their sender computes without a pause, after %i others: %s",
    async ([before, name]) => {
      const folder = mkdtempSync(path.join(tmpdir(), "pipe-test-"));
      // Deno writes to sockets in turns of its event loop: the first message leaves, and all others wait for a turn.
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

  test("messages that were sent before the child had its end arrive", async () => {
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

  test("recv() throws EOFError when a child closes its end and keeps running", async () => {
    const [here, there] = pipe<number>();
    await start(tasks.report, there, [1]);
    expect(await here.recv()).toBe(1);
    await expect(here.recv()).rejects.toThrow(EOFError);
  });

  test("both ends of a pipe can be in children", async () => {
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

  test("each message goes to one of the processes that hold an end", async () => {
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

  test("the messages of several senders on one end keep the order of each sender", async () => {
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
    // Using the end here makes this process a holder again.
    await there.send(3);
    expect(await here.recv()).toBe(3);
    await expect(here.recv({ timeout: 5 })).rejects.toThrow(TimeoutError);
    there.close();
    await expect(here.recv()).rejects.toThrow(EOFError);
  });

  test("10,000 messages that are sent at once arrive in order", async () => {
    const [here, there] = pipe<{ id: number }>();
    await start(tasks.echo, there);
    const sending = Promise.all(Array.from({ length: 10_000 }, (_, id) => here.send({ id })));
    for (let id = 0; id < 10_000; id++) expect((await here.recv()).id).toBe(id);
    await sending;
  });

  test("a child that sends without a pause waits for the receiver, and a message cut off by SIGKILL is dropped", async () => {
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
    expect(last).toBeLessThan(100); // back-pressure
  });
});
