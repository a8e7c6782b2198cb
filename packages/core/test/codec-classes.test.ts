import { runInNewContext } from "node:vm";
import { HANDLE } from "@multiproc/core/internal";
import { describe, expect, test } from "vitest";
import { ByteWriter } from "../src/bytes/byte-writer.ts";
import { Decoder } from "../src/codec/decode/decoder.ts";
import { Encoder } from "../src/codec/encode/encoder.ts";
import { ProtocolError, TargetError } from "../src/errors.ts";
import { registry } from "../src/registry.ts";
import { registerReviver, type SharedHandle } from "../src/targets/shareable.ts";
import { fromModule, inline, registerClass, task } from "../src/targets/target.ts";
import { difference, receive, send, trip } from "./fixtures/codec.ts";

const onNode = !("Deno" in globalThis);
const HERE = "file:///test/codec-classes.js";

function expectClone(value: unknown): void {
  expect(difference(trip(value), structuredClone(value))).toBe(undefined);
}

describe("builtin classes", () => {
  test("Map, Set, Date, RegExp and boxed primitives arrive as in structured clone", () => {
    expectClone(
      new Map<unknown, unknown>([
        ["b", 1],
        ["a", { x: 1 }],
        [Number.NaN, -0],
        [[1], new Map()],
      ]),
    );
    expectClone(new Set<unknown>(["b", "a", Number.NaN, 0, [1], new Set([1])]));
    for (const time of [0, -1, 1.5e12, 8.64e15, Number.NaN]) expectClone(new Date(time));
    for (const pattern of [/a+/, /[/]\n/dgimsuy, /(?:)/, /\u{1F600}/u]) expectClone(pattern);
    for (const value of [0, -0, Number.NaN, "", "text", true, false, 7n, 2n ** 70n]) expectClone(Object(value));
    const stateful = /x/g;
    stateful.lastIndex = 5;
    expect(trip(stateful).lastIndex).toBe(0);
  });

  test("a URL arrives as a URL", () => {
    const url = new URL("https://user@example.org:8080/ä?q=1#h");
    const arrived = trip({ url, same: url });
    expect(arrived.url).toBeInstanceOf(URL);
    expect(arrived.url.href).toBe(url.href);
    expect(arrived.same).toBe(arrived.url);
  });

  test("an instance of a class that extends a builtin class arrives as the builtin class", () => {
    class Registry extends Map<string, number> {
      extra = 1;
      override get size(): number {
        return 99;
      }
      override *[Symbol.iterator](): MapIterator<[string, number]> {
        yield ["wrong", 0];
      }
      override get [Symbol.toStringTag](): string {
        return "Registry";
      }
    }
    class List extends Array<number> {}
    expect(difference(trip(new Registry([["a", 1]])), new Map([["a", 1]]))).toBe(undefined);
    expect(difference(trip(List.of(1, 2)), [1, 2])).toBe(undefined);
    expect(difference(trip(new (class Bytes extends Uint8Array {})([1, 2])), new Uint8Array([1, 2]))).toBe(undefined);
  });

  test("builtin objects of other realms arrive as objects of this realm", () => {
    const foreign = runInNewContext(
      "({ map: new Map([[1, 2]]), set: new Set([1]), date: new Date(5), re: /x/g, list: [1], box: Object(1), bytes: new Uint16Array([1, 2]), buffer: new Uint8Array([3]).buffer, view: new DataView(new ArrayBuffer(2)) })",
    );
    const here = {
      map: new Map([[1, 2]]),
      set: new Set([1]),
      date: new Date(5),
      re: /x/g,
      list: [1],
      box: Object(1),
      bytes: new Uint16Array([1, 2]),
      buffer: new Uint8Array([3]).buffer,
      view: new DataView(new ArrayBuffer(2)),
    };
    expect(difference(trip(foreign), here)).toBe(undefined);
  });

  test("an object that only looks like a builtin object arrives as a plain object", () => {
    for (const prototype of [
      Map.prototype,
      Set.prototype,
      Date.prototype,
      Number.prototype,
      URL.prototype,
      ArrayBuffer.prototype,
      Uint8Array.prototype,
      Array.prototype,
    ]) {
      const fake = Object.assign(Object.create(prototype) as object, { a: 1 });
      expect(difference(trip(fake), { a: 1 })).toBe(undefined);
      // The second time, the encoder knows the writer for the prototype.
      expect(difference(trip(fake), { a: 1 })).toBe(undefined);
    }
    expect(
      difference(
        trip({
          a: 1,
          get [Symbol.toStringTag]() {
            return "Map";
          },
        }),
        { a: 1 },
      ),
    ).toBe(undefined);
  });
});

