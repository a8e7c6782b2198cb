// Runs under every start method.
import { getStartMethod } from "@multiproc/start-methods";
import { fixture, linesOf, noChildLeft, type Program, runProgram } from "@multiproc/testing";
import { afterEach, describe, expect, onTestFinished, test } from "vitest";
import { file } from "./pools.ts";

afterEach(() => noChildLeft());

/** A forked copy of the program imports nothing, so it starts nothing again. */
const isCopied = (starts: string) => getStartMethod() === "fork" && !starts.startsWith("threads");
const REFUSED = /Cannot start a process .+one-file\.js" starts processes or threads as it is loaded/;

/** Runs a program. The depth limit ends it if it starts itself again and again. */
function run(name: string, args: string[], env: Record<string, string>): Program {
  const program = runProgram(fixture(import.meta.url, name), args, { env: { MULTIPROC_MAX_DEPTH: "3", ...env } });
  onTestFinished(() => program[Symbol.asyncDispose]());
  return program;
}

/** Runs the one-file program. Returns its output, and how often its file was loaded. */
async function runOneFile(STARTS: string, STYLE: string) {
  const LOADS = file();
  const program = run("one-file.js", [], { STARTS, STYLE, LOADS });
  const { code } = await program.exited;
  const said = JSON.parse(program.stdout || "null");
  return { code, said, stderr: program.stderr, loads: linesOf(LOADS).length };
}

describe.each(["pool", "threads"])("a program and its task in one file: %s", (starts) => {
  test.each(["awaits", "floats", "catches", "exits"])(
    "a top level that %s its start is refused once",
    async (style) => {
      const { code, said, stderr, loads } = await runOneFile(starts, style);
      expect(code, stderr).toBe(0);
      if (isCopied(starts)) return expect(said).toEqual({ result: 9 });
      expect(said.message).toMatch(REFUSED);
      expect(said.message).toContain(starts === "pool" ? "if (parentProcess() === undefined)" : "if (isMainThread)");
      expect(loads).toBe(2);
      return expect(["ERR_TARGET", "ERR_IMPORTING"]).toContain(said.code);
    },
  );

  test.each(["named", "class", "initializer"])("a module that is loaded for its %s is refused once", async (what) => {
    const { said, stderr, loads } = await runOneFile(`${starts} ${what}`, "awaits");
    if (isCopied(starts)) return expect(said, stderr).toEqual({ result: 9 });
    expect(said.message).toMatch(REFUSED);
    return expect(loads).toBe(2);
  });

  test("a later start of the top level is refused too, and the task continues", async () => {
    const { said, stderr, loads } = await runOneFile(starts, "later");
    if (isCopied(starts)) return;
    expect(said, stderr).toEqual({ result: 9 });
    expect(stderr).toMatch(REFUSED);
    expect(loads).toBe(2);
  });

  test.each(["", " class"])("a program with a guard for the main program works quietly%s", async (what) => {
    const { code, said, stderr, loads } = await runOneFile(`${starts}${what}`, "guarded");
    expect([stderr, said, code]).toEqual(["", { result: 9 }, 0]);
    expect(loads).toBe(isCopied(starts) ? 1 : 2);
  });
});

describe("a program and the target of its process in one file", () => {
  test.each(["awaits", "floats", "catches", "exits"])(
    "a top level that %s its start is refused once",
    async (style) => {
      const { said, stderr, loads } = await runOneFile("process", style);
      if (isCopied("process")) return expect(said, stderr).toEqual({ result: 0 });
      expect(said, stderr).toEqual({ result: 1 });
      if (style !== "exits") expect(stderr).toMatch(REFUSED);
      return expect(loads).toBe(2);
    },
  );

  test("a later start of the top level is refused too, and the target continues", async () => {
    const { said, stderr, loads } = await runOneFile("process", "later");
    if (isCopied("process")) return;
    expect(said, stderr).toEqual({ result: 0 });
    expect(stderr).toMatch(REFUSED);
    expect(loads).toBe(2);
  });
});

// A forked copy has all modules of its parent already.
test.skipIf(getStartMethod() === "fork")(
  "a task may start a process while its worker imports another module",
  async () => {
    const GATE = file();
    const program = run("starts-meanwhile.js", [], { GATE });
    const { code } = await program.exited;
    expect([program.stderr, JSON.parse(program.stdout || "null"), code]).toEqual(["", [0, "Slow"], 0]);
  },
);

// Not every Node can fork a copy of a copy, and none can fork a process with threads.
test.skipIf(getStartMethod() === "fork").each(["pool", "threads", "pool threads"])(
  "pools in tasks of pools are limited by depth: %s",
  async (kinds) => {
    const program = run("descends.js", kinds.split(" "), {});
    await program.exited;
    const [depth, code, message] = JSON.parse(program.stdout || "[]");
    expect([depth, code], program.stderr).toEqual([3, "ERR_TOO_DEEP"]);
    expect(message).toContain("set the environment variable MULTIPROC_MAX_DEPTH");
  },
);
