import { readdirSync, readlinkSync } from "node:fs";
import process from "node:process";
import { fixture, noChildLeft, runProgram, until } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";
import { native } from "../src/native/mod.ts";
import { type SegmentAddress, SharedSegment, whyNoSharedMemory } from "../src/shm/shared-memory-segment.ts";

afterEach(noChildLeft);

const openSegmentPaths = (): string[] =>
  readdirSync("/proc/self/fd").flatMap((name) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${name}`);
      return path.includes("multiproc-") ? [path] : [];
    } catch {
      return [];
    }
  });

describe.skipIf(whyNoSharedMemory() !== undefined)("SharedSegment", () => {
  test("a new segment is filled with zeros, and attach() returns a segment that is open already", () => {
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

  test("both processes see each other's changes at once", async () => {
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

  test("close() leaves views of length 0, and no open descriptor", () => {
    const before = openSegmentPaths().length;
    const memory = SharedSegment.create(4096);
    const words = new Int32Array(memory.buffer);
    expect(openSegmentPaths().length).toBe(before + 1);
    memory.close();
    memory.close();
    expect(words.length).toBe(0);
    expect(words[0]).toBe(undefined);
    expect(() => Atomics.load(words, 0)).toThrow(TypeError);
    expect(openSegmentPaths().length).toBe(before);
  });

  test("attach() refuses a segment that is closed, and another file under the same descriptor", () => {
    const memory = SharedSegment.create(4096);
    const address = memory.address();
    memory.close();
    expect(() => SharedSegment.attach(address)).toThrow(`process ${process.pid} has exited or closed it`);
    const other = SharedSegment.create(4096);
    expect(() => SharedSegment.attach({ ...address, openFds: other.address().openFds })).toThrow(
      "Shared memory cannot be opened",
    );
    other.close();
  });

  test("create() refuses an invalid size, and more memory than the system has", () => {
    for (const size of [0, -1, 1.5, Number.NaN, 2 ** 50])
      expect(() => SharedSegment.create(size)).toThrow(/takes a size of 1 or more bytes/);
    const before = openSegmentPaths().length;
    expect(() => SharedSegment.create(2 ** 46)).toThrow(/the system does not have 70368744177664 bytes of free memory/);
    expect(openSegmentPaths().length).toBe(before);
  });

  test("a segment is an unlinked file if the system has no memfd", () => {
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

test("SharedSegment.processLocal() is memory that only this process can use", () => {
  const memory = SharedSegment.processLocal(64);
  expect(memory.isShared).toBe(false);
  expect(new Uint8Array(memory.buffer).length).toBe(64);
  memory.close();
});
