import { spawn } from "node:child_process";
import { descendants, fixture, isAlive, noChildLeft, runProgram, until } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";

afterEach(noChildLeft);

describe("isAlive()", () => {
  test("isAlive() is true for this process, and false for a process that has ended", async () => {
    expect(isAlive(process.pid)).toBe(true);
    await using program = runProgram(fixture(import.meta.url, "says-hello.js"));
    await program.exited;
    expect(isAlive(program.pid)).toBe(false);
  });

  test.runIf(process.platform === "linux")("isAlive() is false for a zombie", async () => {
    // The shell starts a child that ends at once, and becomes `sleep`, which never calls waitpid().
    const shell = spawn("sh", ["-c", "sleep 0.05 & echo $!; exec sleep 60"]);
    try {
      let zombie = "";
      shell.stdout.on("data", (text) => void (zombie += text));
      await until(() => zombie.endsWith("\n"));
      await until(() => !isAlive(Number(zombie)));
      expect(() => process.kill(Number(zombie), 0)).not.toThrow();
    } finally {
      shell.kill("SIGKILL");
    }
  });
});

describe("descendants()", () => {
  test("descendants() finds children and their children", async () => {
    const shell = spawn("sh", ["-c", "sh -c 'echo $$; sleep 60; true' & echo $!; wait"], { detached: true });
    try {
      let lines = "";
      shell.stdout.on("data", (text) => void (lines += text));
      await until(() => lines.split("\n").length > 2);
      await until(() => descendants(process.pid).length === 3, { message: () => String(descendants(process.pid)) });
      const inner = Number(lines.split("\n")[0]);
      expect(descendants(process.pid)).toContain(shell.pid);
      expect(descendants(process.pid)).toContain(inner);
      expect(descendants(inner)).toHaveLength(1);
    } finally {
      process.kill(-shell.pid!, "SIGKILL");
    }
  });
});

describe("noChildLeft()", () => {
  test("noChildLeft() rejects with the pid and command line of a child that stays", async () => {
    const child = spawn("sleep", ["61"]);
    try {
      await expect(noChildLeft({ timeout: 50 })).rejects.toThrow(new RegExp(`${child.pid} \\(.*sleep 61\\)`));
    } finally {
      child.kill("SIGKILL");
    }
  });

  test("noChildLeft() waits for a child that is about to end", async () => {
    spawn("sleep", ["0.1"]);
    await noChildLeft();
  });
});
