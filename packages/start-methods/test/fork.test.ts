import process from "node:process";
import { fixture, host, noChildLeft, runProgram } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";

const canFork = host === "node" && process.platform === "linux" && process.arch === "x64";

describe.skipIf(!canFork)("Forker", () => {
  afterEach(noChildLeft);

  test.each(["spins", "sleeps", "crashes", "leaves"])(
    "fork() discards a child that %s before it is ready, and forks again",
    async (fault) => {
      await using program = runProgram(fixture(import.meta.url, "fork-faulty.js"), [fault]);
      expect(await program.exited, program.stderr).toEqual({ code: 0, signal: null });
      const { status, counts } = JSON.parse(program.stdout);
      expect(status).toEqual({ code: 42, signal: null });
      expect(counts.forks).toBe(1);
      expect(counts.notReady).toBe(1);
    },
  );

  test("fork() is refused after a bounded time, and counts the defects of its copies", async () => {
    await using program = runProgram(fixture(import.meta.url, "fork-faulty.js"), ["sleeps", "always"]);
    expect(await program.exited, program.stderr).toEqual({ code: 0, signal: null });
    const { refusal, counts } = JSON.parse(program.stdout);
    expect(refusal.reason).toBe("unstable");
    expect(refusal.message).toContain(`${counts.notReady} did not become ready`);
    expect(counts.forks).toBe(0);
    expect(counts.notReady).toBeGreaterThan(1);
  });

  test("a forked child allocates no memory before its threads run", async () => {
    await using program = runProgram(fixture(import.meta.url, "fork-large.js"));
    expect(await program.exited, program.stderr).toEqual({ code: 0, signal: null });
    const { codes, counts } = JSON.parse(program.stdout);
    expect(codes).toEqual(Array.from({ length: 8 }, () => 50));
    expect(counts.notReady).toBeLessThan(3);
  });

  test("fork() copies a process with an active event loop, and the child can fork again", async () => {
    await using program = runProgram(fixture(import.meta.url, "fork-twice.js"));
    expect(await program.exited, program.stderr).toEqual({ code: 0, signal: null });
    expect(JSON.parse(program.stdout)).toEqual({ codes: [10, 11, 12, 13, 14], status: 200 });
  });
});
