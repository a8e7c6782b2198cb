import fs from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { StartError } from "@multiproc/core";
import { host as multiprocHost } from "@multiproc/core/internal";
import { loadForkServer } from "@multiproc/start-methods";
import { fixture, host, isAlive, noChildLeft, runProgram, until, WITHOUT_NATIVE } from "@multiproc/testing";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

const { ForkRefusedError, ForkServer, ServerConnection } = await loadForkServer();
type Server = Awaited<ReturnType<typeof ForkServer.start>>;
type ForkOrder = Parameters<Server["start"]>[0];
const tasks = fixture(import.meta.url, "fork-tasks.js").href;
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "fork-test-"));
const call = (name: string) => ({ module: tasks, name });
const canFork = host === "node" && process.platform === "linux" && process.arch === "x64";
/** Each child needs more than 0.5 s of CPU time. MULTIPROC_STRESS=2000 sets another number. */
const STRESS_CHILD_COUNT = Number(process.env.MULTIPROC_STRESS ?? 24);

afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

/** Runs a task in a child; returns its output and its end. */
async function run(server: Server, name: string, args: string[] = [], order: Partial<ForkOrder> = {}) {
  const child = await server.start({ call: call(name), args, stdout: "pipe", ...order });
  const output = (stream: ReadableStream<Uint8Array> | null) => (stream === null ? "" : new Response(stream).text());
  const [stdout, stderr, { code, signal }] = await Promise.all([
    output(child.stdout),
    output(child.stderr),
    child.exited,
  ]);
  return { pid: child.pid, stdout, stderr, code, signal };
}

