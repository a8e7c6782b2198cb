import { HANDLE } from "@multiproc/core/internal";
import { describe, expect, test } from "vitest";
import { ByteWriter } from "../src/bytes/byte-writer.ts";
import { Decoder } from "../src/codec/decode/decoder.ts";
import { Encoder } from "../src/codec/encode/encoder.ts";
import { SendError } from "../src/errors.ts";
import { inline } from "../src/targets/target.ts";
import { hex, send } from "./fixtures/codec.ts";

const onNode = !("Deno" in globalThis);
const HOW = "export it as task(import.meta.url, …), or wrap a small one as inline(…)";

/** Returns the error of a value that cannot be sent. */
function sendErrorOf(value: unknown, root?: string | readonly string[]): SendError {
  try {
    new Encoder().encode(value, new ByteWriter(), root);
  } catch (error) {
    if (error instanceof SendError) return error;
    throw error;
  }
  throw new Error("the encoder accepted the value");
}

describe("a value that cannot be sent", () => {
  function* generate(): Generator<number> {
    yield 1;
  }
  class Resource {
    async [Symbol.asyncDispose](): Promise<void> {}
  }
  class Held {
    [Symbol.dispose](): void {}
  }
  const unsendable: [unknown, string][] = [
    [
      (
        () => () =>
          1
      )(),
      `a function without a module reference: ${HOW}`,
    ],
    [function named() {}, `a function without a module reference ("named"): ${HOW}`],
    [class Named {}, `a function without a module reference ("Named"): ${HOW}`],
    [Math.max, `a function without a module reference ("max"): ${HOW}`],
    [Symbol("mine"), "a symbol (Symbol(mine))"],
    [Object(Symbol("mine")), "a Symbol"],
    [Promise.resolve(), "a Promise: await it first"],
    [new WeakMap(), "a WeakMap"],
    [new WeakSet(), "a WeakSet"],
    [new WeakRef({}), "a WeakRef"],
    [new FinalizationRegistry(() => {}), "a FinalizationRegistry"],
    [generate(), "a Generator"],
    [(async function* () {})(), "an AsyncGenerator"],
    [[1][Symbol.iterator](), "an Array Iterator"],
    [new Map().entries(), "a Map Iterator"],
    ["x"[Symbol.iterator](), "a String Iterator"],
    ["x".matchAll(/x/g), "a RegExp String Iterator"],
    [new SharedArrayBuffer(8), "a SharedArrayBuffer: use SharedMemory"],
    [new Uint8Array(new SharedArrayBuffer(8)), "a view of a SharedArrayBuffer: use SharedMemory"],
    [new ReadableStream(), "a ReadableStream"],
    [new AbortController(), "an AbortController"],
    [new AbortController().signal, "an AbortSignal"],
    [new MessageChannel().port1, "a MessagePort"],
    [new Blob([]), "a Blob"],
    [new Headers(), "a Headers"],
    [new URLSearchParams("a=1"), "an URLSearchParams"],
    [new Event("x"), "an Event"],
    [new EventTarget(), "an EventTarget"],
    [new Intl.NumberFormat(), "an Intl.NumberFormat"],
    [process, "a process"],
    [new Resource(), "a Resource, which holds a resource of this process"],
    [new Held(), "a Held, which holds a resource of this process"],
  ];
  test.each(unsendable.map(([value, words]) => ({ words, value })))(
    "the encoder rejects $words",
    ({ value, words }) => {
      expect(sendErrorOf(value).message).toBe(`Cannot send value at value: ${words}`);
      expect(sendErrorOf([1, value], "args").message).toBe(`Cannot send value at args[1]: ${words}`);
      expect(sendErrorOf(value).code).toBe("ERR_SEND");
    },
  );

  test("the encoder rejects a module", async () => {
    expect(sendErrorOf(await import("./fixtures/codec.ts")).message).toBe("Cannot send value at value: a module");
  });

  test("the encoder rejects a detached buffer", () => {
    const view = new Uint8Array(8);
    structuredClone(view.buffer, { transfer: [view.buffer] });
    expect(sendErrorOf(view).message).toBe("Cannot send value at value: a detached ArrayBuffer");
    expect(sendErrorOf({ b: view.buffer }).message).toBe("Cannot send value at value.b: a detached ArrayBuffer");
  });

  const bad = Symbol("bad");
  const nested: [unknown, string][] = [
    [{ args: [{ handler: bad }] }, "value.args[0].handler"],
    [[[1], [[2, bad]]], "value[1][0][1]"],
    [{ "weird key": { "": { "1": { $ok_1: { é: { "a-b": bad } } } } } }, 'value["weird key"][""]["1"].$ok_1.é["a-b"]'],
    [new Map([["key", { x: bad }]]), 'value.get("key").x'],
    [new Map([[1, bad]]), "value.get(1)"],
    [new Map([[{ a: 1 }, bad]]), "value.get(Object)"],
    [new Map([[1, 2], [[bad], 3] as never]), "value.keys()[1][0]"],
    [new Set([1, { x: bad }]), "value.values()[1].x"],
    [Object.assign([1], { extra: bad }), "value.extra"],
    [[, , bad], "value[2]"],
    [Array.from({ length: 20 }, (_, i) => (i === 17 ? bad : "x")), "value[17]"],
    [Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`k${i}`, i === 99 ? bad : i])), "value.k99"],
    [inline(() => 1, { list: [bad] }), "value.captured.list[0]"],
    [
      new (class Box {
        inside = bad;
      })(),
      "value.inside",
    ],
  ];
  test.each(nested.map(([value, path]) => ({ path, value })))("the error has the path $path", ({ value, path }) => {
    const error = sendErrorOf(value);
    expect(error.path).toBe(path);
    expect(error.message).toBe(`Cannot send value at ${path}: a symbol (Symbol(bad))`);
    // The second and third time, the shapes are in the dictionary.
    const encoder = new Encoder({ shapes: "dictionary" });
    for (let i = 0; i < 3; i++) expect(() => encoder.encode(value, new ByteWriter())).toThrow(error.message);
  });

  test("a path contains the names of a tuple's elements", () => {
    const names = ["id", "fn", "args"];
    expect(sendErrorOf([1, 2, [{ handler: bad }]], names).path).toBe("args[0].handler");
    expect(sendErrorOf([bad, 2, 3], names).path).toBe("id");
    expect(hex(send([1, 2, [3]], new Encoder(), names))).toBe(hex(send([1, 2, [3]])));
  });

  test("the error that a getter, a proxy or a handle throws is the cause", () => {
    const thrown = new RangeError("boom");
    const fail = (): never => {
      throw thrown;
    };
    const getter = {
      a: {
        get b() {
          return fail();
        },
      },
    };
    const proxy = { a: new Proxy({}, { ownKeys: fail }) };
    class Live {
      [HANDLE](): never {
        return fail();
      }
    }
    for (const [value, path] of [
      [getter, "value.a.b"],
      [proxy, "value.a"],
      [[new Live()], "value[0]"],
    ] as const) {
      const error = sendErrorOf(value);
      expect(error.message).toBe(`Cannot send value at ${path}: a value that cannot be read (RangeError: boom)`);
      expect(error.cause).toBe(thrown);
    }
    const { proxy: revoked, revoke } = Proxy.revocable({}, {});
    revoke();
    expect(sendErrorOf([revoked]).path).toBe("value[0]");
  });

  test("the encoder accepts 500 levels of nesting and rejects 501", () => {
    const nest = (wrap: (inner: unknown) => unknown, depth: number): unknown => {
      let value: unknown = 1;
      for (let i = 0; i < depth; i++) value = wrap(value);
      return value;
    };
    const wraps = [
      (inner: unknown) => [inner],
      (inner: unknown) => ({ inner }),
      (inner: unknown) => new Map([[1, inner]]),
      (inner: unknown) => new Set([inner]),
    ];
    for (const wrap of wraps) {
      expect(() => send(nest(wrap, 500))).not.toThrow();
      for (const depth of [501, 100_000])
        expect(sendErrorOf(nest(wrap, depth), "args").message).toBe(
          "Cannot send value at args: it is nested more than 500 levels deep",
        );
    }
  });

  test("the encoder rejects a value that never ends", () => {
    const endless = {
      get next(): unknown {
        return Object.create(null, Object.getOwnPropertyDescriptors(endless));
      },
    };
    expect(sendErrorOf(endless).message).toBe("Cannot send value at value: it is nested more than 500 levels deep");
  });

  test("the encoder rejects an object that changes while it is read", () => {
    const growing: Record<string, unknown> = {
      get a() {
        growing.c = 1;
        delete growing.b;
        return 1;
      },
      b: 1,
      z: 2,
    };
    const map = new Map<string, unknown>();
    map.set("a", {
      get x() {
        map.set(`b${map.size}`, 1);
        return 1;
      },
    });
    const set = new Set<unknown>([
      {
        get x() {
          set.add(1);
          return 1;
        },
      },
    ]);
    expect(sendErrorOf(map).message).toBe("Cannot send value at value: a Map that changed while it was read");
    expect(sendErrorOf(set).message).toBe("Cannot send value at value: a Set that changed while it was read");
    const encoder = new Encoder();
    const make = (): Record<string, unknown> => {
      const object: Record<string, unknown> = { a: 1, b: 2 };
      return Object.defineProperty(object, "a", {
        enumerable: true,
        configurable: true,
        get: () => delete object.b,
      });
    };
    encoder.encode(make(), new ByteWriter());
    expect(() => encoder.encode(make(), new ByteWriter())).toThrow(
      "Cannot send value at value: an object that changed while it was read",
    );
    expect(() => send(growing)).not.toThrow();
  });

  test("a getter that uses the same encoder is rejected, and the encoder still works", () => {
    const encoder = new Encoder({ shapes: "dictionary" });
    const writer = new ByteWriter();
    const value = {
      get again() {
        encoder.encode(1, new ByteWriter());
        return 1;
      },
    };
    expect(() => encoder.encode(value, writer)).toThrow(
      "another value is being sent on the same channel: do not send from a getter",
    );
    expect(writer.position).toBe(0);
    encoder.encode({ ok: 1 }, writer);
  });

  test("a message that overflows the stack leaves the other messages intact", () => {
    const encoder = new Encoder({ shapes: "dictionary" });
    const decoder = new Decoder();
    const writer = new ByteWriter(8);
    let failures = 0;
    let round = 0;
    const value = (): unknown => ({
      [`key${round % 50}`]: [{ a: { b: round } }, new Map([[1, { [`c${round % 30}`]: 1 }]])],
    });
    const dive = (): void => {
      try {
        dive();
      } catch {
        // Each caller of the overflowing call encodes a message, with a little more stack.
      }
      if (round++ > 4000) return;
      const before = writer.position;
      try {
        encoder.encode(value(), writer);
        ends.push([value(), writer.position]);
      } catch {
        failures++;
        if (writer.position !== before) throw new Error("a failed message has left bytes behind");
      }
    };
    const ends: [unknown, number][] = [];
    dive();
    expect(failures).toBeGreaterThan(5);
    let start = 0;
    for (const [sent, end] of ends) {
      expect(decoder.decode(writer.bytes, start, end, [])).toStrictEqual(sent);
      start = end;
    }
    expect(ends.length).toBeGreaterThan(100);
  });

  test("the encoder rejects a message for which memory cannot be allocated", () => {
    class Small extends ByteWriter {
      override ensure(n: number): void {
        if (this.position + n > 100) throw new RangeError("Array buffer allocation failed");
        super.ensure(n);
      }
    }
    const encoder = new Encoder();
    expect(() => encoder.encode([1, "x".repeat(200)], new Small(10), "args")).toThrow(
      new SendError("args[1]", "not enough memory for the message"),
    );
    expect(() => encoder.encode(["x"], new Small(10))).not.toThrow();
  });

  test("a message that failed leaves no bytes, parts or modules behind", () => {
    const encoder = new Encoder({ shapes: "dictionary" });
    const writer = new ByteWriter(16);
    encoder.encode({ a: 1 }, writer);
    const before = writer.position;
    const large = new Uint8Array(100_000);
    expect(() => encoder.encode(["x".repeat(100), large, inline(() => 1), bad], writer)).toThrow(SendError);
    expect(writer.position).toBe(before);
    expect(encoder.parts).toStrictEqual([]);
    expect(encoder.modules).toStrictEqual([]);
  });

  test.runIf(onNode)("the encoder rejects Node's streams", async () => {
    const { Readable } = await import("node:stream");
    expect(sendErrorOf(new Readable()).message).toBe(
      "Cannot send value at value: a Readable, which holds a resource of this process",
    );
  });
});
