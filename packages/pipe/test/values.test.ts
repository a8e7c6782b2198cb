/** `sendMany()` and `recvMany()`, and values whose getters use the connection. */
import { fromModule, SendError } from "@multiproc/core";
import { BrokenPipeError, type Connection, ConnectionError, EOFError, pipe } from "@multiproc/pipe";
import { Process } from "@multiproc/process";
import { childrenOf, fixture } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
const { start, endChildren } = childrenOf((target, args) => new Process({ target, args }));

/** A function of a module that does not exist. */
const missing = fromModule<{ missing: () => void }>(fixture(import.meta.url, "missing.js")).missing;

afterEach(endChildren);

/** Returns a connection to a child that sends every message back. */
async function echoing(): Promise<Connection> {
  const [here, there] = pipe();
  await start(tasks.echo, there);
  return here;
}

describe("sendMany()", () => {
  test("sendMany() sends each value of any iterable as a message, in order", async () => {
    const here = await echoing();
    await here.sendMany([1, "two", { three: 3 }]);
    await here.sendMany(
      (async function* () {
        yield* [4, 5];
      })(),
    );
    const numbers = Array.from({ length: 20_000 }, (_, i) => ({ i }));
    const sent = here.sendMany(numbers.values());
    for (const value of [1, "two", { three: 3 }, 4, 5, ...numbers]) expect(await here.recv()).toEqual(value);
    await sent;
  });

  test("sendMany() takes no more values while the receiver is slow", async () => {
    const [a, b] = pipe<string>();
    let taken = 0;
    const sent = a.sendMany(
      (function* () {
        for (; taken < 1000; taken++) yield "x".repeat(100_000);
      })(),
    );
    await new Promise((resolve) => setImmediate(resolve));
    expect(taken).toBeLessThan(100);
    for (let i = 0; i < 1000; i++) expect((await b.recv()).length).toBe(100_000);
    await sent;
  });

  test("sendMany() does not starve the event loop, even with a fast receiver", async () => {
    const [a, b] = pipe<number>();
    let isOver = false;
    let received = 0;
    const receiving = (async () => {
      for await (const value of b) received += value;
    })();
    let sent = 0;
    setTimeout(() => (isOver = true), 5);
    await a.sendMany(
      (function* () {
        for (; !isOver && sent < 1_000_000; sent++) yield 1;
      })(),
    );
    a.close();
    await receiving;
    expect(received).toBe(sent);
    expect(isOver).toBe(true);
  });

  test("sendMany() rejects at a value that cannot be sent, ends its iterable, and has sent the values before", async () => {
    const [a, b] = pipe<number>();
    let hasEnded = false;
    function* values(): Generator<number> {
      try {
        yield 1;
        yield Symbol("cannot be sent") as never;
      } finally {
        hasEnded = true;
      }
    }
    await expect(a.sendMany(values())).rejects.toThrow(SendError);
    expect(hasEnded).toBe(true);
    expect(await b.recv()).toBe(1);
    expect(await b.poll()).toBe(false);
    b.close();
    await expect(a.sendMany([1])).rejects.toThrow(BrokenPipeError);
    a.close();
    await expect(a.sendMany([1])).rejects.toThrow(ConnectionError);
  });

  test.each([undefined, null, 5, {}])("sendMany() refuses %s", async (values) => {
    await expect(pipe()[0].sendMany(values as never)).rejects.toThrow(
      /^sendMany\(\) takes the values .* iterable, not /,
    );
  });
});

