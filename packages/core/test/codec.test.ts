import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { Decoder } from "../src/codec/decode/decoder.ts";
import { Encoder } from "../src/codec/encode/encoder.ts";
import { difference, receive, send, trip } from "./fixtures/codec.ts";

/** Compares a sent value with its structured clone. */
function expectClone(value: unknown): void {
  expect(difference(trip(value), structuredClone(value))).toBe(undefined);
}

describe("primitives", () => {
  test.each([
    undefined,
    null,
    true,
    false,
    0,
    -0,
    1,
    127,
    128,
    255,
    256,
    -1,
    -128,
    -129,
    32767,
    32768,
    -32768,
    -32769,
    2147483647,
    -2147483648,
    2147483648,
    -2147483649,
    4294967295,
    2 ** 53,
    0.1,
    1e308,
    5e-324,
    Number.NaN,
    Infinity,
    -Infinity,
  ])("%s arrives as itself", (value) => {
    expect(Object.is(trip(value), value)).toBe(true);
  });

  test.each([
    0n,
    1n,
    -1n,
    2n ** 63n - 1n,
    -(2n ** 63n),
    2n ** 63n,
    -(2n ** 63n) - 1n,
    2n ** 64n,
    -(2n ** 4000n),
    10n ** 3000n,
  ])("the big integer %s arrives as itself", (value) => {
    expect(trip(value)).toBe(value);
  });

  test.each([
    "",
    "a",
    "\0",
    "\x7f",
    "\x80",
    "é",
    "ÿ",
    "Ā",
    "日本語",
    "😀",
    "\ud800",
    "\udc00",
    "a\udc00\ud800b",
    "\ufeffbom",
    "\ufffd",
  ])("the text %j arrives as itself", (text) => {
    expect(trip(text)).toBe(text);
  });

  const patterns: [string, (i: number) => string][] = [
    ["ASCII", (i) => String.fromCharCode(97 + (i % 26))],
    ["Latin", (i) => (i % 7 === 3 ? "é" : "e")],
    ["one accent at the end", (i) => (i % 64 === 63 ? "é" : "e")],
    ["Japanese", (i) => String.fromCharCode(0x3042 + (i % 80))],
    ["surrogate pairs", (i) => String.fromCharCode(i % 2 === 0 ? 0xd83d : 0xde00 + (i % 60))],
    ["a lone surrogate among letters", (i) => (i % 50 === 40 ? "\ud83d" : "x")],
    ["lone surrogates among Japanese", (i) => (i % 11 === 5 ? "\udc00" : "語")],
  ];
  const lengths = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17, 20, 21, 24, 25, 31, 32, 33, 48, 49, 63, 64, 65, 66, 127, 128,
    129, 130, 255, 256, 257, 1000, 5000, 65535, 65536, 65537, 131073, 200001,
  ];
  test.each(patterns)("a text of any length arrives as itself: %s", (_, char) => {
    for (const length of lengths) {
      const text = Array.from({ length }, (_, i) => char(i)).join("");
      expect(trip(text) === text, `length ${length}`).toBe(true);
      expect(trip([text, 7, text]), `length ${length}`).toStrictEqual([text, 7, text]);
    }
  });

  test("surrogate pairs at the borders of the chunks of a long text stay whole", () => {
    for (const lead of ["", "x", "xy"]) {
      const text = `${lead}é${"😀".repeat(70000)}é`;
      expect(trip(text) === text).toBe(true);
    }
  });
});

