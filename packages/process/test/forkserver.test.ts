import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { fromModule, StartError } from "@multiproc/core";
import { singleton } from "@multiproc/core/internal";
import { Process, type ProcessOptions } from "@multiproc/process";
import {
  closeForkserver,
  forkserverKind,
  getStartMethod,
  StartMethodError,
  setExecutable,
  setForkserverPreload,
  setStartMethod,
} from "@multiproc/start-methods";
import {
  descendants,
  fixture,
  host,
  isAlive,
  noChildLeft,
  runProgram,
  until,
  WITHOUT_NATIVE,
} from "@multiproc/testing";
import { afterAll, afterEach, describe, expect, test } from "vitest";

const url = (name: string) => fixture(import.meta.url, name);
const tasks = fromModule<typeof import("./fixtures/server-tasks.js")>(url("server-tasks.js"));
const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "forkserver-test-")));
let count = 0;
const newResultPath = (): string => path.join(folder, `result-${++count}.json`);
const read = (from: string) => JSON.parse(fs.readFileSync(from, "utf8"));
const untilWritten = (from: string) =>
  until(() => fs.existsSync(from) && read(from), { message: `${from} to be written` });
/** Returns the pids of servers, preforked children and spares. */
const helperPids = () => [...singleton("helper processes", () => new Set<number>())];
const canFork = host === "node" && process.platform === "linux" && process.arch === "x64";

afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));
afterEach(async () => {
  await closeForkserver();
  setForkserverPreload([]);
  await noChildLeft();
});

type OtherOptions = Omit<ProcessOptions, "target" | "args">;

async function start<A extends unknown[]>(target: (...args: A) => unknown, args: A, options: OtherOptions = {}) {
  const child = new Process({ target, args, startMethod: "forkserver", ...options });
  await child.start();
  return child;
}

/** Starts a child; returns its report about its process. */
async function childReport(options: OtherOptions = {}) {
  const to = newResultPath();
  const child = await start(tasks.lookAround, [to], options);
  expect(await child.join()).toBe(0);
  expect(read(to).pid).toBe(child.pid);
  return read(to);
}

