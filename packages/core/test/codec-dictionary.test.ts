import { describe, expect, test } from "vitest";
import { ByteWriter } from "../src/bytes/byte-writer.ts";
import { Decoder } from "../src/codec/decode/decoder.ts";
import { Encoder } from "../src/codec/encode/encoder.ts";
import { ProtocolError } from "../src/errors.ts";
import { registry } from "../src/registry.ts";
import { registerClass, task } from "../src/targets/target.ts";
import { difference, hex, type Message, receive, send } from "./fixtures/codec.ts";

const HERE = "file:///test/codec-dictionary.js";

function sizeOf({ start, end }: Message): number {
  return end - start;
}

describe("a dictionary", () => {
  test("a dictionary defines keys in their second message, and later messages refer to them", () => {
    const encoder = new Encoder({ shapes: "dictionary" });
    const decoder = new Decoder();
    const messages = [1, 2, 3, 4].map((id) => send({ id, name: "x", long_key_of_many_letters: id }, encoder));
    expect(messages.map(sizeOf)).toStrictEqual([40, 45, 6, 6]);
    for (const [i, message] of messages.entries()) {
      expect(receive(message, decoder)).toStrictEqual({ id: i + 1, name: "x", long_key_of_many_letters: i + 1 });
    }
  });

  test("a dictionary distinguishes keys by their order and number", () => {
    const encoder = new Encoder({ shapes: "dictionary" });
    const decoder = new Decoder();
    const values = [
      { a: 1, b: 2 },
      { b: 1, a: 2 },
      { a: 1 },
      { a: 1, b: 2, c: 3 },
      {},
      { b: 1 },
      { A: 1 },
      { a: { a: { a: 1, b: 2 } } },
    ];
    for (let i = 0; i < 5; i++) {
      for (const value of values) {
        const arrived = receive(send(value, encoder), decoder) as object;
        expect(difference(arrived, value)).toBe(undefined);
      }
    }
  });

  test("a failed or discarded message leaves the dictionary unchanged", () => {
    const encoder = new Encoder({ shapes: "dictionary" });
    const decoder = new Decoder();
    const twin = new Encoder({ shapes: "dictionary" });
    const both = (value: unknown): void => {
      const message = send(value, encoder);
      expect(hex(message)).toBe(hex(send(value, twin)));
      expect(difference(receive(message, decoder), value)).toBe(undefined);
    };
    const fn = task(HERE, () => 1, "fn");
    registry.modules.set(HERE, { fn });
    both([{ a: 1 }, { b: 2 }]);
    both([{ a: 1 }]);
    // Both encoders have then written all these shapes once, and define them at the next occurrence.
    const last = { c: { a: 1 }, d: [{ b: 2 }] };
    send([last, last.c, last.d[0]], twin);
    receive(send([last, last.c, last.d[0]], encoder), decoder);
    expect(() => send([last, { b: 3 }, fn, () => 1], encoder)).toThrow("value[3]");
    send([last, { b: 3 }, fn], encoder);
    encoder.discard();
    both([{ b: 3 }, last, fn]);
    both([last, { b: 3 }, { c: 1 }, fn]);
    registry.modules.delete(HERE);
  });

  test("a new encoder resets the decoder's dictionary", () => {
    const decoder = new Decoder();
    for (let i = 0; i < 3; i++) {
      const encoder = new Encoder({ shapes: "dictionary" });
      for (let j = 0; j < 4; j++)
        expect(receive(send({ [`key${i}`]: j }, encoder), decoder)).toStrictEqual({ [`key${i}`]: j });
    }
  });

  test("self-contained messages in between leave the dictionary unchanged", () => {
    const encoder = new Encoder({ shapes: "dictionary" });
    const alone = new Encoder();
    const decoder = new Decoder();
    for (let i = 0; i < 6; i++) {
      expect(receive(send([{ a: i }, { x: i }], encoder), decoder)).toStrictEqual([{ a: i }, { x: i }]);
      expect(receive(send([{ x: i }, { y: i }, { x: i }], alone), decoder)).toStrictEqual([
        { x: i },
        { y: i },
        { x: i },
      ]);
    }
  });

  test("a dictionary contains classes and functions", () => {
    class Row {
      id = 1;
      name = "n";
    }
    registerClass(HERE, Row);
    const fn = task(HERE, () => 1, "fn");
    const other = task(HERE, () => 2, "other");
    registry.modules.set(HERE, { fn, other });
    const encoder = new Encoder({ shapes: "dictionary" });
    const decoder = new Decoder();
    const value = [new Row(), fn, other, fn];
    const messages = [1, 2, 3].map(() => send(value, encoder));
    for (const message of messages) expect(difference(receive(message, decoder), value)).toBe(undefined);
    expect(messages.map(sizeOf)[2]).toBe(9);
    registry.modules.delete(HERE);
  });

  test("a dictionary is bounded: objects that serve as maps, and shapes beyond 4096, are sent with their keys", () => {
    const encoder = new Encoder({ shapes: "dictionary" });
    const decoder = new Decoder();
    const trip = (value: unknown): number => {
      const message = send(value, encoder);
      expect(receive({ ...message, bytes: message.bytes.slice() }, decoder)).toStrictEqual(value);
      return sizeOf(message);
    };
    const row = { row: 1, cells: 2 };
    for (let i = 0; i < 3; i++) trip(row);
    // More shapes that occur once than the trie has nodes.
    for (let i = 0; i < 40_000; i++) send({ [`once${i}`]: i }, encoder);
    expect(trip(row)).toBe(4);
    expect(trip({ late: 1 })).toBe(9);
    expect(trip({ late: 1 })).toBe(14);
    expect(trip({ late: 1 })).toBe(3);
    // More shapes that occur again than the dictionary has entries.
    for (let i = 0; i < 5000; i++) {
      const value = { [`many${i}`]: 1 };
      trip(value);
      trip(value);
    }
    expect(trip({ many0: 1 })).toBe(3);
    expect(trip({ many3000: 1 })).toBe(5);
    expect(trip({ many4999: 1 })).toBe(13);
    expect(trip({ many4999: 1 })).toBe(13);
    expect(trip(row)).toBe(4);
  });

  test("a dictionary does not contain objects with more than 64 keys or very long keys", () => {
    const encoder = new Encoder({ shapes: "dictionary" });
    const decoder = new Decoder();
    const many = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, i]));
    const most = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`k${i}`, i]));
    const long = { ["l".repeat(3000)]: 1 };
    for (const [value, isNamed] of [
      [many, false],
      [most, true],
      [long, false],
    ] as const) {
      const sizes = [1, 2, 3].map(() => {
        const message = send(value, encoder);
        const size = sizeOf(message);
        expect(receive(message, decoder)).toStrictEqual(value);
        return size;
      });
      expect((sizes[2] as number) < 80).toBe(isNamed);
    }
  });
});

