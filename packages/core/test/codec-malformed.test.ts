/** Tests of the decoder with bytes that no encoder has written. */
import { describe, expect, test } from "vitest";
import { Decoder } from "../src/codec/decode/decoder.ts";
import { Encoder } from "../src/codec/encode/encoder.ts";
import { ProtocolError, TargetError } from "../src/errors.ts";
import { registry } from "../src/registry.ts";
import { registerReviver } from "../src/targets/shareable.ts";
import { task } from "../src/targets/target.ts";
import { type Message, send } from "./fixtures/codec.ts";
import { Random } from "./fixtures/random.ts";

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text.trim().split(/\s+/), (byte) => Number.parseInt(byte, 16));
}

function decode(bytes: Uint8Array, parts: readonly Uint8Array[] = [], decoder: Decoder = new Decoder()): unknown {
  return decoder.decode(bytes, 0, bytes.length, parts);
}

const TRUNCATED = "Malformed message: the bytes end in the middle of a value";
const INVALID_STRINGS = "Malformed message: invalid array of strings";
const INVALID_DEFINITION = "Malformed message: invalid definition";
const INVALID_BIGINT = "Malformed message: invalid big integer";

describe("malformed messages", () => {
  const many = "02 0e ff ff ff ff ff";
  const messages: [string, string, string][] = [
    ["a header without a value", "02", TRUNCATED],
    ["an unknown header", "08 80", "Malformed message: unknown header 0x08"],
    ["an unknown tag", "02 27", "Malformed message: unknown tag 0x27"],
    ["bytes after the value", "02 80 80", "Malformed message: bytes follow the value"],
    ["an unfinished number", "02 07 00 00", ""],
    ["an unfinished int", "02 06 00", ""],
    ["an unfinished text", "02 63 61 61", TRUNCATED],
    ["a text longer than memory", "02 0b ff ff ff ff 61", TRUNCATED],
    ["a UTF-8 text longer than memory", "02 0c ff ff ff ff 61", TRUNCATED],
    ["a UTF-16 text longer than memory", "02 0d ff ff ff ff ff 61", TRUNCATED],
    ["an array longer than memory", many, TRUNCATED],
    ["a short array without elements", "02 33 80", TRUNCATED],
    ["ints longer than memory", "02 12 ff ff ff ff ff 00", TRUNCATED],
    ["doubles longer than memory", "02 13 02 00", TRUNCATED],
    ["strings longer than memory", "02 14 ff ff ff ff ff", TRUNCATED],
    ["a group of no strings", "02 14 01 00 60", INVALID_STRINGS],
    ["a group of too many strings", "02 14 01 02 00 00 60", INVALID_STRINGS],
    ["strings shorter than their text", "02 14 01 01 01 62 61 61", INVALID_STRINGS],
    ["strings longer than their text", "02 14 01 01 05 62 61 61", INVALID_STRINGS],
    ["a Map longer than memory", "02 18 ff ff ff ff ff 80 80", TRUNCATED],
    ["a Set longer than memory", "02 19 fe ff ff 80", TRUNCATED],
    ["properties longer than memory", "02 15 fe ff ff 60 80", TRUNCATED],
    ["a number for a key", "02 15 01 80 80", "Malformed message: expected a string"],
    [
      "a sparse array with an element beyond its end",
      "02 0f 02 01 02 80 00",
      "Malformed message: an array index exceeds the length of the array",
    ],
    ["a reference in a message that announces none", "02 26 00", "Malformed message: invalid reference to object 0"],
    ["a reference to an object that does not exist", "03 31 26 01", "Malformed message: invalid reference to object 1"],
    [
      "a reference to a shareable object whose handle is being read",
      "03 23 61 61 26 00",
      "Malformed message: invalid reference to object 0",
    ],
    ["a dictionary entry without a definition", "02 40", "Malformed message: dictionary entry 0 is not defined"],
    [
      "a long number of an entry without a definition",
      "02 16 00 01",
      "Malformed message: dictionary entry 256 is not defined",
    ],
    ["half the number of a dictionary entry", "02 16 00", "Malformed message: dictionary entry 0 is not defined"],
    ["a definition of an unknown kind", "02 17 00 00 06 00 03 02 61 61 61 61 80", INVALID_DEFINITION],
    ["a definition longer than memory", "02 17 00 00 ff 00 00 00 80", TRUNCATED],
    [
      "a definition above the limit",
      `02 17 00 00 01 08${" 00".repeat(2100)}`,
      "Malformed message: a definition of more than 2048 bytes",
    ],
    ["a definition shorter than its length", "02 17 00 00 05 00 00 01 61 61 80 80", INVALID_DEFINITION],
    ["a definition of too many keys", `02 17 00 00 43 00 00 41${" 60".repeat(65)}`, INVALID_DEFINITION],
    ["a class without a name", "02 17 00 00 04 00 01 01 61 61", INVALID_DEFINITION],
    ["a function with keys", "02 17 00 00 08 00 02 03 61 61 61 61 61 61", INVALID_DEFINITION],
    ["a big integer of letters", "02 09 00 62 78 79", INVALID_BIGINT],
    ["a big integer of no digits", "02 09 00 60", INVALID_BIGINT],
    ["a big integer with an invalid sign", "02 09 02 61 31", INVALID_BIGINT],
    ["null in a box", "02 1c 01", "Malformed message: boxed value is not a primitive"],
    ["an array in a box", "02 1c 30", "Malformed message: boxed value is not a primitive"],
    ["a bad pattern", "02 1b 61 28 60", ""],
    ["bad flags", "02 1b 61 61 62 67 67", ""],
    ["a bad URL", "02 1d 61 61", ""],
    ["binary data longer than memory", "02 1e 03 ff ff ff ff ff 00", TRUNCATED],
    ["binary data of an unknown kind", "02 1e 10 00", "Malformed message: unknown kind of binary data (16)"],
    ["doubles of three bytes", "02 1e 0a 03 00 00 00", "Malformed message: a Float64Array of 3 bytes"],
    ["a resizable buffer above its maximum size", "02 1e 0f 01 00 00 00 00 00 00 00 00 00", ""],
    ["a resizable buffer with NaN as its maximum size", "02 1e 0f 01 00 00 00 00 00 00 00 f8 7f", ""],
    ["a missing part", "02 1f 03 00", "Malformed message: part 0 is missing or out of order"],
    ["a class for a number", "02 22 61 61 61 61 80", ""],
    ["an error with a number for a message", "02 20 00 60 80 60 00", "Malformed message: invalid error"],
    ["an unfinished error", "02 20 01 60", TRUNCATED],
    ["an unfinished shareable object", "02 23 61 61", TRUNCATED],
  ];
  test.each(messages)("the decoder rejects %s", (_, text, expected) => {
    const bytes = bytesOf(text);
    // The message lies in memory of its own, and in memory where other bytes follow.
    const padded = new Uint8Array(bytes.length + 100).fill(0x80);
    padded.set(bytes);
    for (const memory of [bytes, padded]) {
      let thrown: unknown;
      try {
        new Decoder().decode(memory, 0, bytes.length, []);
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toBeInstanceOf(ProtocolError);
      if (memory === bytes && expected !== "") expect((thrown as Error).message).toBe(expected);
      expect((thrown as Error).message).toMatch(/^Malformed message: /);
    }
  });

  test("the decoder rejects a range that is empty or outside of the memory", () => {
    for (const [start, end] of [
      [0, 0],
      [1, 1],
      [2, 1],
      [-1, 1],
      [0, 3],
      [0, Number.NaN],
    ] as const) {
      expect(() => new Decoder().decode(new Uint8Array(2), start, end, [])).toThrow(
        new ProtocolError("Malformed message: it is empty, or not within its memory"),
      );
    }
  });

  test("the decoder rejects parts that are missing, left over, used twice or out of order", () => {
    const part = (): Uint8Array => new Uint8Array(3);
    expect(() => decode(bytesOf("02 80"), [part()])).toThrow("Malformed message: parts are left over");
    for (const text of ["02 1f 03 01", "02 32 1f 03 00 1f 03 00", "02 32 1f 03 01 1f 03 00"]) {
      expect(() => decode(bytesOf(text), [part(), part()])).toThrow(
        /^Malformed message: part [01] is missing or out of order$/,
      );
    }
    expect(() => decode(bytesOf("02 1f 0a 00"), [part()])).toThrow("Malformed message: a Float64Array of 3 bytes");
    expect(decode(bytesOf("02 32 1f 03 00 1f 03 01"), [part(), part()])).toStrictEqual([part(), part()]);
  });

  test("a truncated handle is not passed to its reviver", () => {
    const used: unknown[] = [];
    registerReviver("t", (data) => {
      used.push(data);
      return {};
    });
    const bytes = bytesOf("02 23 61 74 80 80 80");
    expect(() => new Decoder().decode(bytes, 0, 4, [])).toThrow(ProtocolError);
    expect(used).toStrictEqual([]);
    new Decoder().decode(bytes, 0, 5, []);
    expect(used).toStrictEqual([0]);
    registry.revivers.delete("t");
  });

  test("the decoder distinguishes definitions with the same hash", () => {
    const decoder = new Decoder();
    const [a, b] = ["61 61", "61 62"].map((key) => `02 17 05 00 04 00 00 01 ${key} 81`);
    for (let i = 0; i < 3; i++) {
      expect(decode(bytesOf(a as string), [], decoder)).toStrictEqual({ a: 1 });
      expect(decode(bytesOf(b as string), [], decoder)).toStrictEqual({ b: 1 });
      expect(() => decode(bytesOf("02 17 05 00 05 00 00 01 61 61 80 81"), [], decoder)).toThrow(INVALID_DEFINITION);
      expect(() => decode(bytesOf("02 17 05 00 03 00 00 01 61 61 81"), [], decoder)).toThrow(ProtocolError);
    }
  });

  test("the decoder accepts 1002 levels of nesting and rejects 1003", () => {
    const bytes = new Uint8Array(1100).fill(0x31);
    bytes[0] = 2;
    for (const [depth, isRead] of [
      [1002, true],
      [1003, false],
    ] as const) {
      const nested = bytes.slice(0, depth + 2);
      nested[depth + 1] = 0x80;
      if (isRead) expect(Array.isArray(decode(nested))).toBe(true);
      else expect(() => decode(nested)).toThrow("Malformed message: the value is nested too deeply");
    }
  });

  test("the decoder rejects 200,000 levels of nesting of every type", () => {
    for (const tag of ["31", "19 01", "0e 01", "1c", "22 60 60", "18 01 80"]) {
      const unit = bytesOf(tag);
      const bytes = new Uint8Array(unit.length * 200_000 + 1);
      for (let i = 1; i < bytes.length; i++) bytes[i] = unit[(i - 1) % unit.length] as number;
      bytes[0] = 2;
      expect(() => decode(bytes)).toThrow(new ProtocolError("Malformed message: the value is nested too deeply"));
    }
  });

  test("nested arrays that each announce as many elements as there are bytes reserve no memory", () => {
    const size = 4_000_000;
    const bombs = [
      [0x0e, 0xff, 0, 0x09, 0x3d, 0],
      [0x0f, 0xff, 0, 0x09, 0x3d, 0, 0x01, 0x00],
      [0x14, 0xff, 0, 0x09, 0x3d, 0, 0x01, 0x00],
    ];
    for (const unit of bombs) {
      const bytes = new Uint8Array(size + 10_000).fill(0x80);
      bytes[0] = 2;
      for (let i = 0; i < 900; i++) bytes.set(unit, 1 + i * unit.length);
      const before = process.memoryUsage().heapUsed;
      expect(() => decode(bytes)).toThrow(ProtocolError);
      expect(process.memoryUsage().heapUsed - before).toBeLessThan(20 * bytes.length);
    }
  });

  test("the decoder rejects more than 4096 dictionary entries", () => {
    const define = bytesOf("17 00 00 04 00 00 01 61 61 80");
    const whole = new Uint8Array(5 + define.length * 4097);
    whole.set([2, 0x0e, 0xfe, 0x01, 0x10]);
    for (let i = 0; i < 4097; i++) whole.set(define, 5 + i * define.length);
    expect(() => decode(whole)).toThrow("Malformed message: more than 4096 dictionary entries");
    whole[3] = 0x00;
    expect((decode(whole.subarray(0, 5 + define.length * 4096)) as unknown[]).length).toBe(4096);
  });

  test("a `__proto__` key in a forged definition or error changes no prototype", () => {
    const name = "69 5f 5f 70 72 6f 74 6f 5f 5f";
    const proto = decode(bytesOf(`02 17 00 00 0c 00 00 01 ${name} 15 01 61 61 81`)) as object;
    expect(Object.keys(proto)).toStrictEqual(["__proto__"]);
    expect(Object.getPrototypeOf(proto)).toBe(Object.prototype);
    const error = decode(bytesOf(`02 20 00 60 60 60 01 ${name} 01 15 01 61 61 81`)) as object;
    expect(Object.getPrototypeOf(error)).toBe(Error.prototype);
    expect(Object.keys(error)).toStrictEqual(["__proto__"]);
  });
});

describe("random bytes", () => {
  const decoders = [new Decoder(), new Decoder()];

  /** Decodes a message. Any outcome but a value or one of the two errors is a bug. */
  function attempt(bytes: Uint8Array, end: number, parts: readonly Uint8Array[]): "value" | "error" {
    try {
      (decoders[end & 1] as Decoder).decode(bytes, 0, end, parts);
      return "value";
    } catch (error) {
      if (error instanceof ProtocolError || error instanceof TargetError) return "error";
      throw new Error(`${[...bytes.subarray(0, end)]} caused ${error}`, { cause: error });
    }
  }

  test("the decoder returns a value or throws a documented error for 60,000 random messages", () => {
    const random = new Random(11);
    const parts = [new Uint8Array(16)];
    const outcomes = { value: 0, error: 0 };
    for (let i = 0; i < 60_000; i++) {
      const length = 1 + random.below(i % 50 === 0 ? 400 : 30);
      // The memory is often larger than the message.
      const bytes = Uint8Array.from({ length: length + random.below(8) }, () =>
        random.below(4) === 0 ? random.below(0x30) : random.below(256),
      );
      bytes[0] = random.below(8);
      outcomes[attempt(bytes, length, random.below(20) === 0 ? parts : [])]++;
    }
    expect(outcomes.value).toBeGreaterThan(500);
    expect(outcomes.error).toBeGreaterThan(10_000);
  });

  test("the decoder returns a value or throws a documented error for 60,000 messages with a few wrong bytes", () => {
    const random = new Random(12);
    const corpus = seeds();
    const outcomes = { value: 0, error: 0 };
    for (let i = 0; i < 60_000; i++) {
      const { bytes, start, end, parts } = random.pick(corpus);
      const mutant = mutate(bytes.slice(start, end), random, random.pick(corpus));
      outcomes[
        attempt(
          mutant,
          mutant.length,
          parts.map((part) => part.slice()),
        )
      ]++;
    }
    expect(outcomes.value).toBeGreaterThan(5000);
    expect(outcomes.error).toBeGreaterThan(5000);
  });

  test("the decoder rejects every message that is truncated anywhere", () => {
    for (const { bytes, start, end, parts } of seeds()) {
      for (let cut = start + 1; cut < end; cut += end - start > 300 ? 7 : 1) {
        expect(() => new Decoder().decode(bytes, start, cut, parts)).toThrow(ProtocolError);
        expect(() => new Decoder().decode(bytes.slice(0, cut), start, cut, parts)).toThrow(ProtocolError);
      }
    }
  });
});

/** Returns messages with every type, with and without a dictionary. */
function seeds(): Message[] {
  const cycle: Record<string, unknown> = { a: 1 };
  cycle.self = cycle;
  const values = [
    [1, -1, 300, 70000, 1.5, true, null, undefined, -0, 5n, 2n ** 70n],
    { id: 1, name: "short", text: "x".repeat(50), long: "y".repeat(300), wide: "é日本", wider: "é".repeat(70) },
    [1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => n * 100),
    Array.from({ length: 10 }, (_, i) => i / 3),
    Array.from({ length: 10 }, (_, i) => `s${i}`),
    Array.from({ length: 20 }, (_, i) => ({ i, s: "s" })),
    new Map<unknown, unknown>([
      ["a", new Set([1, [2]])],
      [{ k: 1 }, new Date(1)],
    ]),
    [
      /a/g,
      Object(1),
      Object("s"),
      new URL("http://x/"),
      new Uint8Array([1, 2, 3]),
      new Float64Array(2),
      new DataView(new ArrayBuffer(3)),
    ],
    [new Uint8Array(65536), { after: 1 }],
    cycle,
    [cycle, cycle, [cycle]],
    Object.assign([1, , 3], { x: 1 }),
    Object.assign(new RangeError("r", { cause: new Error("c") }), { code: "E", list: [1] }),
    new AggregateError([new TypeError("t")], "a"),
    [task("file:///nowhere.js", () => 1, "fn"), { z: 1 }],
  ];
  const inline = new Encoder();
  const dictionary = new Encoder({ shapes: "dictionary" });
  return [...values, ...values]
    .flatMap((value) =>
      [
        send(value, inline),
        send(value, new Encoder()),
        ...(value === values[0] ? [] : [send([value, value], dictionary)]),
      ].filter((message) => message.end < 5000),
    )
    .filter((message, i) => i < 200 && (message.bytes[message.start] as number) !== 0);
}

function mutate(bytes: Uint8Array, random: Random, other: Message): Uint8Array {
  let mutant = bytes;
  for (let times = 1 + random.below(3); times > 0; times--) {
    const at = random.below(mutant.length);
    const kind = random.below(5);
    if (kind === 0) mutant[at] = random.below(256);
    else if (kind === 1) mutant[at] = (mutant[at] as number) ^ (1 << random.below(8));
    else if (kind === 2)
      mutant = Uint8Array.from([...mutant.subarray(0, at), random.below(256), ...mutant.subarray(at)]);
    else if (kind === 3 && mutant.length > 2)
      mutant = Uint8Array.from([...mutant.subarray(0, at), ...mutant.subarray(at + 1)]);
    else if (kind === 4)
      mutant = Uint8Array.from([
        ...mutant.subarray(0, at),
        ...other.bytes.subarray(other.start + random.below(other.end - other.start), other.end),
      ]);
  }
  return mutant.length === 0 ? bytes : mutant;
}
