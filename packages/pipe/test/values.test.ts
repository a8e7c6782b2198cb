/** Many values one after the other, and values whose getters do more than they should. */
import { fromModule, SendError } from "@multiproc/core";
import { BrokenPipeError, type Connection, ConnectionError, EOFError, pipe } from "@multiproc/pipe";
import { Process } from "@multiproc/process";
import { childrenOf, fixture } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
const { start, endChildren } = childrenOf((target, args) => new Process({ target, args }));

/** A function of a module that is not there. */
const missing = fromModule<{ missing: () => void }>(fixture(import.meta.url, "missing.js")).missing;

afterEach(endChildren);

/** A connection to a child that sends back what it gets. */
async function echoing(): Promise<Connection> {
  const [here, there] = pipe();
  await start(tasks.echo, there);
  return here;
}

describe("sendMany()", () => {
  test("sends each value as a message, in order, whatever gives them", async () => {
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

  test("takes no more values while the other side is slow", async () => {
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

  test("gives other things of the process their turn, however fast values are taken", async () => {
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

  test("fails with what cannot be sent, and ends what it takes values from; what came before has been sent", async () => {
    const [a, b] = pipe<number>();
    let hasEnded = false;
    function* values(): Generator<unknown> {
      try {
        yield 1;
        yield Symbol("cannot be sent");
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

  test.each([undefined, null, 5, {}])("refuses %s", async (values) => {
    await expect(pipe()[0].sendMany(values as never)).rejects.toThrow(
      /^sendMany\(\) takes the values .* iterable, not /,
    );
  });
});

describe("recvMany()", () => {
  test("gives what is there, in order, and waits where there is nothing", async () => {
    const [a, b] = pipe<unknown>();
    const waiting = b.recvMany();
    await a.send(1);
    expect(await waiting).toEqual([1]);
    const bytes = Uint8Array.from([3]);
    await a.send("two");
    await a.sendBytes(bytes);
    await a.sendMany([4, { five: 5 }]);
    expect(await b.recvMany(3)).toEqual(["two", bytes, 4]);
    expect(await b.recvMany()).toEqual([{ five: 5 }]);
    await expect(b.recvMany(1, { timeout: 5 })).rejects.toThrow(/recvMany\(\).*5 ms/);
    await expect(b.recvMany(1, { signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
    await expect(b.recvMany(0)).rejects.toThrow(RangeError);
    a.close();
    await expect(b.recvMany()).rejects.toThrow(EOFError);
  });

  test("a message that may fail comes first: nothing that came before is lost with it", async () => {
    const [a, b] = pipe<unknown>();
    const [end] = pipe();
    await a.sendMany([1, 2, end, 3, missing, 4, 5]);
    expect(await b.recvMany()).toEqual([1, 2]);
    expect(await b.recvMany()).toEqual([expect.any(Object), 3]);
    await expect(b.recvMany()).rejects.toThrow(/missing/);
    expect(await b.recvMany()).toEqual([4, 5]);
  });

  test("all of many messages from another process, each once", async () => {
    const [here, there] = pipe<number | "done">();
    await start(tasks.count, there, 0, 20_000);
    const received: unknown[] = [];
    while (received.at(-1) !== "done") received.push(...(await here.recvMany()));
    expect(received).toEqual([...Array.from({ length: 20_000 }, (_, i) => i), "done"]);
  });
});

describe("for await", () => {
  test("can be left, and the connection used on", async () => {
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

  test("fails, once, when its own end is closed meanwhile", async () => {
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
])("a getter of what is sent, %s,", (_, before) => {
  /** A connection on which so much was said. */
  async function used(): Promise<Connection> {
    const here = await echoing();
    for (let i = 0; i < before; i++) await here.send(i);
    for (let i = 0; i < before; i++) expect(await here.recv()).toBe(i);
    return here;
  }

  test("may send bytes, which follow; no other value", async () => {
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

  test("may ask for another value, which is refused, wherever in a buffer that is", async () => {
    const here = await used();
    const inner: Promise<unknown>[] = [];
    for (let size = 0; size < 600; size++) {
      const value = {
        get key() {
          inner.push(here.send(1).catch((error: Error) => error.name));
          return "x".repeat(size);
        },
      };
      void here.send(value); // not awaited: what is sent gathers
    }
    for (let size = 0; size < 600; size++) expect(await here.recv()).toEqual({ key: "x".repeat(size) });
    expect(new Set(await Promise.all(inner))).toEqual(new Set(["SendError"]));
  });

  test("may send bytes and then throw", async () => {
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

  test("may close the connection: what it belongs to still arrives", async () => {
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
  ])("may close the connection in a child, where it is %s", async (_state, isAsked) => {
    const [here, there] = pipe();
    await start(tasks.sendClosing, there, before, isAsked);
    for (let i = 0; i < before; i++) expect(await here.recv()).toBe(i);
    if (isAsked) await here.send("now");
    expect(await here.recv()).toEqual({ key: "last" });
    await expect(here.recv()).rejects.toThrow(EOFError);
  });
});
