/**
 * Golden tests of the wire format. The bytes must be the same on every host, and in all versions of
 * the library that use the same protocol.
 */
import { expect, test } from "vitest";
import { Encoder } from "../src/codec/encode/encoder.ts";
import { task } from "../src/targets/target.ts";
import { hex, send } from "./fixtures/codec.ts";

const cyclic: { self?: unknown } = {};
cyclic.self = cyclic;

const golden: [string, unknown, string][] = [
  ["undefined", undefined, "02 00"],
  ["null", null, "02 01"],
  ["false", false, "02 02"],
  ["true", true, "02 03"],
  ["0", 0, "02 80"],
  ["127", 127, "02 ff"],
  ["-1", -1, "02 04 ff"],
  ["128", 128, "02 05 80 00"],
  ["-300", -300, "02 05 d4 fe"],
  ["70000", 70000, "02 06 70 11 01 00"],
  ["-0", -0, "02 07 00 00 00 00 00 00 00 80"],
  ["1.5", 1.5, "02 07 00 00 00 00 00 00 f8 3f"],
  ["NaN", Number.NaN, "02 07 00 00 00 00 00 00 f8 7f"],
  ["-2n", -2n, "02 08 fe ff ff ff ff ff ff ff"],
  ["-(2n ** 64n)", -(2n ** 64n), `02 09 01 71 31${" 30".repeat(16)}`],
  ["empty text", "", "02 60"],
  ["short text", "abc", "02 63 61 62 63"],
  ["text of 40", "a".repeat(40), `02 0a 28${" 61".repeat(40)}`],
  ["text of 300", "a".repeat(300), `02 0b 2c 01 00 00${" 61".repeat(300)}`],
  ["short text with an accent", "é", "02 0d 01 e9 00"],
  ["a lone surrogate", "\ud800", "02 0d 01 00 d8"],
  ["long text with an accent", `${"a".repeat(64)}é`, `02 0c 42 00 00 00${" 61".repeat(64)} c3 a9`],
  ["long Japanese text", "あ".repeat(65), `02 0d 41${" 42 30".repeat(65)}`],
  ["array", [1, [2]], "02 32 81 31 82"],
  ["array of 16", Array(16).fill(null), `02 0e 10${" 01".repeat(16)}`],
  ["sparse array", [, 1], "02 0f 02 01 01 81 00"],
  ["array with a property", Object.assign([1], { a: 2 }), "02 0f 01 01 00 81 01 61 61 82"],
  ["ints of one byte", [1, -2, 3, 4, 5, 6, 7, 8], "02 10 08 01 fe 03 04 05 06 07 08"],
  ["ints of two bytes", [1, 2, 3, 4, 5, 6, 7, 128], "02 11 08 01 00 02 00 03 00 04 00 05 00 06 00 07 00 80 00"],
  ["ints of four bytes", [0, 0, 0, 0, 0, 0, 0, 65536], `02 12 08${" 00 00 00 00".repeat(7)} 00 00 01 00`],
  ["doubles", [0, 0, 0, 0, 0, 0, 0, 0.5], `02 13 08${" 00 00 00 00 00 00 00 00".repeat(7)} 00 00 00 00 00 00 e0 3f`],
  ["strings", ["a", "", "bc", "", "", "", "", "d"], "02 14 08 08 01 00 02 00 00 00 00 01 64 61 62 63 64"],
  ["object", { a: 1, b: "x" }, "02 15 02 61 61 81 61 62 61 78"],
  [
    "objects of the same keys",
    [{ a: 1 }, { a: 2 }, { a: 3 }],
    "02 33 15 01 61 61 81 17 60 07 04 00 00 01 61 61 82 40 83",
  ],
  ["Map", new Map([["a", 1]]), "02 18 01 61 61 81"],
  ["Set", new Set([1]), "02 19 01 81"],
  ["Date", new Date(0), "02 1a 00 00 00 00 00 00 00 00"],
  ["RegExp", /a/gi, "02 1b 61 61 62 67 69"],
  ["Boolean object", Object(true), "02 1c 03"],
  ["URL", new URL("a:b"), "02 1d 63 61 3a 62"],
  ["Uint8Array", new Uint8Array([1, 2]), "02 1e 03 02 01 02"],
  ["ArrayBuffer", new Uint8Array([1]).buffer, "02 1e 00 01 01"],
  ["Float64Array", new Float64Array([0.5]), "02 1e 0a 08 00 00 00 00 00 00 e0 3f"],
  ["large Uint8Array", new Uint8Array(65536), "02 1f 03 00"],
  ["cycle", cyclic, "03 15 01 64 73 65 6c 66 26 00"],
  ["function", task("file:///m", () => 1, "f"), "02 17 0f 48 0e 00 02 02 69 66 69 6c 65 3a 2f 2f 2f 6d 61 66"],
];

test.each(golden)("the encoding of %s has the agreed bytes", (_, value, bytes) => {
  expect(hex(send(value))).toBe(bytes);
});

test.each([
  ["253 bytes", new Uint8Array(253), "02 1e 03 fd 00"],
  ["254 bytes", new Uint8Array(254), "02 1e 03 fe fe 00 00"],
  ["65535 bytes", new Uint8Array(65535), "02 1e 03 fe ff ff 00"],
  ["65536 elements", Array(65536).fill(null), "02 0e ff 00 00 01 00 01"],
  ["70000 letters", "a".repeat(70000), "02 0b 70 11 01 00 61"],
  ["70000 letters, one of them with an accent", `${"a".repeat(69999)}é`, "02 0c 71 11 01 00 61"],
])("the encoding of %s begins with the agreed bytes", (_, value, bytes) => {
  expect(hex(send(value)).startsWith(`${bytes} `)).toBe(true);
});

test("an error has the agreed bytes", () => {
  const error = Object.assign(new TypeError("m"), { stack: "s", code: "c" });
  const text = (word: string): string =>
    `${(0x60 | word.length).toString(16)} ${[...word].map((c) => c.charCodeAt(0).toString(16)).join(" ")}`;
  const classes = `02 ${text("TypeError")} ${text("Error")}`;
  expect(hex(send(error))).toBe(
    `02 20 ${classes} ${text("TypeError")} ${text("m")} ${text("s")} 01 ${text("code")} 01 ${text("c")}`,
  );
});

test("the messages of a dictionary have the agreed bytes", () => {
  const encoder = new Encoder({ shapes: "dictionary" });
  const messages = [1, 2, 3].map((id) => hex(send({ id }, encoder)));
  expect(messages).toStrictEqual(["04 15 01 62 69 64 81", "04 17 3f 21 05 00 00 01 62 69 64 82", "00 40 83"]);
});
