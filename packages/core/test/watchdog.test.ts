import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { isAlive, noChildLeft, until } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";
import { WATCHDOG_JS, WATCHDOG_SH } from "../src/runtime/watchdog-scripts.ts";

afterEach(noChildLeft);

const programs = {
  shell: (args: string[]) => ["/bin/sh", "-c", WATCHDOG_SH, "watchdog", ...args],
  script: (args: string[]) => ["node", "-e", WATCHDOG_JS, "--", ...args],
};

describe.each(["shell", "script"] as const)("the watchdog as a %s", (kind) => {
  const start = (...args: string[]): ChildProcess => {
    const [file, ...rest] = programs[kind](args) as [string, ...string[]];
    return spawn(file, rest, { stdio: ["pipe", "ignore", "inherit"] });
  };
  const sleeper = (): ChildProcess & { pid: number } => spawn("sleep", ["60"], { stdio: "ignore" }) as never;

  test("it kills its owner's children, no other processes, and removes the folder when its owner has ended", async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "watchdog test "));
    fs.writeFileSync(path.join(folder, "a file"), "");
    const [first, second, forgotten, unknown] = [sleeper(), sleeper(), sleeper(), sleeper()];
    const watchdog = start(folder, String(first.pid), String(forgotten.pid));
    watchdog.stdin?.write(`watch ${second.pid}\nforget ${forgotten.pid}\n`);
    for (const child of [first, second, forgotten, unknown]) expect(isAlive(child.pid)).toBe(true);
    watchdog.stdin?.end();
    await until(() => !isAlive(watchdog.pid as number), { message: "the watchdog to end" });
    await until(() => !isAlive(first.pid) && !isAlive(second.pid), { message: "its children to be killed" });
    expect(fs.existsSync(folder)).toBe(false);
    for (const child of [forgotten, unknown]) {
      expect(isAlive(child.pid)).toBe(true);
      child.kill("SIGKILL");
    }
  });

  test("it removes a folder that its owner reports later", async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "watchdog test "));
    const watchdog = start("");
    watchdog.stdin?.end(`own ${folder}\n`);
    await until(() => !fs.existsSync(folder), { message: "the folder to be removed" });
    await until(() => !isAlive(watchdog.pid as number), { message: "the watchdog to end" });
  });

  test("it removes nothing without a folder, and ignores signals that end other programs", async () => {
    const watchdog = start("");
    const child = sleeper();
    watchdog.stdin?.write(`watch ${child.pid}\n`);
    await until(() => handlesSigquit(watchdog.pid as number), { message: "the watchdog to be ready" });
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) watchdog.kill(signal);
    watchdog.stdin?.write("watch 999999999\n"); // there is no such process
    watchdog.stdin?.end();
    await until(() => !isAlive(child.pid), { message: "the child to be killed" });
    await until(() => !isAlive(watchdog.pid as number), { message: "the watchdog to end" });
  });
});

/**
 * Returns whether a process handles SIGQUIT: the last signal for which the watchdog installs a
 * handler. Node has none.
 */
function handlesSigquit(pid: number): boolean {
  const status = fs.readFileSync(`/proc/${pid}/status`, "utf8");
  const mask = (name: string) => BigInt(`0x${new RegExp(`${name}:\\s*(\\S+)`).exec(status)?.[1]}`);
  return ((mask("SigCgt") | mask("SigIgn")) & (1n << 2n)) !== 0n;
}