describe.skipIf(!canFork)("ForkServer", () => {
  let server: Server;

  beforeAll(async () => {
    server = await ForkServer.start({ preload: [tasks] });
  });
  afterAll(async () => {
    await server.close();
    await noChildLeft();
  });

  test("ForkServer.start() runs a function in a child of the server", async () => {
    const child = await run(server, "whoAmI", ["a", "é€"]);
    expect(child.code).toBe(0);
    expect(JSON.parse(child.stdout)).toEqual({
      pid: child.pid,
      ppid: server.pid,
      args: ["a", "é€"],
      argv: [decodeURIComponent(new URL(tasks).pathname)],
      cwd: process.cwd(),
      value: null,
      stdin: "/dev/null",
    });
  });

  test("env and cwd change one child, and not the server", async () => {
    const real = fs.realpathSync(folder);
    const child = await run(server, "whoAmI", [], { env: { MP_TEST: "yes", PWD: null }, cwd: real });
    expect(JSON.parse(child.stdout)).toMatchObject({ value: "yes", cwd: real });
    expect(JSON.parse((await run(server, "whoAmI")).stdout)).toMatchObject({ value: null, cwd: process.cwd() });
    await expect(server.start({ call: call("wait"), args: [], cwd: "/no/such/folder" })).rejects.toThrow(
      ForkRefusedError,
    );
  });

  test("exited resolves with every exit code", async () => {
    for (const code of [0, 1, 2, 42, 127, 128, 255]) {
      expect(await run(server, "exit", [String(code)])).toMatchObject({ code, signal: null });
    }
    expect(await run(server, "exitCode", ["9"])).toMatchObject({ code: 9, signal: null });
  });

  test("a child with an uncaught error prints it and exits with 1", async () => {
    const child = await run(server, "throwError", [], { stderr: "pipe" });
    expect(child).toMatchObject({ code: 1, signal: null });
    expect(child.stderr).toContain("It went wrong");
  });

  test("exited resolves with the signal that ended the child", async () => {
    for (const signal of ["SIGTERM", "SIGKILL", "SIGSEGV", "SIGINT", "SIGUSR2", "SIGABRT"]) {
      expect(await run(server, "signalSelf", [signal])).toMatchObject({ code: null, signal });
    }
  });

  test("kill() sends a signal, which a child can handle", async () => {
    const child = await server.start({ call: call("onTerm"), args: [], stdout: "pipe" });
    const reader = (child.stdout as ReadableStream<Uint8Array>).getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("ready");
    child.kill("SIGTERM");
    expect(await child.exited).toEqual({ code: 33, signal: null });
    child.kill("SIGKILL"); // no effect after the end
    const busy = await server.start({ call: call("spin"), args: [] });
    busy.kill("SIGKILL");
    expect(await busy.exited).toEqual({ code: null, signal: "SIGKILL" });
  });

  test("siblings draw different random numbers from every source", async () => {
    const siblings = await Promise.all(Array.from({ length: 8 }, () => run(server, "draw")));
    const drawn = siblings.flatMap(({ stdout }) => JSON.parse(stdout) as unknown[]);
    expect(drawn.length).toBe(8 * 27);
    expect(new Set(drawn).size).toBe(drawn.length);
  });

  test("a child holds no descriptor of the server", async () => {
    const others = [
      await server.start({ call: call("wait"), args: [] }),
      await server.start({ call: call("wait"), args: [] }),
    ];
    const child = await run(server, "files");
    const files = JSON.parse(child.stdout) as string[];
    // Neither connections, nor listening sockets, nor pidfds. Descriptors 0, 1 and 2 are its own
    // streams.
    expect(files.filter((file) => /^(\d\d|[3-9]) .*(socket|pidfd)/.test(file))).toEqual([]);
    expect(files.length).toBeGreaterThan(3);
    for (const other of others) other.kill("SIGKILL");
    await Promise.all(others.map(({ exited }) => exited));
  });

  test("the output of a child arrives completely, even if it exits right after writing", async () => {
    const child = await run(server, "printMuch", ["1000000"]);
    expect(child.stdout.length).toBe(1_000_000);
    expect(child.code).toBe(7);
    expect(await run(server, "say", ["hello"], { stderr: "pipe" })).toMatchObject({
      stdout: "hello\n",
      stderr: "HELLO\n",
      code: 0,
    });
    expect(await run(server, "say", ["hello"], { stdout: "ignore", stderr: "pipe" })).toMatchObject({
      stdout: "",
      stderr: "HELLO\n",
    });
  });

  test("a child can start workers, child processes and servers", async () => {
    expect(await run(server, "startOthers", [], { stderr: "pipe" })).toMatchObject({
      stdout: '"done"',
      stderr: "",
      code: 0,
    });
  });

  test(`${STRESS_CHILD_COUNT} children allocate, collect garbage, compile, and use timers, files and fetch`, {
    timeout: 60_000 + STRESS_CHILD_COUNT * 2000,
  }, async () => {
    const web = http.createServer((_, response) => response.end("hello")).listen(0, "127.0.0.1");
    await until(() => web.listening);
    const url = `http://127.0.0.1:${(web.address() as AddressInfo).port}/`;
    const numbers = Array.from({ length: STRESS_CHILD_COUNT }, (_, i) => i % 256).values();
    const wrong: unknown[] = [];
    await Promise.all(
      Array.from({ length: 4 }, async () => {
        for (const i of numbers) {
          const { code, signal, stderr } = await run(server, "doEverything", [url, String(i)], { stderr: "pipe" });
          if (code !== i) wrong.push({ i, code, signal, stderr });
        }
      }),
    );
    web.close();
    web.closeAllConnections();
    expect(wrong).toEqual([]);
  });
});