describe("objects and arrays", () => {
  test("plain objects arrive with their keys in order, even unusual keys", () => {
    for (const keys of [
      [],
      ["a"],
      ["b", "a"],
      ["2", "1", "x"],
      [""],
      ["weird key", "日本"],
      ["\ud800"],
      ["constructor", "toString", "hasOwnProperty"],
    ]) {
      expectClone(Object.fromEntries(keys.map((key, i) => [key, i])));
    }
    expectClone({ a: { b: { c: [1, { d: undefined }] } }, e: null });
  });

  test("an own `__proto__` arrives as an own property and changes no prototype", () => {
    for (const encoder of [new Encoder(), new Encoder({ shapes: "dictionary" })]) {
      const decoder = new Decoder();
      for (let i = 0; i < 300; i++) {
        const value = JSON.parse('{"a":1,"__proto__":{"polluted":true},"b":2}') as object;
        const arrived = receive(send(value, encoder), decoder) as Record<string, unknown>;
        expect(Object.getPrototypeOf(arrived)).toBe(Object.prototype);
        expect(Object.keys(arrived)).toStrictEqual(["a", "__proto__", "b"]);
        expect(Object.getOwnPropertyDescriptor(arrived, "__proto__")?.value).toStrictEqual({ polluted: true });
      }
    }
    expect(({} as Record<string, unknown>).polluted).toBe(undefined);
  });

  test("objects without a prototype, instances and objects of other realms arrive as plain objects", () => {
    class Point {
      x = 1;
      #y = 2;
      get y(): number {
        return this.#y;
      }
    }
    const bare = Object.assign(Object.create(null) as object, { a: 1 });
    const inherited = Object.assign(Object.create({ inherited: 1 }) as object, { own: 2 });
    expect(difference(trip([bare, new Point(), inherited]), [{ a: 1 }, { x: 1 }, { own: 2 }])).toBe(undefined);
    expect(difference(trip(runInNewContext("({ a: [1, { b: 2 }] })")), { a: [1, { b: 2 }] })).toBe(undefined);
  });

  test("only own enumerable properties with string keys are sent, getters as their values", () => {
    const value = Object.defineProperties(
      { a: 1, [Symbol("s")]: 2 },
      { hidden: { value: 3 }, getter: { get: () => 4, enumerable: true } },
    );
    expect(difference(trip(value), { a: 1, getter: 4 })).toBe(undefined);
  });

  test("enumerable properties on Object.prototype are not sent", () => {
    const pair = [new Encoder({ shapes: "dictionary" }), new Decoder()] as const;
    for (let i = 0; i < 3; i++) receive(send({ a: 1, polluting: 2 }, pair[0]), pair[1]);
    (Object.prototype as Record<string, unknown>).polluting = 9;
    try {
      for (let i = 0; i < 3; i++) {
        const arrived = receive(send({ a: 1 }, pair[0]), pair[1]) as object;
        expect(Object.keys(arrived)).toStrictEqual(["a"]);
      }
    } finally {
      delete (Object.prototype as Record<string, unknown>).polluting;
    }
  });

  test("arrays arrive with holes, own properties and length", () => {
    const withProperties = Object.assign([1, 2], { extra: "x", other: [3] });
    const match = /b(?<name>.)/.exec("abc");
    const balanced = Object.assign([undefined, 1, , 3, 4], { extra: undefined });
    const shortBalanced = Object.assign([, 1], { extra: 1 });
    const numbers = Object.assign(
      Array.from({ length: 20 }, (_, i) => i),
      { sum: 190 },
    );
    const holes = [, 1, , , 2, ,];
    for (const value of [
      [],
      [undefined],
      [,],
      holes,
      withProperties,
      match,
      balanced,
      shortBalanced,
      numbers,
      [...Array(300).keys()],
    ])
      expectClone(value);
    const sixteen = Array.from({ length: 16 }, (_, i) => ({ i }));
    expectClone(sixteen);
    expectClone(sixteen.slice(1));
  });

  test.each([1025, 30_000_000, 33_000_000, 4_000_000_000, 4_294_967_295])(
    "an array of %i holes takes few bytes and little memory",
    (length) => {
      const value: unknown[] = [];
      value.length = 4_294_967_295;
      value.length = length;
      value[length - 1] = "last";
      const message = send(value);
      expect(message.end - message.start).toBeLessThan(25);
      const before = process.memoryUsage().heapUsed;
      const arrived = Array.from({ length: 20 }, () => receive(send(value)) as unknown[]);
      expect(process.memoryUsage().heapUsed - before).toBeLessThan(20e6);
      for (const each of arrived) {
        expect(each.length).toBe(length);
        expect(each[length - 1]).toBe("last");
        expect(Object.keys(each).length).toBe(1);
      }
    },
  );

  test("arrays of only numbers or only strings arrive as themselves", () => {
    const numbers = [0, 1, 127, 128, -128, -129, 32767, 32768, -32769, 2147483647, -2147483648];
    expectClone(numbers);
    for (const bound of [100, 30000, 50000, 2e9])
      expectClone(Array.from({ length: 50 }, (_, i) => Math.trunc(Math.sin(i) * bound)));
    for (const odd of [-0, 0.5, Number.NaN, 2147483648]) {
      expectClone([...numbers, odd]);
      expectClone([odd, ...numbers]);
    }
    expectClone([...numbers, "x"]);
    expectClone([...numbers, , 1]);
    const words = Array.from({ length: 500 }, (_, i) => `word ${i}${i % 50 === 7 ? "é" : ""}${"x".repeat(i % 300)}`);
    expectClone(words);
    expectClone([...words, 1]);
    expectClone([...words.slice(0, 9), undefined]);
    expectClone(["\ud83d", "\ude00", "", "a", "", "\ud83d", "\ude00", "日本", ""]);
    expectClone(Array.from({ length: 9 }, () => "y".repeat(5000)));
  });

  test("cycles and shared references keep the identity of objects", () => {
    const cycle: Record<string, unknown> = { name: "cycle" };
    cycle.self = cycle;
    cycle.list = [cycle, { back: cycle }, new Map([[cycle, new Set([cycle])]])];
    expectClone(cycle);
    const shared = { x: 1 };
    const list = [shared, shared, [shared]];
    list.push(list as never);
    expectClone(list);
    const date = new Date(1);
    const pattern = /x/g;
    const bytes = new Uint8Array([1, 2]);
    const box = Object("s") as object;
    expectClone([date, date, pattern, pattern, bytes, bytes, box, box, bytes.buffer, bytes.buffer]);
  });

  test.each([7, 8, 9, 10, 63, 64, 65, 66, 200, 3000])("each of %i repeated objects keeps its identity", (count) => {
    const objects = Array.from({ length: count }, (_, i) => ({ i }));
    const value = [...objects, ...objects.toReversed(), objects];
    expectClone(value);
  });

  test("repeated objects keep their identity in a second message of the same encoder", () => {
    const encoder = new Encoder();
    for (const count of [200, 150, 70, 5]) {
      const objects = Array.from({ length: count }, (_, i) => ({ i }));
      const value = [...objects, ...objects];
      expect(difference(receive(send(value, encoder)), value)).toBe(undefined);
    }
  });

  test("frozen objects can be sent", () => {
    expect(difference(trip(Object.freeze({ a: Object.freeze([1]) })), { a: [1] })).toBe(undefined);
  });
});
