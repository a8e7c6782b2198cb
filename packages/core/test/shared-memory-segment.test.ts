import { readdirSync, readlinkSync } from "node:fs";
import process from "node:process";
import { fixture, noChildLeft, runProgram, until } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";
import { native } from "../src/native/mod.ts";
import { type SegmentAddress, SharedSegment, whyNoSharedMemory } from "../src/shm/shared-memory-segment.ts";

afterEach(noChildLeft);

const openFiles = (): string[] =>
  readdirSync("/proc/self/fd").flatMap((name) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${name}`);
      return path.includes("multiproc-") ? [path] : [];
    } catch {
      return [];
    }
  });

describe.skipIf(whyNoSharedMemory() !== undefined)("Memory", () => {
  test("is filled with zeros, and what arrives twice is there once", () => {
    const memory = SharedSegment.create(10_000);
    expect(memory.size).toBe(10_000);
    expect(memory.isShared).toBe(true);
    expect(new Uint8Array(memory.buffer).every((byte) => byte === 0)).toBe(true);
    const again = SharedSegment.attach(JSON.parse(JSON.stringify(memory.address())) as SegmentAddress);
    expect(again).toBe(memory);
    again.close();
    expect(memory.closed).toBe(false);
    memory.close();
    expect(memory.closed).toBe(true);
  });

  test("is seen by another process at once, both ways", async () => {
    const memory = SharedSegment.create(4096);
    const words = new Int32Array(memory.buffer);
    await using child = runProgram(fixture(import.meta.url, "waits-for-word.js"), [
      JSON.stringify(memory.address()),
      "async",
    ]);
    await until(() => child.stdout.includes("ready"));
    Atomics.store(words, 0, 1);
    await child.exited;
    expect(child.stdout).toContain("taken");
    expect(Atomics.load(words, 0)).toBe(0);
    memory.close();
  });

  test("leaves views of length 0 behind when it is closed, and no file", () => {
    const before = openFiles().length;
    const memory = SharedSegment.create(4096);
    const words = new Int32Array(memory.buffer);
    expect(openFiles().length).toBe(before + 1);
    memory.close();
    memory.close();
    expect(words.length).toBe(0);
    expect(words[0]).toBe(undefined);
    expect(() => Atomics.load(words, 0)).toThrow(TypeError);
    expect(openFiles().length).toBe(before);
  });

  test("cannot be attached when it is gone, or another file has taken its place", () => {
    const memory = SharedSegment.create(4096);
    const address = memory.address();
    memory.close();
    expect(() => SharedSegment.attach(address)).toThrow(`process ${process.pid} which held it is gone`);
    const other = SharedSegment.create(4096);
    expect(() => SharedSegment.attach({ ...address, openFds: other.address().openFds })).toThrow("cannot be reached");
    other.close();
  });

  test("refuses a size that is none, and one that the system has not, in words", () => {
    for (const size of [0, -1, 1.5, Number.NaN, 2 ** 50])
      expect(() => SharedSegment.create(size)).toThrow(/takes a size of 1 or more bytes/);
    const before = openFiles().length;
    expect(() => SharedSegment.create(2 ** 46)).toThrow(/the system has not 70368744177664 bytes of memory left/);
    expect(openFiles().length).toBe(before);
  });

  test("is a file without a name where there is no memfd", () => {
    const libc = native()?.libc as unknown as Record<string, unknown>;
    const { memfd_create } = libc;
    Object.defineProperty(libc, "memfd_create", { value: () => -1, configurable: true });
    try {
      const memory = SharedSegment.create(4096);
      expect(memory.address().name).toMatch(/multiproc-.* \(deleted\)$/);
      new Uint8Array(memory.buffer)[4095] = 7;
      memory.close();
    } finally {
      Object.defineProperty(libc, "memfd_create", { value: memfd_create, configurable: true });
    }
  });
});

test("Memory.local() is memory of this process alone", () => {
  const memory = SharedSegment.processLocal(64);
  expect(memory.isShared).toBe(false);
  expect(new Uint8Array(memory.buffer).length).toBe(64);
  memory.close();
});
