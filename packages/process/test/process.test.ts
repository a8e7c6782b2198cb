// Runs under every start method.
import fs from "node:fs";
import module from "node:module";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { fromModule, inline, ProcessError, SendError, StartError, TargetError, task } from "@multiproc/core";
import { activeChildren, currentProcess, Process, parentProcess } from "@multiproc/process";
import { getStartMethod } from "@multiproc/start-methods";
import { fixture, host, isAlive, noChildLeft, runProgram, until } from "@multiproc/testing";
import { afterAll, afterEach, describe, expect, test } from "vitest";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "process-test-"));
/**
 * A copy has what it needs without being sent it, so that nothing of that can be refused; and it has the test runner's console.
 * What it does in place of that, `fork.test.ts` shows.
 */
const isCopied = getStartMethod() === "fork";
let count = 0;
const newResultPath = (): string => path.join(folder, `result-${++count}.json`);
const read = (from: string) => JSON.parse(fs.readFileSync(from, "utf8"));
const untilWritten = (from: string) =>
  until(() => fs.existsSync(from) && read(from), { message: `${from} to be written` });

afterEach(noChildLeft);
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

describe("Process", () => {
  test("start() runs the target in another process, join() gives its exit code", async () => {
    const result = newResultPath();
    const child = new Process({ target: tasks.whoAmI, args: [result] });
    expect(child.pid).toBe(undefined);
    expect(child.isAlive()).toBe(false);
    await child.start();
    expect(child.pid).toBeGreaterThan(0);
    expect(child.pid).not.toBe(process.pid);
    expect(await child.join()).toBe(0);
    expect(child.exitCode).toBe(0);
    expect(child.signal).toBe(null);
    expect(child.isAlive()).toBe(false);
    expect(read(result)).toEqual({
      name: child.name,
      pid: child.pid,
      daemon: false,
      alive: true,
      parent: { name: "MainProcess", pid: process.pid },
      children: 0,
    });
  });

  test("names count up, and can be chosen", async () => {
    const first = new Process({ target: tasks.nothing });
    const second = new Process({ target: tasks.nothing });
    const numberOf = (name: string) => Number(/^Process-(\d+)$/.exec(name)?.[1]);
    expect(numberOf(second.name)).toBe(numberOf(first.name) + 1);
    const result = newResultPath();
    const named = new Process({ target: tasks.whoAmI, args: [result], name: "Ada" });
    await named.start();
    await named.join();
    expect(read(result).name).toBe("Ada");
  });

  test("a child's child is named after both", async () => {
    const result = newResultPath();
    const child = new Process({ target: tasks.startChild, args: [result, {}, "nothing", []] });
    await child.start();
    expect(await child.join()).toBe(0);
    expect(read(result).name).toBe(`${child.name}:1`);
  });

  test.skipIf(isCopied)("an inline() function travels with what it captures", async () => {
    const wanted = { answer: 42 };
    const target = inline((to: string) => console.log(to, wanted.answer), { wanted });
    const child = new Process({ target, args: ["the answer is"], stdio: "pipe" });
    await child.start();
    const [output, exitCode] = await Promise.all([new Response(child.stdout).text(), child.join()]);
    expect(exitCode).toBe(0);
    expect(output).toBe("the answer is 42\n");
  });

  test("fromModule() names any exported function, and the child can pass it on", async () => {
    const result = newResultPath();
    const child = new Process({ target: tasks.plain, args: [result] });
    await child.start();
    expect(await child.join()).toBe(0);
    expect(read(result)).toBe("plain");
  });

  test.skipIf(isCopied)("a subclass' run() runs in the child with the instance's own fields", async () => {
    const { Greeter, Unregistered } = await import("./fixtures/worker-class.js");
    const result = newResultPath();
    const child = new Greeter(result, "Hello");
    await child.start();
    expect(await child.join()).toBe(0);
    expect(read(result)).toEqual({ text: "Hello from Greeter", isGreeter: true });
    await expect(new Unregistered().start()).rejects.toThrow('start() cannot send the subclass "Unregistered"');
  });

  test("env and cwd are the child's alone", async () => {
    const result = newResultPath();
    const child = new Process({
      target: tasks.environment,
      args: [result, "MP_TEST"],
      env: { MP_TEST: "yes" },
      cwd: fs.realpathSync(folder),
    });
    await child.start();
    expect(await child.join()).toBe(0);
    expect(read(result)).toEqual({ value: "yes", cwd: fs.realpathSync(folder) });
    expect(process.env.MP_TEST).toBe(undefined);
  });

  test.skipIf(host === "deno" || !("enableCompileCache" in module))(
    "a child uses the compile cache of its parent",
    async () => {
      const cache = path.join(fs.realpathSync(folder), "cache");
      await using program = runProgram(fixture(import.meta.url, "uses-compile-cache.js"), [cache]);
      await program.exited;
      expect(program.stdout).toContain(`${cache}${path.sep}`);
    },
  );

  test("stdout is a stream with all that the child wrote, also when it exits at once", async () => {
    const text = "x".repeat(1_000_000);
    const child = new Process({ target: tasks.printAndExit, args: [text, 7], stdio: "pipe" });
    await child.start();
    const [output, exitCode] = await Promise.all([new Response(child.stdout).text(), child.join()]);
    expect(output.length).toBe(text.length);
    expect(exitCode).toBe(7);
  });

  test.skipIf(isCopied)("an uncaught error is printed with the process's name, and the exit code is 1", async () => {
    for (const target of [tasks.fail, tasks.failLater]) {
      const child = new Process({ target: target as never, name: "Failing", stdio: "pipe" });
      await child.start();
      const [errors, exitCode] = await Promise.all([new Response(child.stderr).text(), child.join()]);
      expect(exitCode).toBe(1);
      expect(errors).toMatch(/Uncaught error in Failing \(pid \d+\)/);
      expect(errors).toMatch(target === tasks.fail ? /It went wrong[\s\S]*the reason/ : /Nobody catches this/);
    }
  });

  test("kill(), terminate() and interrupt() end it by their signals", async () => {
    for (const [call, signal, signalNumber] of [
      ["kill", "SIGKILL", 9],
      ["terminate", "SIGTERM", 15],
      ["interrupt", "SIGINT", 2],
    ] as const) {
      const child = new Process({ target: tasks.waitForever });
      await child.start();
      expect(child.isAlive()).toBe(true);
      child[call]();
      expect(await child.join()).toBe(-signalNumber);
      expect(child.signal).toBe(signal);
      child[call](); // has ended: nothing happens
    }
  });

  test("a signal right after start() is not lost", async () => {
    const interrupted = async () => {
      const child = new Process({ target: tasks.waitForever });
      await child.start();
      child.interrupt();
      const code = await child.join({ timeout: 10_000 });
      if (code === null) child.kill();
      return code;
    };
    // Several at a time: a child that has the CPU to itself is too quick to be met in between.
    for (let round = 0; round < 10; round++) {
      const codes = await Promise.all([interrupted(), interrupted(), interrupted(), interrupted()]);
      expect(codes).toEqual([-2, -2, -2, -2]);
    }
  });

  test("terminate() can be handled, kill() cannot", async () => {
    const result = newResultPath();
    const child = new Process({ target: tasks.ignoreSigterm, args: [result] });
    await child.start();
    await untilWritten(result);
    child.terminate();
    await untilWritten(`${result}.seen`);
    expect(await child.join({ timeout: 0 })).toBe(null);
    child.kill();
    expect(await child.join()).toBe(-9);
  });

  test("join() gives null when the time runs out, and the reason of its signal", async () => {
    const child = new Process({ target: tasks.waitForever });
    await child.start();
    expect(await child.join({ timeout: 10 })).toBe(null);
    expect(child.exitCode).toBe(null);
    const reason = new Error("enough");
    await expect(child.join({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await expect(child.join({ timeout: -1 })).rejects.toThrow(RangeError);
    child.kill();
    await child.join();
  });

  test("an aborted signal kills the child, before and after it is up", async () => {
    const after = new AbortController();
    const child = new Process({ target: tasks.waitForever, signal: after.signal });
    await child.start();
    after.abort();
    expect(await child.join()).toBe(-9);
    const reason = new Error("no more");
    const during = new AbortController();
    const starting = new Process({ target: tasks.waitForever, signal: during.signal }).start();
    during.abort(reason);
    await expect(starting).rejects.toBe(reason);
    await expect(new Process({ target: tasks.nothing, signal: AbortSignal.abort(reason) }).start()).rejects.toBe(
      reason,
    );
  });

  test("activeChildren() lists those that run", async () => {
    const children = [1, 2].map(() => new Process({ target: tasks.waitForever }));
    await Promise.all(children.map((child) => child.start()));
    expect(new Set(activeChildren())).toEqual(new Set(children));
    for (const child of children) child.kill();
    await Promise.all(children.map((child) => child.join()));
    expect(activeChildren()).toEqual([]);
  });

  test("currentProcess() and parentProcess() in the main process", () => {
    expect(currentProcess().name).toBe("MainProcess");
    expect(currentProcess().pid).toBe(process.pid);
    expect(currentProcess().isAlive()).toBe(true);
    expect(currentProcess()).toBe(currentProcess());
    expect(parentProcess()).toBe(undefined);
  });

  test("a daemonic child may have no children", async () => {
    const result = newResultPath();
    const child = new Process({ target: tasks.startChild, args: [result, {}, "nothing", []], daemon: true });
    await child.start();
    expect(await child.join()).toBe(0);
    expect(read(result)).toMatchObject({ code: "ERR_DAEMONIC" });
  });

  test("await using ends and closes it", async () => {
    const child = new Process({ target: tasks.waitForever });
    await child.start();
    const { pid } = child;
    await child[Symbol.asyncDispose]();
    expect(isAlive(pid as number)).toBe(false);
    expect(() => child.isAlive()).toThrow("after close()");
  });

  test("100 MiB of arguments arrive", async () => {
    const result = newResultPath();
    const bytes = new Uint8Array(100 * 1024 * 1024).fill(7);
    bytes[bytes.length - 1] = 9;
    const child = new Process({ target: tasks.countBytes, args: [result, bytes] });
    await child.start();
    bytes.fill(0); // start() is over: the memory is ours again
    expect(await child.join()).toBe(0);
    expect(read(result)).toEqual({ length: bytes.length, first: 7, last: 9 });
  });
});

describe("Process refuses", () => {
  test.skipIf(isCopied)("a target that has no module, showing the ways", () => {
    expect(() => new Process({ target: function greet() {} })).toThrow(TargetError);
    expect(() => new Process({ target: function greet() {} })).toThrow(
      /"greet".*task\(import\.meta\.url.*fromModule.*inline/,
    );
    expect(() => new Process({ target: 5 as never })).toThrow(TypeError);
    expect(() => new Process({ args: "x" as never })).toThrow(TypeError);
    expect(() => new Process({ startMethod: "teleport" as never })).toThrow('Start method "teleport"');
  });

  test.skipIf(isCopied)("arguments that cannot be sent, at the call and with their path", async () => {
    const child = new Process({ target: tasks.writeJson, args: ["x", { handler() {} }] });
    const error = await child.start().catch((error) => error);
    expect(error).toBeInstanceOf(SendError);
    expect(error.path).toBe("args[1].handler");
    expect(activeChildren()).toEqual([]);
  });

  test("a second start(), and what comes before the first", async () => {
    const child = new Process({ target: tasks.nothing });
    await expect(child.join()).rejects.toThrow("before it was started");
    expect(() => child.kill()).toThrow("before it was started");
    expect(() => child.sentinel).toThrow("before it was started");
    await child.start();
    await expect(child.start()).rejects.toThrow("has been called on");
    expect(() => {
      child.daemon = true;
    }).toThrow(ProcessError);
    const { sentinel } = child;
    await child.join();
    expect(child.sentinel).toBe(sentinel); // it is looked for among those that wait() gives
  });

  test("everything after close(), and close() while it runs", async () => {
    const child = new Process({ target: tasks.waitForever });
    await child.start();
    expect(() => child.close()).toThrow("while it runs");
    child.kill();
    await child.join();
    child.close();
    await expect(child.start()).rejects.toThrow("after close()");
    await expect(child.join()).rejects.toThrow("after close()");
    for (const use of [
      () => child.kill(),
      () => child.isAlive(),
      () => child.pid,
      () => child.exitCode,
      () => child.sentinel,
    ]) {
      expect(use).toThrow("after close()");
    }
  });

  test.skipIf(isCopied)(
    "a missing export, a module that fails and one that is not there: the child says so and exits with 1",
    async () => {
      const { missing, notAFunction } = fromModule<{ missing(): void; notAFunction(): void }>(
        fixture(import.meta.url, "one-export.js"),
      );
      const { any } = fromModule<{ any(): void }>(fixture(import.meta.url, "throws-while-loading.js"));
      const { other } = fromModule<{ other(): void }>(fixture(import.meta.url, "not-there.js"));
      const cases = [
        [missing, /TargetError: Module "file:.*one-export\.js" has no export "missing"/],
        [notAFunction, /Export "notAFunction" of module ".*" is not a function but number/],
        [any, /Module ".*throws-while-loading\.js" could not be loaded: This module cannot be loaded/],
        [other, /Module ".*not-there\.js" could not be loaded/],
      ] as const;
      for (const [target, message] of cases) {
        const child = new Process({ target, stdio: "pipe" });
        await child.start();
        const [errors, exitCode] = await Promise.all([new Response(child.stderr).text(), child.join()]);
        expect(errors).toMatch(message);
        expect(exitCode).toBe(1);
      }
    },
  );

  test.skipIf(isCopied)("a child that ends before it is ready: start() says how", async () => {
    const child = new Process({ target: tasks.nothing, execArgv: ["--no-such-flag"], stdio: "ignore", name: "Early" });
    const error = await child.start().catch((error) => error);
    expect(error).toBeInstanceOf(StartError);
    expect(error.message).toMatch(/^Early \(pid \d+\) ended with exit code \d+ before it was ready/);
    expect(error.exitCode).toBeGreaterThan(0);
  });

  test("a folder that does not exist", async () => {
    const child = new Process({ target: tasks.nothing, cwd: path.join(folder, "nowhere") });
    await expect(child.start()).rejects.toThrow(StartError);
    await expect(new Process({ target: tasks.nothing, cwd: path.join(folder, "nowhere") }).start()).rejects.toThrow(
      /no folder ".*nowhere"/,
    );
  });

  test("task() with a name that is no name, inline() with what is no expression", () => {
    expect(() => task(import.meta.url, () => {})).toThrow("needs the name");
    expect(() => task("./relative.js", function f() {})).toThrow("takes the URL of a module");
    expect(() => inline({ method() {} }.method)).toThrow("not as a method");
    expect(() => inline(Math.max)).toThrow("native or bound");
  });
});
