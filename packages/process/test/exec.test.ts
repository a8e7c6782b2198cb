// Runs under every start method.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { fromModule } from "@multiproc/core";
import { Process } from "@multiproc/process";
import { fixture, isAlive, noChildLeft, runProgram, until } from "@multiproc/testing";
import { afterAll, afterEach, describe, expect, onTestFinished, test } from "vitest";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "exec-process-test-"));

afterEach(noChildLeft);
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

describe.skipIf(process.platform !== "linux")("exec() in a process tree", () => {
  test("exec() ends the children of the replaced program, and leaves no folder", async () => {
    const pidFile = path.join(folder, "pid");
    const temp = fs.mkdtempSync(path.join(folder, "t"));
    const program = runProgram(fixture(import.meta.url, "exec-with-child.js"), [pidFile], { env: { TMPDIR: temp } });
    onTestFinished(() => program[Symbol.asyncDispose]());
    const isReplaced = (): boolean =>
      fs.existsSync(`/proc/${program.pid}/comm`) && fs.readFileSync(`/proc/${program.pid}/comm`, "utf8") === "sleep\n";
    await until(isReplaced, { message: () => `the program to be replaced; ${program.stderr}` });
    const child = Number(fs.readFileSync(pidFile, "utf8"));
    await until(() => !isAlive(child), { message: "the child to end" });
    await until(() => fs.readdirSync(temp).length === 0, { message: "the folder to be removed" });
    expect(isAlive(program.pid)).toBe(true);
    program.kill("SIGKILL");
    await program.exited;
  });

  test("join() returns the exit code of the program that replaced the child", async () => {
    const { become } = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
    const child = new Process({ target: become, args: ["sh", "-c", "exit 21"] });
    await child.start();
    expect(await child.join()).toBe(21);
  });
});
