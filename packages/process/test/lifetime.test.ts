// Runs under every start method.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { fromModule } from "@multiproc/core";
import { Process } from "@multiproc/process";
import { getStartMethod } from "@multiproc/start-methods";
import { fixture, isAlive, noChildLeft, runProgram, until } from "@multiproc/testing";
import { afterAll, afterEach, describe, expect, onTestFinished, test } from "vitest";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "lifetime-test-"));
let count = 0;
const newResultPath = (): string => path.join(folder, `result-${++count}.json`);
const read = (from: string) => JSON.parse(fs.readFileSync(from, "utf8"));

afterEach(noChildLeft);
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

/** Starts a program that is killed after the test, even if the test fails. */
function run(...args: Parameters<typeof runProgram>): ReturnType<typeof runProgram> {
  const program = runProgram(...args);
  onTestFinished(() => program[Symbol.asyncDispose]());
  return program;
}

/**
 * Creates a folder for the temporary files of one program, which shows what the program leaves
 * behind.
 */
function privateTemp(): string {
  return fs.mkdtempSync(path.join(folder, "t"));
}

describe("the end of a process tree", () => {
  test.each([
    ["wait", "SIGKILL"],
    ["wait", "SIGTERM"],
    ["wait", "SIGINT"],
    ["wait", "SIGHUP"],
    ["throw", undefined],
    ["exit", undefined],
  ])("busy children and grandchildren end with a parent that ends by: %s %s", async (how, signal) => {
    const result = newResultPath();
    const temp = privateTemp();
    const program = run(fixture(import.meta.url, "family-of-three.js"), [how, result], {
      env: { TMPDIR: temp },
    });
    await until(() => fs.existsSync(`${result}.parent`), { message: () => `all three to run; ${program.stderr}` });
    const { pid: child } = read(result);
    const grandchild = read(`${result}.grandchild`);
    if (signal !== undefined) program.kill(signal);
    await until(() => !isAlive(program.pid));
    const startedAt = performance.now();
    await until(() => !isAlive(child) && !isAlive(grandchild), { timeout: 5000, message: "both to end" });
    // Ten times the promised time: a slow machine must pass, and a hang must fail.
    expect(performance.now() - startedAt).toBeLessThan(2500);
    await until(() => fs.readdirSync(temp).length === 0, { message: () => `no folder left: ${fs.readdirSync(temp)}` });
    await program.exited;
  });

  test("the children of a child end when the child is killed", async () => {
    const result = newResultPath();
    const child = new Process({
      target: tasks.startChild,
      args: [result, {}, "loopForever", [`${result}.grandchild`]],
    });
    await child.start();
    await until(() => fs.existsSync(result) && fs.existsSync(`${result}.grandchild`));
    const grandchild = read(`${result}.grandchild`);
    expect(isAlive(grandchild)).toBe(true);
    child.kill();
    expect(await child.join()).toBe(-9);
    await until(() => !isAlive(grandchild), { timeout: 5000, message: "the grandchild to end" });
  });

  test("a program waits for its children before it ends, and ends its daemons", async () => {
    const temp = privateTemp();
    const program = run(fixture(import.meta.url, "ends-by-itself.js"), [], { env: { TMPDIR: temp } });
    const { code } = await program.exited;
    expect(program.stderr).toBe("");
    expect(code).toBe(0);
    expect(program.stdout).toContain("the child has run");
    const daemon = Number(/daemon (\d+)/.exec(program.stdout)?.[1]);
    await until(() => !isAlive(daemon), { message: "the daemonic child to end" });
    await until(() => fs.readdirSync(temp).length === 0, { message: () => `no folder left: ${fs.readdirSync(temp)}` });
  });

  test("a new watchdog replaces a killed one", async () => {
    const result = newResultPath();
    const temp = privateTemp();
    const program = run(fixture(import.meta.url, "family-of-three.js"), ["wait", result], {
      env: { TMPDIR: temp },
    });
    await until(() => fs.existsSync(`${result}.parent`), { message: () => `all three to run; ${program.stderr}` });
    const [first] = (await until(() => watchdogs(program.pid))) as number[];
    process.kill(first as number, "SIGKILL");
    const second = await until(() => watchdogs(program.pid)?.find((pid) => pid !== first));
    await until(() => fs.readFileSync(`/proc/${second}/cmdline`, "utf8").includes(temp));
    program.kill("SIGKILL");
    await until(() => !isAlive(read(result).pid), { message: "the child to end" });
    await until(() => fs.readdirSync(temp).length === 0, { message: () => `no folder left: ${fs.readdirSync(temp)}` });
    await program.exited;
  });
});