describe("binary data", () => {
  const sizes = [0, 1, 7, 100, 65528, 65536, 200_000];
  const kinds = [
    Int8Array,
    Uint8Array,
    Uint8ClampedArray,
    Int16Array,
    Uint16Array,
    Int32Array,
    Uint32Array,
    Float32Array,
    Float64Array,
    BigInt64Array,
    BigUint64Array,
  ];
  const float16Array = (globalThis as { Float16Array?: typeof Float32Array }).Float16Array;
  const all = float16Array === undefined ? kinds : [...kinds, float16Array];
  test.each(all.map((kind) => [kind.name, kind] as const))("a %s arrives as itself", (_, kind) => {
    for (const size of sizes) {
      const bytes = Uint8Array.from({ length: size - (size % kind.BYTES_PER_ELEMENT) + 8 }, (_, i) => (i * 7) % 120);
      expectClone(new kind(bytes.buffer.slice(8)));
      const part = new kind(bytes.buffer, 8);
      expect(difference(trip(part), new kind(part as never))).toBe(undefined);
    }
  });

  test("ArrayBuffer, DataView and resizable buffers arrive as themselves", () => {
    for (const size of sizes) {
      const bytes = Uint8Array.from({ length: size }, (_, i) => i);
      expectClone(bytes.buffer);
      expectClone(new DataView(bytes.buffer));
      const resizable = new (ArrayBuffer as unknown as new (n: number, o: object) => ArrayBuffer)(size, {
        maxByteLength: size + 10,
      });
      new Uint8Array(resizable).set(bytes);
      expectClone(resizable);
    }
  });

  test.runIf(onNode)("a Buffer arrives as a Buffer on Node, small or large", () => {
    for (const size of [0, 5, 100_000]) {
      const arrived = trip(Buffer.alloc(size, "x"));
      expect(Buffer.isBuffer(arrived)).toBe(true);
      expect(arrived.equals(Buffer.alloc(size, "x"))).toBe(true);
    }
  });

  test("a view sends its own bytes, not those of the whole buffer", () => {
    const view = new Uint8Array(1_000_000).subarray(10, 14);
    const { start, end, parts } = send(view);
    expect(end - start).toBe(8);
    expect(parts).toStrictEqual([]);
    expect(trip(view).buffer.byteLength).toBe(4);
  });

  test("binary data from 64 KiB on travels in parts, without a copy on either side", () => {
    const encoder = new Encoder();
    const writer = new ByteWriter();
    const small = new Uint8Array(65535);
    const large = new Float64Array(10_000).fill(1.5).subarray(1000);
    encoder.encode({ small, large, again: large, raw: new Uint8Array(65536).buffer }, writer);
    expect(writer.position).toBeLessThan(65535 + 100);
    expect(encoder.parts.map((part) => part.byteLength)).toStrictEqual([72_000, 65_536]);
    expect(encoder.parts[0]?.buffer).toBe(large.buffer);
    expect(encoder.parts[0]?.byteOffset).toBe(8000);
    const parts = encoder.parts.map((part) => part.slice());
    const arrived = new Decoder().decode(writer.bytes, 0, writer.position, parts) as {
      large: Float64Array;
      again: unknown;
      raw: ArrayBuffer;
    };
    expect(arrived.large.buffer).toBe(parts[0]?.buffer);
    expect(arrived.raw).toBe(parts[1]?.buffer);
    expect(arrived.again).toBe(arrived.large);
    expect(arrived.large[8999]).toBe(1.5);
    encoder.encode(1, writer);
    expect(encoder.parts).toStrictEqual([]);
  });

  test("a part that does not fill its memory, or is a Buffer, arrives as its own class", () => {
    const message = send(new Uint8Array(70_000).fill(3));
    const padded = new Uint8Array(70_100).fill(3).subarray(50, 70_050);
    for (const part of onNode ? [padded, Buffer.alloc(70_000, 3)] : [padded]) {
      const arrived = new Decoder().decode(message.bytes, message.start, message.end, [part]) as Uint8Array;
      expect(arrived.constructor).toBe(Uint8Array);
      expect([arrived.byteLength, arrived.buffer.byteLength, arrived[69_999]]).toStrictEqual([70_000, 70_000, 3]);
    }
  });
});

