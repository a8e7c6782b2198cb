import process from "node:process";
import { fixture, host, noChildLeft, runProgram } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";

const canFork = host === "node" && process.platform === "linux";

describe.skipIf(!canFork)("Forker", () => {
  afterEach(noChildLeft);

  test.each(["hangs", "crashes", "leaves"])(
    "fork() throws away a child that %s before it says hello, and forks again",
    async (fault) => {
      await using program = runProgram(fixture(import.meta.url, "fork-faulty.js"), [fault]);
      expect(await program.exited, program.stderr).toEqual({ code: 0, signal: null });
      const { status, counts } = JSON.parse(program.stdout);
      expect(status).toEqual({ code: 42, signal: null });
      expect(counts.forks).toBe(1);
      expect(counts.hello).toBe(1);
    },
  );

  test("fork() copies a process whose loop is at work, and the copy can fork again", async () => {
    await using program = runProgram(fixture(import.meta.url, "fork-twice.js"));
    expect(await program.exited, program.stderr).toEqual({ code: 0, signal: null });
    expect(JSON.parse(program.stdout)).toEqual({ codes: [10, 11, 12, 13, 14], status: 200 });
  });
});
