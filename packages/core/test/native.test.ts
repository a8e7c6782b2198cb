import process from "node:process";
import { host } from "@multiproc/testing";
import { describe, expect, test } from "vitest";
import { EAGAIN, O_CLOEXEC } from "../src/native/linux.ts";
import { native, whyNoNative } from "../src/native/mod.ts";

const found = native();
const libc = found?.libc as NonNullable<typeof found>["libc"];
const EBADF = 9;

describe.skipIf(found === undefined)("native()", () => {
  test("native() returns the functions of the C library", () => {
    expect(whyNoNative()).toBe(undefined);
    expect(libc.getpid()).toBe(process.pid);
  });

  test("read() and write() pass bytes through a pipe", () => {
    const ends = new Int32Array(2);
    expect(libc.pipe2(ends, O_CLOEXEC)).toBe(0);
    const [reading, writing] = ends as unknown as [number, number];
    expect(libc.write(writing, Uint8Array.of(1, 2, 3, 4), 4)).toBe(4);
    const bytes = new Uint8Array(8);
    expect(libc.read(reading, bytes.subarray(2), 6)).toBe(4);
    expect([...bytes]).toEqual([0, 0, 1, 2, 3, 4, 0, 0]);
    expect(libc.close(reading)).toBe(0);
    expect(libc.close(writing)).toBe(0);
  });

  test("errno() returns the error of the last call", () => {
    expect(libc.write(-1, new Uint8Array(1), 1)).toBe(-1);
    expect(found?.errno()).toBe(EBADF);
    expect(libc.accept4(-1, null, null, 0)).toBe(-1);
    expect(found?.errno()).not.toBe(EAGAIN);
  });

  test("a text argument is passed as UTF-8", () => {
    const length = found?.declare("strlen", ["size", "text"]);
    expect(length?.("añ€😀")).toBe(10);
  });

  test("declare() and symbol() return undefined for a missing symbol", () => {
    expect(found?.declare("there_is_no_such_function", ["i32"])).toBe(undefined);
    expect(found?.symbol("there_is_no_such_function")).toBe(undefined);
    if (host === "node") expect(found?.symbol("malloc")).toBeGreaterThan(0);
  });
});

test.skipIf(host === "deno")("native() is available in the tests on Node", () => {
  expect(whyNoNative()).toBe(undefined);
});