describe("registered classes", () => {
  class Point {
    static made = 0;
    x: number;
    y: unknown;
    #secret = 1;
    constructor(x: number, y: unknown) {
      Point.made++;
      this.x = x;
      this.y = y;
    }
    get sum(): number {
      return this.x + this.#secret;
    }
    set z(_: unknown) {
      throw new Error("a setter was called");
    }
  }
  class Ledger extends Map<string, number> {
    total = 0;
  }
  class Stack extends Array<number> {}
  registerClass(HERE, Point);
  registerClass(HERE, Ledger);
  registerClass(HERE, Stack);

  test("an instance of a registered class arrives as one, without a call of its constructor", () => {
    const encoder = new Encoder({ shapes: "dictionary" });
    const decoder = new Decoder();
    const point = new Point(1, null);
    point.y = { back: point, list: [point] };
    const made = Point.made;
    for (let i = 0; i < 3; i++) {
      const arrived = receive(send(point, encoder), decoder) as Point;
      expect(difference(arrived, point)).toBe(undefined);
      expect(encoder.modules).toStrictEqual([HERE]);
    }
    expect(Point.made).toBe(made);
  });

  test("an own property does not call a setter of the class", () => {
    const make = (): Point =>
      Object.defineProperty(new Point(1, 2), "z", { value: 3, enumerable: true, writable: true, configurable: true });
    const points = [make(), make(), make()];
    expect(difference(trip(points), points)).toBe(undefined);
  });

  test("instances of registered classes that extend builtin classes arrive with contents and fields", () => {
    const ledger = new Ledger([["a", 1]]);
    ledger.total = 1;
    const arrived = trip({ ledger, stack: Stack.from([1, 2, 3]), again: ledger });
    expect(difference(arrived, { ledger, stack: Stack.from([1, 2, 3]), again: ledger })).toBe(undefined);
    expect(arrived.ledger.get("a")).toBe(1);
  });

  test("an instance with Symbol.dispose can be sent only if its class is registered", () => {
    class Disposable {
      id = 1;
      [Symbol.dispose](): void {}
    }
    expect(() => send(new Disposable())).toThrow("a Disposable, which holds a resource of this process");
    registerClass(HERE, Disposable);
    expect(difference(trip(new Disposable()), new Disposable())).toBe(undefined);
  });

  test("an error names the class that the receiver lacks, and later messages can be read", () => {
    class Gone {
      x = { a: 1 };
    }
    registerClass(HERE, Gone);
    const encoder = new Encoder({ shapes: "dictionary" });
    const decoder = new Decoder();
    const messages = [1, 2, 3].map(() => send([new Gone(), { late: 1 }], encoder));
    registry.classes.delete(`${HERE}#Gone`);
    const text = `Class "Gone" is not registered by module "${HERE}": call registerClass(import.meta.url, Gone) there`;
    for (const message of messages) expect(() => receive(message, decoder)).toThrow(new TargetError(text));
    expect(receive(send({ late: 2 }, encoder), decoder)).toStrictEqual({ late: 2 });
  });
});

describe("functions", () => {
  const square = task(HERE, function square(x: number) {
    return x * x;
  });

  test("a task arrives as the function that the receiver's module exports", () => {
    const theirs = (): string => "theirs";
    registry.modules.set(HERE, { square: theirs });
    const encoder = new Encoder({ shapes: "dictionary" });
    const decoder = new Decoder();
    for (let i = 0; i < 3; i++) {
      const arrived = receive(send([square, { square }], encoder), decoder) as [unknown, { square: unknown }];
      expect(arrived).toStrictEqual([theirs, { square: theirs }]);
      expect(encoder.modules).toStrictEqual([HERE]);
    }
    expect(trip(square)).toBe(theirs);
    registry.modules.delete(HERE);
  });

  test("a message lists each module once, and messages with one module share a list", () => {
    const { join } = fromModule<{ join(): void }>("node:path");
    const encoder = new Encoder();
    const writer = new ByteWriter();
    encoder.encode([square, join, square], writer);
    expect(encoder.modules).toStrictEqual([HERE, "node:path"]);
    encoder.encode(1, writer);
    expect(encoder.modules).toStrictEqual([]);
    encoder.encode(square, writer);
    const list = encoder.modules;
    encoder.encode(square, writer);
    expect(encoder.modules).toBe(list);
  });

  test("an error names the function that the receiver lacks, and later messages can be read", () => {
    const encoder = new Encoder({ shapes: "dictionary" });
    const decoder = new Decoder();
    const revived: unknown[] = [];
    registerReviver("test.late", (data) => {
      revived.push(data);
      return {};
    });
    class Late {
      [HANDLE](): SharedHandle {
        return { kind: "test.late", module: HERE, data: 1 };
      }
    }
    const message = send([square, { a: 1 }, { a: 1 }, new Late()], encoder);
    expect(() => receive(message, decoder)).toThrow(new TargetError(`Module "${HERE}" has not been loaded`));
    expect(revived).toStrictEqual([]);
    registry.modules.set(HERE, {});
    expect(() => receive(send([square], encoder), decoder)).toThrow(
      new TargetError(`Module "${HERE}" has no export "square"`),
    );
    registry.modules.delete(HERE);
    expect(receive(send({ a: 2 }, encoder), decoder)).toStrictEqual({ a: 2 });
  });

  test("an inline function arrives with its captured values, and keeps its identity", () => {
    const k = { deep: [3] };
    const triple = inline((x: number) => x * (k.deep[0] as number), { k, square: inline((x: number) => x * x) });
    const arrived = trip({ triple, same: triple });
    expect(arrived.triple(14)).toBe(42);
    expect(arrived.same).toBe(arrived.triple);
    expect(arrived.triple).not.toBe(triple);
    // The receiver can send the function to another process.
    expect(trip(arrived.triple)(2)).toBe(6);
  });
});