describe("recvMany()", () => {
  test("recvMany() returns the messages that have arrived, in order, and waits if there are none", async () => {
    const [a, b] = pipe<unknown>();
    const waiting = b.recvMany();
    await a.send(1);
    expect(await waiting).toEqual([1]);
    const bytes = Uint8Array.from([3]);
    await a.send("two");
    await a.sendBytes(bytes);
    await a.sendMany([4, { five: 5 }]);
    expect(await b.recvMany({ max: 3 })).toEqual(["two", bytes, 4]);
    expect(await b.recvMany()).toEqual([{ five: 5 }]);
    await expect(b.recvMany({ max: 1, timeout: 5 })).rejects.toThrow(/recvMany\(\).*5 ms/);
    await expect(b.recvMany({ signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
    for (const max of [0, -1, Number.NaN, "1"])
      await expect(b.recvMany({ max } as never)).rejects.toThrow("takes a max of 1 or more");
    a.close();
    await expect(b.recvMany()).rejects.toThrow(EOFError);
  });

  test("a message that may fail to decode is the first of its batch, so that no other is lost with it", async () => {
    const [a, b] = pipe<unknown>();
    const [end] = pipe();
    await a.sendMany([1, 2, end, 3, missing, 4, 5]);
    expect(await b.recvMany()).toEqual([1, 2]);
    expect(await b.recvMany()).toEqual([expect.any(Object), 3]);
    await expect(b.recvMany()).rejects.toThrow(/missing/);
    expect(await b.recvMany()).toEqual([4, 5]);
  });

  test("recvMany() returns every message of another process once", async () => {
    const [here, there] = pipe<number | "done">();
    await start(tasks.count, there, 0, 20_000);
    const received: unknown[] = [];
    while (received.at(-1) !== "done") received.push(...(await here.recvMany()));
    expect(received).toEqual([...Array.from({ length: 20_000 }, (_, i) => i), "done"]);
  });
});

describe("for await", () => {
  test("for await can be left, and the connection can still be used", async () => {
    const [a, b] = pipe<number>();
    await a.sendMany([1, 2, 3]);
    for await (const value of b) if (value === 2) break;
    expect(await b.recv()).toBe(3);
    const waiting = b[Symbol.asyncIterator]();
    const next = [waiting.next(), waiting.next()];
    await a.sendMany([4, 5]);
    expect(await Promise.all(next)).toEqual([
      { done: false, value: 4 },
      { done: false, value: 5 },
    ]);
    a.close();
    for (let i = 0; i < 2; i++) expect(await waiting.next()).toEqual({ done: true, value: undefined });
  });

  test("for await rejects once when its own end is closed during the wait", async () => {
    const [, b] = pipe<number>();
    const messages = b[Symbol.asyncIterator]();
    const next = messages.next();
    b.close();
    await expect(next).rejects.toThrow(ConnectionError);
    expect(await messages.next()).toEqual({ done: true, value: undefined });
  });
});

describe.each([
  ["on a socket", 1],
  ["in memory", 1000],
])("a getter of a value that is sent, %s,", (_, before) => {
  /** Returns a connection that has carried `before` messages. */
  async function used(): Promise<Connection> {
    const here = await echoing();
    for (let i = 0; i < before; i++) await here.send(i);
    for (let i = 0; i < before; i++) expect(await here.recv()).toBe(i);
    return here;
  }

  test("can send bytes, which follow the value, and is refused another value", async () => {
    const here = await used();
    const bytes = Uint8Array.from([1, 2, 3]);
    const large = new Uint8Array(100_000).fill(4);
    const inner: Promise<unknown>[] = [];
    await here.send({
      first: "x".repeat(100),
      get second() {
        inner.push(here.sendBytes(bytes), here.sendBytes(large), here.send("refused").catch(String));
        bytes.fill(0);
        large.fill(0);
        return 2;
      },
    });
    expect(await Promise.all(inner)).toEqual([undefined, undefined, expect.stringContaining("SendError")]);
    await here.send("next");
    expect(await here.recv()).toEqual({ first: "x".repeat(100), second: 2 });
    expect(await here.recv()).toEqual(Uint8Array.from([1, 2, 3]));
    expect(await here.recv()).toEqual(new Uint8Array(100_000).fill(4));
    expect(await here.recv()).toBe("next");
  });

  test("is refused another value at any position in a buffer", async () => {
    const here = await used();
    const inner: Promise<unknown>[] = [];
    for (let size = 0; size < 600; size++) {
      const value = {
        get key() {
          inner.push(here.send(1).catch((error: Error) => error.name));
          return "x".repeat(size);
        },
      };
      void here.send(value); // not awaited, so that messages are coalesced
    }
    for (let size = 0; size < 600; size++) expect(await here.recv()).toEqual({ key: "x".repeat(size) });
    expect(new Set(await Promise.all(inner))).toEqual(new Set(["SendError"]));
  });

  test("can send bytes and then throw", async () => {
    const here = await used();
    const value = {
      get key() {
        void here.sendBytes(Uint8Array.from([1]));
        throw new Error("no");
      },
    };
    await expect(here.send(value)).rejects.toThrow(SendError);
    expect(await here.recv()).toEqual(Uint8Array.from([1]));
  });

  test("can close the connection, and its value still arrives", async () => {
    const [here, there] = pipe();
    const [back, result] = pipe<number>();
    await start(tasks.sum, there, result);
    for (let i = 0; i < before; i++) await here.send(1);
    await here.send({
      get key() {
        here.close();
        return 1;
      },
    });
    expect(await back.recv()).toBe(`${before}[object Object]`);
  });

  test.each([
    ["open", true],
    ["opening", false],
  ])("can close the connection in a child, where it is %s", async (_state, isAsked) => {
    const [here, there] = pipe();
    await start(tasks.sendClosing, there, before, isAsked);
    for (let i = 0; i < before; i++) expect(await here.recv()).toBe(i);
    if (isAsked) await here.send("now");
    expect(await here.recv()).toEqual({ key: "last" });
    await expect(here.recv()).rejects.toThrow(EOFError);
  });
});