describe("forkserver", () => {
  test("forkserverKind() reports whether children are forked, or why not", async () => {
    const { kind, reason } = await forkserverKind();
    expect(kind).toBe(canFork ? "fork" : "spares");
    if (canFork) expect(reason).toBe(undefined);
    else expect(reason).toContain("forking requires Node on Linux");
  });

  test("preloaded modules are loaded before the child is created", async () => {
    setForkserverPreload([url("server-tasks.js")]);
    const [first, second] = [await childReport(), await childReport()];
    expect(first.pid).not.toBe(second.pid);
    if (canFork) {
      expect(first.loadedBy).toBe(first.ppid);
      expect(second.loadedBy).toBe(first.loadedBy);
    } else expect(first.loadedBy).toBe(first.pid);
    expect(() => setForkserverPreload([])).toThrow(StartMethodError);
    setForkserverPreload([url("server-tasks.js")]); // the same modules are accepted
  });

  test("setForkserverPreload() refuses what is not an array of URLs", () => {
    expect(() => setForkserverPreload(["typescript"])).toThrow('import.meta.resolve("name"), not "typescript"');
    expect(() => setForkserverPreload("node:fs" as never)).toThrow(TypeError);
  });

  test("an error of a preloaded module is the cause of each failed start", async () => {
    setForkserverPreload([url("preload-throws.js")]);
    for (let i = 0; i < 2; i++) {
      const error = await childReport().catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(StartError);
      expect((error as StartError).message).toContain("preload-throws.js");
      expect(((error as StartError).cause as Error).stack).toContain("This module does not load");
    }
    setForkserverPreload([]);
    await childReport();
  });

  test("a preloaded module cannot start a process", async () => {
    setForkserverPreload([url("preload-starts-process.js")]);
    await expect(childReport()).rejects.toThrow("Cannot start a process while this one is still importing its modules");
  });

  test.each([
    ["preload-opens-socket.js", /keep 1 socket open/],
    ["preload-starts-worker.js", /a worker/],
  ])("children are spares if a preloaded module cannot be forked: %s", { timeout: 60_000 }, async (name, reason) => {
    setForkserverPreload([url(name)]);
    const found = await forkserverKind();
    expect(found.kind).toBe("spares");
    if (canFork) expect(found.reason).toMatch(reason);
    await childReport();
  });

  test("a signal cancels a start that waits for a module", async () => {
    setForkserverPreload([url("preload-never-loads.js")]);
    const abort = new AbortController();
    const pendingReport = childReport({ signal: abort.signal });
    setTimeout(() => abort.abort(new Error("No longer wanted")), 100);
    await expect(pendingReport).rejects.toThrow("No longer wanted");
    await expect(forkserverKind({ timeout: 50 })).rejects.toThrow("forkserverKind()");
  });

  test("a child has the environment and working directory of its owner, not those of the server", async () => {
    await forkserverKind();
    const [cwd] = [process.cwd()];
    try {
      process.env.MP_TEST = "late";
      process.chdir(folder);
      expect(await childReport()).toMatchObject({ value: "late", cwd: folder });
      expect(await childReport({ env: { MP_TEST: "mine" }, cwd: ".." })).toMatchObject({
        value: "mine",
        cwd: path.dirname(folder),
      });
    } finally {
      delete process.env.MP_TEST;
      process.chdir(cwd);
    }
    expect(await childReport()).toMatchObject({ value: null, cwd, interrupts: 0 });
    await expect(childReport({ cwd: "/no/such/folder" })).rejects.toThrow(StartError);
  });

  test("setExecutable() applies to children after the server has started", async () => {
    await childReport();
    const wrapper = path.join(folder, "interpreter.sh");
    fs.writeFileSync(wrapper, `#!/bin/sh\nMARK=wrapped exec '${process.execPath}' "$@"\n`, { mode: 0o755 });
    setExecutable(wrapper);
    try {
      expect((await childReport()).mark).toBe("wrapped");
    } finally {
      setExecutable(undefined);
    }
    expect((await childReport()).mark).toBe(undefined);
  });

  test("a grandchild is started by the same method and the same server", async () => {
    const to = newResultPath();
    const before = getStartMethod();
    setStartMethod("forkserver", { force: true });
    const child = await start(tasks.startAnother, [to]);
    setStartMethod(before, { force: true });
    expect(await child.join()).toBe(0);
    expect(read(`${to}.child`).method).toBe("forkserver");
    if (canFork) expect(read(`${to}.child`).ppid).toBe(read(to).ppid);
  });

  test("a child that crashes does not end its siblings", async () => {
    const to = newResultPath();
    const busy = await start(tasks.spin, [to]);
    await untilWritten(to);
    // The handler of Rust for segmentation faults ignores a signal that was only sent.
    const signal = host === "node" ? "SIGSEGV" : "SIGABRT";
    const crashing = await start(tasks.crash, [signal]);
    await crashing.join();
    expect(crashing.signal).toBe(signal);
    expect(busy.isAlive()).toBe(true);
    busy.kill();
    await busy.join();
  });

  test("an idle spare becomes the next child", { timeout: 60_000 }, async () => {
    setForkserverPreload([url("preload-starts-worker.js")]);
    expect((await forkserverKind()).kind).toBe("spares");
    for (let i = 0; i < 3; i++) {
      await until(() => helperPids().length > 0);
      const spares = helperPids();
      const child = await start(tasks.lookAround, [newResultPath()]);
      expect(spares).toContain(child.pid);
      await child.join();
    }
  });

  test("an idle spare that is killed is replaced", { timeout: 60_000 }, async () => {
    setForkserverPreload([url("preload-starts-worker.js")]);
    for (let i = 0; i < 3; i++) {
      expect((await forkserverKind()).kind).toBe("spares");
      await until(() => helperPids().length > 0);
      const spares = helperPids();
      for (const spare of spares) process.kill(spare, "SIGKILL");
      if (i === 1) await until(() => !spares.some(isAlive));
      await childReport();
    }
  });

  test.skipIf(!canFork)("a killed server is replaced, and its children are reported as killed", async () => {
    const to = newResultPath();
    const children = [await start(tasks.spin, [to]), await start(tasks.spin, [newResultPath()])];
    await untilWritten(to);
    const { ppid } = await childReport();
    process.kill(ppid, "SIGKILL");
    const next = childReport(); // before this process has noticed the end of the server
    for (const child of children) {
      expect(await child.join()).toBe(-9);
      expect(child.signal).toBe("SIGKILL");
    }
    expect((await next).ppid).not.toBe(ppid);
  });
});

test("MULTIPROC_START_METHOD sets the default start method, and an unknown name is refused", async () => {
  const run = async (method: string) => {
    await using program = runProgram(url("starts-one.js"), [], { env: { MULTIPROC_START_METHOD: method } });
    await program.exited;
    return program.stdout;
  };
  expect(await run("forkserver")).toBe("exit code 0\n");
  expect(await run("teleport")).toContain(
    'StartMethodError: The environment variable MULTIPROC_START_METHOD is "teleport"',
  );
});

describe.each([[], ...(canFork ? [WITHOUT_NATIVE] : [])])("an owner with %s", (...flags: string[]) => {
  const run = (to: string) =>
    runProgram(url("owns-servers.js"), [to], host === "node" ? { execArgv: flags } : { execArgv: ["-A"] });

  test("a killed owner ends its servers, spares and children", { timeout: 60_000 }, async () => {
    const to = newResultPath();
    await using owner = run(to);
    const busy = await untilWritten(to);
    await until(() => owner.stdout.endsWith("\n"));
    const forks = canFork && flags.length === 0;
    expect(JSON.parse(owner.stdout)).toMatchObject({ kind: forks ? "fork" : "spares", exitCode: 0 });
    // Wait for the spare that replaces the assigned one.
    if (!forks) await until(() => descendants(owner.pid).length >= 3);
    const descendantPids = descendants(owner.pid);
    expect(descendantPids).toContain(busy);
    owner.kill("SIGKILL");
    await until(() => !descendantPids.some(isAlive));
  });
});
