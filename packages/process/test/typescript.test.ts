// Runs under every start method.
import { getStartMethod } from "@multiproc/start-methods";
import { fixture, host, noChildLeft, runProgram } from "@multiproc/testing";
import { afterEach, expect, test } from "vitest";

/** Loaders run in a thread of their own, and a process with such a thread cannot be copied. */
const isCopied = getStartMethod() === "fork";
const stripsTypes = host === "deno" || "typescript" in globalThis.process.features;

afterEach(noChildLeft);

test.skipIf(isCopied && !stripsTypes)(
  "a target in TypeScript needs no set-up, and is loaded by the parent's loader where the host needs one",
  async () => {
    const execArgv = stripsTypes ? undefined : ["--import", "tsx"];
    const program = runProgram(
      fixture(import.meta.url, "typed/main.ts"),
      [],
      execArgv === undefined ? {} : { execArgv },
    );
    await program.exited;
    expect(program.stderr).toBe("");
    expect(program.stdout).toBe("Hello Ada\n0\n");
  },
);

test.skipIf(host === "deno" || isCopied)("the parent's loader is passed on, whatever the host strips", async () => {
  const program = runProgram(fixture(import.meta.url, "typed/main.ts"), [], { execArgv: ["--import", "tsx"] });
  await program.exited;
  expect(program.stderr).toBe("");
  expect(program.stdout).toBe("Hello Ada\n0\n");
});
