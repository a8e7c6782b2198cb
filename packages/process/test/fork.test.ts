import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { Process } from "@multiproc/process";
import { getAllStartMethods, StartMethodError } from "@multiproc/start-methods";
import { fixture, host, isAlive, linesOf, noChildLeft, runProgram, until } from "@multiproc/testing";
import { afterAll, afterEach, describe, expect, onTestFinished, test } from "vitest";

const canFork = host === "node" && process.platform === "linux" && process.arch === "x64";
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "fork-test-"));

afterEach(noChildLeft);
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

/** Starts a program with a temporary folder of its own; it is killed after the test. */
function run(name: string, args: string[] = []): ReturnType<typeof runProgram> {
  const program = runProgram(fixture(import.meta.url, name), args, { env: { TMPDIR: folder } });
  onTestFinished(() => program[Symbol.asyncDispose]());
  return program;
}

describe.skipIf(canFork)("start method fork on other hosts", () => {
  test("fork is not listed where processes cannot be forked, and is refused with the reason", () => {
    expect(getAllStartMethods()).not.toContain("fork");
    expect(() => new Process({ startMethod: "fork", target: () => {} })).toThrow(StartMethodError);
    expect(() => new Process({ startMethod: "fork", target: () => {} })).toThrow("forking requires Node on Linux");
  });
});

describe.skipIf(!canFork)("start method fork", () => {
  test("getAllStartMethods() lists fork last", () => {
    expect(getAllStartMethods().at(-1)).toBe("fork");
  });

  test("a forked child has the state of its parent, and is a process like any other", async () => {
    const program = run("fork-contract.js");
    await program.exited;
    expect(program.stderr).toBe("");
    const report = JSON.parse(program.stdout);
    expect(report.inherits).toEqual({ stdout: "at the start from a map true 0\n", stderr: "", code: 0, signal: null });
    expect(report.subclass).toEqual({ stdout: "Hello Ada true true true\n", code: 0 });
    expect(report.inline.stdout).toBe("as it was captured\n");
    expect(report.named.code).toBe(0);
    expect(report.fails.code).toBe(1);
    expect(report.fails.stderr).toMatch(/Uncaught error in Failing \(pid \d+\): Error: no luck\n {4}at /);
    expect(report.killed).toEqual({ stdout: "", stderr: "", code: -9, signal: "SIGKILL" });
    expect(report.surroundings.stdout).toBe("yes / true 0\n");
    expect(report.random).toBe(3);
    expect(report.strange).toMatch(/^ERR_NOT_PARENT join\(\) was called on .* in process \d+, a copy of process \d+/);
    expect(report.terminated).toEqual([-15, "SIGTERM"]);
    expect(report.refused).toContain("execArgv");
    expect(report.nested.stdout).toMatch(/^Process-\d+:1 9\n$/);
  });

  test("servers, sockets, timers and listeners of the parent continue, and do nothing in the child", async () => {
    const program = run("fork-beside-servers.js", ["20", path.join(folder, "socket")]);
    await program.exited;
    expect(program.stderr).toBe("");
    expect(JSON.parse(program.stdout)).toEqual({ right: 20, owned: 20, served: 40 });
  });

  test("a forked child reads nothing from the pipes that its parent reads", async () => {
    const pipe = path.join(folder, "pipe-beside");
    execFileSync("mkfifo", [pipe]);
    const program = run("fork-beside-pipe.js", [pipe, "50"]);
    expect(await program.exited).toEqual({ code: 0, signal: null });
    expect([program.stdout, program.stderr]).toEqual(["50\n", ""]);
  });

  test.each([
    ["worker", "another thread with an event loop is alive", 0],
    ["inspector", "the inspector is active", 0],
    ["hooks", "hooks by module.register()", "StartMethodError"],
    ["request", "FSReqCallback", 0],
  ])("fork is refused where a copy is not safe: %s", async (what, words, after) => {
    const pipe = path.join(folder, `pipe-${what}`);
    execFileSync("mkfifo", [pipe]);
    const program = run("fork-refused.js", [what, pipe]);
    await program.exited;
    const report = JSON.parse(program.stdout);
    expect(report).toMatchObject({ name: "StartMethodError", code: "ERR_START_METHOD", after });
    expect(report.message).toMatch(/^Cannot fork Process-1: /);
    expect(report.message).toContain(words);
  });

  test("busy and idle forked children end with a parent that is killed, and leave no files", async () => {
    const pids = path.join(folder, "pids");
    const program = run("fork-family.js", [pids]);
    const read = (): number[] => linesOf(pids).map(Number);
    await until(() => read().length === 4, { message: () => `four to run; ${program.stderr}` });
    program.kill("SIGKILL");
    await until(() => !read().some(isAlive), { message: "all four to end" });
    const remainingFolders = (): string[] => fs.readdirSync(folder).filter((name) => name.startsWith("multiproc-"));
    await until(() => remainingFolders().length === 0, { message: () => `no folder left: ${remainingFolders()}` });
  });
});