describe("self-contained messages", () => {
  test("any decoder reads self-contained messages in any order", () => {
    const encoder = new Encoder();
    const values = Array.from({ length: 200 }, (_, i) => ({
      id: i,
      [`key${i % 7}`]: [{ x: i }, { x: i + 1 }, { y: { x: 1 } }],
    }));
    const messages = values.map((value) => send(value, encoder));
    const decoders = [new Decoder(), new Decoder(), new Decoder()];
    for (let i = 0; i < 400; i++) {
      const at = (i * 37) % 200;
      const message = messages[at] as Message;
      const arrived = receive({ ...message, bytes: message.bytes.slice() }, decoders[i % 3]);
      expect(arrived).toStrictEqual(values[at]);
    }
  });

  test("a self-contained message defines each shape once", () => {
    const rows = Array.from({ length: 100 }, (_, i) => ({ identifier: i % 100, description: i % 100 }));
    const encoder = new Encoder();
    send(rows, encoder);
    const message = send(rows, encoder);
    expect(sizeOf(message)).toBeLessThan(3 * 100 + 60);
    expect(receive(message)).toStrictEqual(rows);
  });
});

describe("a decoder", () => {
  test("a decoder rejects a reference to a definition that it has not read", () => {
    const encoder = new Encoder({ shapes: "dictionary" });
    for (let i = 0; i < 2; i++) send({ a: i }, encoder);
    const message = send({ a: 1 }, encoder);
    expect(() => receive(message, new Decoder())).toThrow(
      new ProtocolError("Malformed message: dictionary entry 0 is not defined"),
    );
  });

  test("a decoder builds objects of every number of keys, before and after their shape gets a builder", () => {
    const encoder = new Encoder({ shapes: "dictionary" });
    const decoder = new Decoder();
    for (let size = 0; size < 12; size++) {
      for (let i = 0; i < 130; i++) {
        const object: Record<string, unknown> = Object.fromEntries(
          Array.from({ length: size }, (_, k) => [`s${size}k${k}`, i * 1000 + k]),
        );
        const value = i % 3 === 0 ? [object, object] : object;
        if (i % 3 === 1 && size > 0) object[`s${size}k0`] = object;
        expect(difference(receive(send(value, encoder), decoder), value)).toBe(undefined);
      }
    }
  });
});

test("a ByteWriter keeps its contents when it grows", () => {
  const writer = new ByteWriter(4);
  const encoder = new Encoder();
  const ends: number[] = [];
  for (let i = 0; i < 200; i++) {
    encoder.encode({ i, text: "x".repeat(i) }, writer);
    ends.push(writer.position);
  }
  const decoder = new Decoder();
  for (const [i, end] of ends.entries()) {
    expect(decoder.decode(writer.bytes, ends[i - 1] ?? 0, end, [])).toStrictEqual({ i, text: "x".repeat(i) });
  }
});