describe("starts during imports", () => {
  // A forked child imports nothing.
  test.skipIf(getStartMethod() === "fork")(
    "a child that imports a module cannot start processes, so that spawning never recurses",
    async () => {
      const program = run(fixture(import.meta.url, "starts-while-importing.js"));
      await program.exited;
      expect(program.stdout).toContain("exit code 1");
      expect(program.stderr).toContain("Cannot start a process while this one is still importing its modules");
    },
  );
});

describe("daemons", () => {
  test.each(["pipe", "reader"])("a daemon whose output is read keeps no program alive: %s", async (mode) => {
    const program = run(fixture(import.meta.url, "leaves-daemon.js"), [mode]);
    const { code } = await program.exited;
    const expected = mode === "pipe" ? "I am here\n" : "I am here\nend\n";
    expect([program.stdout, program.stderr, code]).toEqual([expected, "", 0]);
  });
});

describe("temporary folder", () => {
  test("a program uses another temporary folder if TMPDIR is not writable", async () => {
    const program = run(fixture(import.meta.url, "starts-one.js"), [], {
      env: { TMPDIR: "/proc/self/nowhere" },
    });
    await program.exited;
    expect(program.stdout).toBe("exit code 0\n");
  });

  // Needs a mount namespace: root has one, or users may create their own.
  test.skipIf(spawnSync("unshare", ["-rm", "true"]).status !== 0).each([
    ["no disk is writable", "mount -o remount,ro"],
    ["every disk is full", "fill"],
  ])("start() lists the folders that it tried when %s", async (_, makeUnwritable) => {
    // The repository itself may be in one of the folders.
    const script = `
      fill() { i=0; while mkdir $1/fill-$i 2>/dev/null; do i=$((i + 1)); done; }
      mount --bind "$1" /mnt
      for folder in /tmp /var/tmp /dev/shm; do mount -t tmpfs -o nr_inodes=50 none $folder; done
      mkdir -p "$1" && mount --bind /mnt "$1"
      for folder in /tmp /var/tmp /dev/shm; do ${makeUnwritable} $folder; done
      cd "$1"; shift; exec "$@"`;
    const program = run(fixture(import.meta.url, "starts-one.js"), [], {
      env: { TMPDIR: "/tmp" },
      wrap: ["unshare", "-rm", "sh", "-c", script, "sh", fileURLToPath(new URL("../../..", import.meta.url))],
    });
    await program.exited;
    expect(program.stdout).toMatch(
      /^\w+Error: .*Cannot create a private folder for sockets \(.*\/tmp: .*\/dev\/shm: .*\): set TMPDIR /,
    );
  });
});

/** Returns the watchdogs of a process: shells among its children with the name of the watchdog. */
function watchdogs(pid: number): number[] | undefined {
  const found = fs
    .readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const stat = fs.readFileSync(`/proc/${name}/stat`, "utf8");
        const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
        return parent === pid && fs.readFileSync(`/proc/${name}/cmdline`, "utf8").includes("multiproc-watchdog");
      } catch {
        return false;
      }
    });
  return found.length > 0 ? found.map(Number) : undefined;
}