describe.skipIf(!canFork)("the end of a ForkServer", () => {
  afterEach(noChildLeft);

  test("a killed server ends its children, which are reported as killed", async () => {
    const server = await ForkServer.start({ preload: [tasks] });
    const children = [
      await server.start({ call: call("wait"), args: [] }),
      await server.start({ call: call("spin"), args: [] }),
    ];
    process.kill(server.pid, "SIGKILL");
    expect(await Promise.all(children.map(({ exited }) => exited))).toEqual(
      children.map(() => ({ code: null, signal: "SIGKILL" })),
    );
    await until(() => children.every(({ pid }) => !isAlive(pid)));
    expect(server.isRunning).toBe(false);
    await expect(server.start({ call: call("wait"), args: [] })).rejects.toThrow(StartError);
  });

  test("close() ends the server and its children", async () => {
    const server = await ForkServer.start({ preload: [tasks] });
    const child = await server.start({ call: call("spin"), args: [] });
    await server.close();
    expect(isAlive(server.pid)).toBe(false);
    await until(() => !isAlive(child.pid));
  });

  test("a killed owner ends its server and the children of the server", async () => {
    await using owner = runProgram(fixture(import.meta.url, "fork-owner.js"));
    await until(() => owner.stdout.endsWith("\n"));
    const pids = JSON.parse(owner.stdout) as number[];
    expect(pids.every(isAlive)).toBe(true);
    owner.kill("SIGKILL");
    await until(() => !pids.some(isAlive), { timeout: 2000 });
  });

  test("another client owns its children until it closes its connection", async () => {
    await using server = await ForkServer.start({ preload: [tasks] });
    const otherClient = new ServerConnection(await multiprocHost.connect(server.socketPath));
    const ownChild = await server.start({ call: call("spin"), args: [] });
    const otherChild = await otherClient.start({ call: call("spin"), args: [] });
    otherClient.close();
    await until(() => !isAlive(otherChild.pid));
    expect(isAlive(ownChild.pid)).toBe(true);
    expect(await run(server, "askServer", [server.socketPath])).toMatchObject({ stdout: "5", code: 0 });
  });

  test("a signal cancels the start of a server", async () => {
    const abort = new AbortController();
    const start = ForkServer.start({
      preload: [fixture(import.meta.url, "fork-never-loads.js").href],
      signal: abort.signal,
    });
    setTimeout(() => abort.abort(new Error("No longer wanted")), 100);
    await expect(start).rejects.toThrow("No longer wanted");
  });
});

describe.skipIf(!canFork)("the modules of a ForkServer", () => {
  afterEach(noChildLeft);
  const start = (name: string) => ForkServer.start({ preload: [fixture(import.meta.url, name).href] });

  test("an error of a module is the cause of the failed start", async () => {
    const error = await start("fork-throws.js").catch((error: unknown) => error);
    expect(error).toBeInstanceOf(StartError);
    expect((error as StartError).message).toContain("fork-throws.js");
    expect(((error as StartError).cause as Error).stack).toContain("This module does not load");
  });

  test("a module that ends the server fails the start with the exit code", async () => {
    await expect(start("fork-exits.js")).rejects.toThrow(/ended with exit code 3 while it loaded its modules/);
  });

  test.each([
    ["fork-opens-server.js", "sockets", /keep 1 socket open.*PipeWrap|TCP/],
    ["fork-starts-worker.js", "event-loops", /a worker/],
    ["fork-registers-hooks.js", "event-loops", /module\.register/],
    ["fork-fails-self-test.js", "self-test", /a probe child ended with exit code 1/],
  ])("a server that loads %s is refused: %s", { timeout: 60_000 }, async (name, reason, message) => {
    const error = (await start(name).catch((error: unknown) => error)) as InstanceType<typeof ForkRefusedError>;
    expect(error).toBeInstanceOf(ForkRefusedError);
    expect(error.reason).toBe(reason);
    expect(error.message).toMatch(message);
  });

  test("children write to their own streams although a module has printed before", async () => {
    const server = await start("fork-prints.js");
    const child = await run(server, "say", ["hello"], { stderr: "pipe" });
    expect(child).toMatchObject({ stdout: "hello\n", stderr: "HELLO\n", code: 0 });
    await server.close();
  });
});

test.skipIf(!canFork)("ForkServer.start() is refused where the C library cannot be called", async () => {
  await using program = runProgram(fixture(import.meta.url, "fork-without-addons.js"), [], {
    execArgv: [...WITHOUT_NATIVE],
  });
  expect(await program.exited).toEqual({ code: 0, signal: null });
  expect(JSON.parse(program.stdout)).toMatchObject({
    reason: "native",
    message: expect.stringContaining("--allow-addons"),
  });
});

test.skipIf(canFork)("ForkServer.start() is refused where a process cannot be forked", async () => {
  const error = (await ForkServer.start().catch((error: unknown) => error)) as InstanceType<typeof ForkRefusedError>;
  expect(error).toBeInstanceOf(ForkRefusedError);
  expect(error.reason).toBe("platform");
});
