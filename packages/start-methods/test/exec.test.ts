import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { exec } from "@multiproc/start-methods";
import { fixture, host, noChildLeft, runProgram } from "@multiproc/testing";
import { afterAll, afterEach, describe, expect, onTestFinished, test } from "vitest";

const canExec = process.platform === "linux";
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "exec-test-"));

afterEach(noChildLeft);
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

function run(name: string, args: string[], options: Parameters<typeof runProgram>[2] = {}) {
  const program = runProgram(fixture(import.meta.url, name), args, options);
  onTestFinished(() => program[Symbol.asyncDispose]());
  return program;
}

describe("exec()", () => {
  test("exec() refuses an empty name, and strings that C cannot represent", () => {
    expect(() => exec("")).toThrow(TypeError);
    expect(() => exec("true", "x" as never)).toThrow("exec() takes its arguments as an array");
    expect(() => exec("true", ["a\0b"])).toThrow('exec() takes strings without zero characters, not "a\\u0000b"');
    expect(() => exec("true", [], { env: { A: 1 as never } })).toThrow("not 1");
  });

  test.skipIf(host === "node")("exec() names the missing permission where Deno cannot call the C library", async () => {
    const program = run("exec.js", ["same", "true"], { execArgv: ["--allow-read", "--allow-env"] });
    await program.exited;
    expect(program.stdout).toContain("StartMethodError ERR_START_METHOD exec() cannot call the C library");
    expect(program.stdout).toContain("--allow-ffi");
  });

  describe.skipIf(!canExec)("on Linux", () => {
    test("exec() replaces the program: the pid stays, arguments and exit code pass, exit listeners do not run", async () => {
      const program = run("exec.js", ["same", "sh", "-c", 'echo $$ "$0" "$1"; exit 5', "a b", "ä"]);
      expect(await program.exited, program.stderr).toEqual({ code: 5, signal: null });
      expect(program.stdout).toBe(`${program.pid}\n${program.pid} a b ä\n`);
    });

    test("env is the whole environment, and exec() searches its PATH", async () => {
      const program = run("exec.js", [JSON.stringify({ PATH: "/usr/bin:/bin", A: "ä=b" }), "env"]);
      await program.exited;
      expect(program.stdout.split("\n").slice(1).sort()).toEqual(["", "A=ä=b", "PATH=/usr/bin:/bin"]);
    });

    test("exec() resets signals, and closes descriptors other than the standard streams", async () => {
      const signals = run("exec.js", ["same", "/bin/grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]);
      await signals.exited;
      const [blocked, ignored] = [...signals.stdout.matchAll(/:\t(\w+)/g)].map(([, bits]) => BigInt(`0x${bits}`));
      expect(blocked).toBe(0n);
      // SIGPIPE and SIGXFSZ. The parent of this process may ignore other signals.
      expect((ignored as bigint) & ((1n << 12n) | (1n << 24n))).toBe(0n);
      const files = run("exec.js", ["same", "ls", "-l", "/proc/self/fd"]);
      await files.exited;
      const socketsIn = (listing: string): string[] => listing.match(/ ([3-9]|\d{2,}) -> (socket|anon_inode).*/g) ?? [];
      // Every program inherits the channel to vitest on Deno.
      const inherited = socketsIn(execFileSync("ls", ["-l", "/proc/self/fd"], { encoding: "utf8" }));
      expect(socketsIn(files.stdout).filter((line) => !inherited.includes(line))).toEqual([]);
    });

    test.each([
      ["no-such-program-anywhere", 'StartError ERR_START exec() found no program "no-such-program-anywhere" in PATH ('],
      ["/no/such/program", "there is no such program"],
      ["TEXT", "it may not be executed"],
      ["/", "it may not be executed, or is a folder"],
      ["SCRIPT", "it is neither a program of this system nor a script that begins with #!"],
    ])("exec() gives the reason why it cannot run %s, and the program continues", async (file, words) => {
      const made = path.join(folder, file);
      if (!file.startsWith("/")) fs.writeFileSync(made, "text", { mode: file === "SCRIPT" ? 0o755 : 0o644 });
      const program = run("exec.js", ["same", file === file.toUpperCase() && file !== "/" ? made : file]);
      await program.exited;
      expect(program.stdout).toContain(words);
      expect(program.stdout).toContain("exit listener");
    });
  });
});

describe.skipIf(host === "deno" || process.platform !== "linux")("fork()", () => {
  test.each([
    ["exit", 7],
    ["signal", -15],
    ["throw", 1],
    ["fork", 5],
    ["ends by itself", 0],
  ])("fork() returns in both processes, and waitpid() returns the end of the child: %s", async (how, code) => {
    const program = run("fork-bare.js", [path.join(folder, how), how]);
    await program.exited;
    expect(program.stderr).toEqual(how === "throw" ? expect.stringContaining("Error: The child fails") : "");
    expect(program.stdout).toBe(`${JSON.stringify({ code, again: "RangeError", same: true })}\ntrue\n`);
  });

  test("fork() is refused while an operation is pending", async () => {
    const program = run("fork-bare-refused.js", []);
    await program.exited;
    expect(program.stdout).toContain("StartMethodError fork() cannot copy this process: pending operations");
    expect(program.stdout).toContain("GetAddrInfoReqWrap; await them first");
  });
});

describe.skipIf(host === "node")("fork() on Deno", () => {
  test("fork() is refused on Deno with the reason", async () => {
    const { fork } = await import("@multiproc/start-methods");
    expect(() => fork()).toThrow("fork() cannot copy this process: forking requires Node on Linux");
  });
});
