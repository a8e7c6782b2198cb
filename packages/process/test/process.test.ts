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
 * A forked child receives no arguments, so none can be refused, and it has the console of vitest.
 * Tests of both are skipped under `fork`; `fork.test.ts` has its own.
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
  test("start() runs the target in another process, and join() returns its exit code", async () => {
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

  test("the default names of processes are numbered, and the option name replaces them", async () => {
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

  test("the name of a grandchild contains the name of the child", async () => {
    const result = newResultPath();
    const child = new Process({ target: tasks.startChild, args: [result, {}, "nothing", []] });
    await child.start();
    expect(await child.join()).toBe(0);
    expect(read(result).name).toBe(`${child.name}:1`);
  });

  test.skipIf(isCopied)("an inline() function is sent with its captured values", async () => {
    const wanted = { answer: 42 };
    const target = inline((to: string) => console.log(to, wanted.answer), { wanted });
    const child = new Process({ target, args: ["the answer is"], stdio: "pipe" });
    await child.start();
    const [output, exitCode] = await Promise.all([new Response(child.stdout).text(), child.join()]);
    expect(exitCode).toBe(0);
    expect(output).toBe("the answer is 42\n");
  });

  test("a function of fromModule() is a target, and the child can pass it to its own child", async () => {
    const result = newResultPath();
    const child = new Process({ target: tasks.plain, args: [result] });
    await child.start();
    expect(await child.join()).toBe(0);
    expect(read(result)).toBe("plain");
  });

  test.skipIf(isCopied)("run() of a subclass runs in the child with the fields of the instance", async () => {
    const { Greeter, Unregistered } = await import("./fixtures/worker-class.js");
    const result = newResultPath();
    const child = new Greeter(result, "Hello");
    await child.start();
    expect(await child.join()).toBe(0);
    expect(read(result)).toEqual({ text: "Hello from Greeter", isGreeter: true });
    await expect(new Unregistered().start()).rejects.toThrow('start() cannot send the subclass "Unregistered"');
  });

  test("env and cwd change the child, and not this process", async () => {
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

  test("stdout has the complete output of a child that exits right after writing", async () => {
    const text = "x".repeat(1_000_000);
    const child = new Process({ target: tasks.printAndExit, args: [text, 7], stdio: "pipe" });
    await child.start();
    const [output, exitCode] = await Promise.all([new Response(child.stdout).text(), child.join()]);
    expect(output.length).toBe(text.length);
    expect(exitCode).toBe(7);
  });

  test.skipIf(isCopied)(
    "an uncaught error is printed with the name of the process, and the exit code is 1",
    async () => {
      for (const target of [tasks.fail, tasks.failLater]) {
        const child = new Process({ target: target as never, name: "Failing", stdio: "pipe" });
        await child.start();
        const [errors, exitCode] = await Promise.all([new Response(child.stderr).text(), child.join()]);
        expect(exitCode).toBe(1);
        expect(errors).toMatch(/Uncaught error in Failing \(pid \d+\)/);
        expect(errors).toMatch(target === tasks.fail ? /It went wrong[\s\S]*the reason/ : /This is not caught/);
      }
    },
  );

  test("kill(), terminate() and interrupt() end a child by their signals", async () => {
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
      child[call](); // no effect after the end
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
    // Several at a time: a child that has the CPU to itself is ready before the signal arrives.
    for (let round = 0; round < 10; round++) {
      const codes = await Promise.all([interrupted(), interrupted(), interrupted(), interrupted()]);
      expect(codes).toEqual([-2, -2, -2, -2]);
    }
  });

  test("a child can handle terminate(), but not kill()", async () => {
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

  test("join() returns null if the time runs out, and rejects with the reason of its signal", async () => {
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

  test("an aborted signal kills the child during and after its start", async () => {
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

  test("activeChildren() lists the running children", async () => {
    const children = [1, 2].map(() => new Process({ target: tasks.waitForever }));
    await Promise.all(children.map((child) => child.start()));
    expect(new Set(activeChildren())).toEqual(new Set(children));
    for (const child of children) child.kill();
    await Promise.all(children.map((child) => child.join()));
    expect(activeChildren()).toEqual([]);
  });

  test("currentProcess() is MainProcess in the main process, which has no parentProcess()", () => {
    expect(currentProcess().name).toBe("MainProcess");
    expect(currentProcess().pid).toBe(process.pid);
    expect(currentProcess().isAlive()).toBe(true);
    expect(currentProcess()).toBe(currentProcess());
    expect(parentProcess()).toBe(undefined);
  });

  test("a daemonic child cannot start children", async () => {
    const result = newResultPath();
    const child = new Process({ target: tasks.startChild, args: [result, {}, "nothing", []], daemon: true });
    await child.start();
    expect(await child.join()).toBe(0);
    expect(read(result)).toMatchObject({ code: "ERR_DAEMONIC" });
  });

  test("disposing of a process ends the child and closes the object", async () => {
    const child = new Process({ target: tasks.waitForever });
    await child.start();
    const { pid } = child;
    await child[Symbol.asyncDispose]();
    expect(isAlive(pid as number)).toBe(false);
    expect(() => child.isAlive()).toThrow("after close()");
  });

  test("a child receives 100 MiB of arguments, whose memory is free again after start()", async () => {
    const result = newResultPath();
    const bytes = new Uint8Array(100 * 1024 * 1024).fill(7);
    bytes[bytes.length - 1] = 9;
    const child = new Process({ target: tasks.countBytes, args: [result, bytes] });
    await child.start();
    bytes.fill(0); // the child must not see this
    expect(await child.join()).toBe(0);
    expect(read(result)).toEqual({ length: bytes.length, first: 7, last: 9 });
  });
});

describe("Process", () => {
  test.skipIf(isCopied)("the constructor refuses a function without a module, and shows how to mark it", () => {
    expect(() => new Process({ target: function greet() {} })).toThrow(TargetError);
    expect(() => new Process({ target: function greet() {} })).toThrow(
      /"greet".*task\(import\.meta\.url.*fromModule.*inline/,
    );
    expect(() => new Process({ target: 5 as never })).toThrow(TypeError);
    expect(() => new Process({ args: "x" as never })).toThrow(TypeError);
    expect(() => new Process({ startMethod: "teleport" as never })).toThrow('Start method "teleport"');
  });

  test.skipIf(isCopied)("start() rejects for arguments that cannot be sent, with their path", async () => {
    const child = new Process({ target: tasks.writeJson, args: ["x", { handler() {} }] });
    const error = await child.start().catch((error) => error);
    expect(error).toBeInstanceOf(SendError);
    expect(error.path).toBe("args[1].handler");
    expect(activeChildren()).toEqual([]);
  });

  test("start() works once, and join() and kill() only after it", async () => {
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
    expect(child.sentinel).toBe(sentinel); // programs search for it in the result of wait()
  });

  test("no method works after close(), and close() is refused while the child runs", async () => {
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

  test.skipIf(isCopied)("a child whose target cannot be loaded prints the reason and exits with 1", async () => {
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
  });

  test.skipIf(isCopied)("start() rejects with the exit code of a child that ends before it is ready", async () => {
    const child = new Process({ target: tasks.nothing, execArgv: ["--no-such-flag"], stdio: "ignore", name: "Early" });
    const error = await child.start().catch((error) => error);
    expect(error).toBeInstanceOf(StartError);
    expect(error.message).toMatch(/^Early \(pid \d+\) ended with exit code \d+ before it was ready/);
    expect(error.exitCode).toBeGreaterThan(0);
  });

  test("start() rejects if the working directory does not exist", async () => {
    const child = new Process({ target: tasks.nothing, cwd: path.join(folder, "nowhere") });
    await expect(child.start()).rejects.toThrow(StartError);
    await expect(new Process({ target: tasks.nothing, cwd: path.join(folder, "nowhere") }).start()).rejects.toThrow(
      /no folder ".*nowhere"/,
    );
  });

  test("task() refuses a missing name, and inline() a method or a native function", () => {
    expect(() => task(import.meta.url, () => {})).toThrow("needs the name");
    expect(() => task("./relative.js", function f() {})).toThrow("takes the URL of a module");
    expect(() => inline({ method() {} }.method)).toThrow("not as a method");
    expect(() => inline(Math.max)).toThrow("native or bound");
  });
});
