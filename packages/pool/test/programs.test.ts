// Whole programs with pools.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { fixture, host, isAlive, linesOf, noChildLeft, runProgram, until } from "@multiproc/testing";
import { afterEach, expect, onTestFinished, test } from "vitest";

afterEach(() => noChildLeft());

test("a progress bar does not keep the program alive, and draws only on a terminal", async () => {
  const program = runProgram(fixture(import.meta.url, "shows-progress.js"));
  onTestFinished(() => program[Symbol.asyncDispose]());
  const { code } = await program.exited;
  expect([program.stderr, program.stdout, code]).toEqual(["", "[ 1, 4, 9 ]\nNo 3\n", 0]);
});

// On Deno, a program cannot find out that it is being debugged.
test.skipIf(host === "deno")(
  "the workers of a program that is being debugged listen for a debugger, each at its own port",
  async () => {
    const program = runProgram(fixture(import.meta.url, "debugged.js"), [], { execArgv: ["--inspect=127.0.0.1:0"] });
    onTestFinished(() => program[Symbol.asyncDispose]());
    const { code } = await program.exited;
    const ports = [...program.stderr.matchAll(/ws:\/\/127\.0\.0\.1:(\d+)/g)].map(([, port]) => port);
    await until(() => new Set(ports).size === 3, { message: () => program.stderr });
    expect([program.stdout, code]).toEqual(["[ 1, 4, 9 ]\n", 0]);
  },
);

test.skipIf(process.platform !== "linux")(
  "Ctrl+C reaches the whole process group, and ends it without errors",
  async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "pool-programs-test-"));
    onTestFinished(() => fs.rmSync(folder, { recursive: true, force: true }));
    const marks = path.join(folder, "marks");
    const pids = () => linesOf(marks).map(Number);
    const program = runProgram(fixture(import.meta.url, "busy.js"), [marks], { wrap: ["setsid"] });
    onTestFinished(() => program[Symbol.asyncDispose]());
    await until(() => pids().length === 2, { timeout: 20_000, message: () => program.stderr });
    process.kill(-program.pid, "SIGINT");
    const { signal } = await program.exited;
    await until(() => !pids().some(isAlive), { message: "the workers to be gone" });
    expect([program.stdout, program.stderr, signal]).toEqual(["", "", "SIGINT"]);
  },
);
