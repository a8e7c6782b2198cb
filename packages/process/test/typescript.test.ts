// Runs under every start method.
import { getStartMethod } from "@multiproc/start-methods";
import { fixture, host, noChildLeft, runProgram } from "@multiproc/testing";
import { afterEach, expect, test } from "vitest";

/** Loaders run in a thread of their own, and a process with such a thread cannot be forked. */
const isCopied = getStartMethod() === "fork";
const stripsTypes = host === "deno" || "typescript" in globalThis.process.features;

afterEach(noChildLeft);

test.skipIf(isCopied && !stripsTypes)(
  "a target in TypeScript needs no set-up; the loader of the parent loads it where the host needs one",
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

test.skipIf(host === "deno" || isCopied)(
  "a child uses the loader of its parent, even on a host that strips types itself",
  async () => {
    const program = runProgram(fixture(import.meta.url, "typed/main.ts"), [], { execArgv: ["--import", "tsx"] });
    await program.exited;
    expect(program.stderr).toBe("");
    expect(program.stdout).toBe("Hello Ada\n0\n");
  },
);
