import { type Connection, connect, Listener, pipe, wait } from "@multiproc/pipe";
import { afterEach, describe, expect, test } from "vitest";

const bytes = new Uint8Array(4);
const openListeners: Listener[] = [];

afterEach(() => {
  for (const listener of openListeners.splice(0)) listener.close();
});

function newListener(): Listener {
  const listener = new Listener();
  openListeners.push(listener);
  return listener;
}

/** Returns an end that receives, and has no message. */
function emptyEnd(): Connection {
  return pipe()[1];
}

const WRONG_WAITS: ReadonlyArray<readonly [unknown, string | RegExp]> = [
  [5, "takes its options as one object"],
  [null, "takes its options as one object"],
  [{ timeOut: 5 }, 'does not take the option "timeOut". Did you mean "timeout"?'],
  [{ timeout: -1 }, "takes a timeout of 0 or more milliseconds, not -1"],
  [{ timeout: "5" }, "takes a timeout of 0 or more milliseconds, not 5"],
  [{ signal: new AbortController() }, "takes an AbortSignal as signal"],
  [{ signal: AbortSignal.abort(new Error("enough")) }, "enough"],
];

type Call = (options: never) => Promise<unknown>;

const WAITS: ReadonlyArray<readonly [string, () => Call]> = [
  ["recv()", () => (options) => emptyEnd().recv(options)],
  ["recvMany()", () => (options) => emptyEnd().recvMany(options)],
  ["recvBytes()", () => (options) => emptyEnd().recvBytes(options)],
  ["recvBytesInto()", () => (options) => emptyEnd().recvBytesInto(bytes, options)],
  ["poll()", () => (options) => emptyEnd().poll(options)],
  ["wait()", () => (options) => wait([emptyEnd()], options)],
  ["accept()", () => (options) => newListener().accept(options)],
  ["connect()", () => (options) => connect("/nowhere/socket", options)],
];

describe.each(WAITS)("%s", (name, makeCall) => {
  test.each(WRONG_WAITS)(`${name} rejects and does not throw for the options %o`, async (options, message) => {
    const call = makeCall();
    let promise: Promise<unknown> | undefined;
    expect(() => (promise = call(options as never))).not.toThrow();
    await expect(promise).rejects.toThrow(message);
  });
});

describe("a mistake with a connection", () => {
  const [receiver, sender] = pipe({ duplex: false });
  const [closed] = pipe();
  closed.close();

  test.each<[string, () => Promise<unknown>, string]>([
    ["recvMany() with a number", () => emptyEnd().recvMany(3 as never), "takes its options as one object"],
    ["recvBytes() with a number", () => emptyEnd().recvBytes(3 as never), "such as { maxLength: … }, not 3"],
    ["recvBytes() with a wrong limit", () => emptyEnd().recvBytes({ maxLength: -1 }), "takes a maxLength of 0 or more"],
    ["recvBytes() with text as limit", () => emptyEnd().recvBytes({ maxLength: "1" as never }), "takes a maxLength of"],
    ["recvBytesInto() with a number", () => emptyEnd().recvBytesInto(bytes, 1 as never), "{ offset: … }, not 1"],
    ["recvBytesInto() without a buffer", () => emptyEnd().recvBytesInto({ offset: 1 } as never), "takes a typed array"],
    ["sendBytes() with numbers", () => emptyEnd().sendBytes(bytes, 1 as never), "such as { offset: … }, not 1"],
    ["sendBytes() with a wrong name", () => emptyEnd().sendBytes(bytes, { length: 1 } as never), 'option "length"'],
    ["send() of a function", () => emptyEnd().send(() => {}), "Cannot send value"],
    ["sendMany() of a number", () => emptyEnd().sendMany(5 as never), "takes the values to send as an iterable"],
    ["send() on a receiving end", () => receiver.send(1 as never), "receiving end of a one-way pipe"],
    ["sendMany() on a receiving end", () => receiver.sendMany([1 as never]), "receiving end of a one-way pipe"],
    ["sendBytes() on a receiving end", () => receiver.sendBytes(bytes), "receiving end of a one-way pipe"],
    ["recv() on a sending end", () => sender.recv(), "sending end of a one-way pipe"],
    ["poll() on a sending end", () => sender.poll(), "sending end of a one-way pipe"],
    ["for await on a sending end", () => sender[Symbol.asyncIterator]().next(), "sending end of a one-way pipe"],
    ["send() after close()", () => closed.send(1), "after close()"],
    ["sendMany() after close()", () => closed.sendMany([1]), "after close()"],
    ["sendBytes() after close()", () => closed.sendBytes(bytes), "after close()"],
    ["recv() after close()", () => closed.recv(), "after close()"],
    ["recvMany() after close()", () => closed.recvMany(), "after close()"],
    ["recvBytes() after close()", () => closed.recvBytes(), "after close()"],
    ["recvBytesInto() after close()", () => closed.recvBytesInto(bytes), "after close()"],
    ["poll() after close()", () => closed.poll(), "after close()"],
    ["for await after close()", () => closed[Symbol.asyncIterator]().next(), "after close()"],
    ["wait() after close()", () => wait([closed]), "after close()"],
  ])("%s rejects and does not throw", async (_, call, message) => {
    let promise: Promise<unknown> | undefined;
    expect(() => (promise = call())).not.toThrow();
    await expect(promise).rejects.toThrow(message);
  });

  test.each<[string, () => unknown, string]>([
    ["pipe() with a boolean", () => pipe(false as never), "such as { duplex: … }, not false"],
    ["pipe() with a wrong name", () => pipe({ dupleks: false } as never), 'Did you mean "duplex"?'],
    ["pipe() with a wrong value", () => pipe({ duplex: "no" as never }), 'takes true or false as duplex, not "no"'],
    ["recvSync() with a number", () => emptyEnd().recvSync(5 as never), "such as { timeout: … }, not 5"],
    [
      "recvSync() with a signal",
      () => emptyEnd().recvSync({ signal: 1 } as never),
      'does not take the option "signal"',
    ],
    ["sendSync() after close()", () => closed.sendSync(1), "after close()"],
    ["toReadableStream() after close()", () => closed.toReadableStream(), "after close()"],
    ["toWritableStream() after close()", () => closed.toWritableStream(), "after close()"],
  ])("%s throws, because the call is synchronous", (_, call, message) => {
    expect(call).toThrow(message);
  });

  test("a wrong address of connect() rejects and does not throw", async () => {
    let promise: Promise<unknown> | undefined;
    expect(() => (promise = connect(7 as never))).not.toThrow();
    await expect(promise).rejects.toThrow(TypeError);
  });

  test("accept() on a closed listener rejects and does not throw, and its iterator ends", async () => {
    const listener = newListener();
    listener.close();
    let promise: Promise<unknown> | undefined;
    expect(() => (promise = listener.accept())).not.toThrow();
    await expect(promise).rejects.toThrow("after close()");
    expect(await listener[Symbol.asyncIterator]().next()).toEqual({ done: true, value: undefined });
  });
});

test("connections and listeners have no internal members with string names", () => {
  for (const object of [pipe()[0], newListener()])
    for (let at: object = object; at !== Object.prototype; at = Object.getPrototypeOf(at))
      expect(Object.getOwnPropertyNames(at).filter((name) => /^multiproc|^[_#]/.test(name))).toEqual([]);
});