describe("shareable objects", () => {
  class Handle {
    readonly log: unknown[];
    readonly data: unknown;
    constructor(log: unknown[], data: unknown) {
      this.log = log;
      this.data = data;
    }
    [HANDLE](): SharedHandle {
      this.log.push("handle");
      return { kind: "test.Handle", module: HERE, data: this.data, commit: (scope) => this.log.push(scope) };
    }
    async [Symbol.asyncDispose](): Promise<void> {}
  }
  class Remote {
    readonly data: unknown;
    constructor(data: unknown) {
      this.data = data;
    }
  }
  registerReviver("test.Handle", (data) => new Remote(data));

  test("a shareable object creates one handle for each message, arrives as one object, and commits when the message leaves", () => {
    const log: unknown[] = [];
    const inner = new Handle(log, [1, { a: 2 }]);
    const handle = new Handle(log, { inner, list: new Set([3]) });
    const encoder = new Encoder();
    const arrived = receive(send({ handle, list: [handle, inner] }, encoder)) as { handle: Remote; list: Remote[] };
    expect(arrived.handle).toBeInstanceOf(Remote);
    expect(arrived.list[0]).toBe(arrived.handle);
    expect(arrived.list[1]).toBe((arrived.handle.data as { inner: Remote }).inner);
    expect(difference(arrived.list[1]?.data, [1, { a: 2 }])).toBe(undefined);
    expect(encoder.modules).toStrictEqual([HERE]);
    expect(log).toStrictEqual(["handle", "handle"]);
    const scope = { onEnd: () => {} };
    encoder.commit(scope);
    expect(log).toStrictEqual(["handle", "handle", scope, scope]);
    encoder.commit();
    expect(log.length).toBe(4);
  });

  test("a message that failed, or that another message has replaced, commits nothing", () => {
    const log: unknown[] = [];
    const encoder = new Encoder();
    const writer = new ByteWriter();
    expect(() => encoder.encode([new Handle(log, 1), () => 1], writer)).toThrow(
      "Cannot send value at value[1]: a function",
    );
    encoder.commit();
    encoder.encode([new Handle(log, 1)], writer);
    encoder.encode(1, writer);
    encoder.commit();
    expect(log).toStrictEqual(["handle", "handle"]);
  });

  test("decode() throws if a kind has no reviver, and throws the error of a reviver", () => {
    const unknown = send(new Handle([], 1));
    const revive = registry.revivers.get("test.Handle") as (data: unknown) => object;
    registry.revivers.delete("test.Handle");
    expect(() => receive(unknown)).toThrow(
      new ProtocolError('Cannot rebuild a "test.Handle": its module is not loaded in this process'),
    );
    const failure = new Error("no more handles");
    registerReviver("test.Handle", () => {
      throw failure;
    });
    const message = send([new Handle([], 1)]);
    let thrown: unknown;
    try {
      receive(message);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBe(failure);
    registerReviver("test.Handle", revive);
  });

  test("an object that cannot be rebuilt and occurs twice fails its message, and no later one", () => {
    const revive = registry.revivers.get("test.Handle") as (data: unknown) => object;
    const failure = new Error("no more handles");
    registerReviver("test.Handle", () => {
      throw failure;
    });
    const [encoder, decoder] = [new Encoder(), new Decoder()];
    const pass = (value: unknown): unknown => {
      const message = send(value, encoder);
      encoder.commit();
      return receive(message, decoder);
    };
    const handle = new Handle([], 1);
    expect(() => pass([handle, handle, { later: 1 }])).toThrow(failure);
    registerReviver("test.Handle", revive);
    expect(pass({ later: 2 })).toStrictEqual({ later: 2 });
  });

  test("a reviver may decode a message with the same decoder", () => {
    const stored = send({ a: [1, 2] });
    const decoder = new Decoder();
    registerReviver("test.nested", () => receive(stored, decoder) as object);
    class Nested {
      [HANDLE](): SharedHandle {
        return { kind: "test.nested", module: HERE, data: 1 };
      }
    }
    expect(receive(send([new Nested(), { b: 1 }, 7]), decoder)).toStrictEqual([{ a: [1, 2] }, { b: 1 }, 7]);
  });
});
