import { fixture, host, isAlive, noChildLeft, runProgram, until } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";

const saysHello = fixture(import.meta.url, "says-hello.js");
const neverExits = fixture(import.meta.url, "never-exits.js");
const leavesAChild = fixture(import.meta.url, "leaves-a-child.js");

afterEach(noChildLeft);

describe("runProgram()", () => {
  test("runProgram() records output and exit code of a program on the current host", async () => {
    await using program = runProgram(saysHello, ["big", "world"], { env: { GREETING: "welcome" } });
    expect(await program.exited).toEqual({ code: 3, signal: null });
    expect(program.stdout).toBe(`hello big world on ${host}\n`);
    expect(program.stderr).toBe("welcome\n");
  });

  test.each(["node", "deno"] as const)(
    "runProgram() starts a program on %s if the option host says so",
    async (other) => {
      await using program = runProgram(saysHello, [], { host: other });
      await program.exited;
      expect(program.stdout).toContain(`on ${other}`);
    },
  );

  test("kill() ends the program with the signal", async () => {
    await using program = runProgram(neverExits);
    await until(() => program.stdout.includes("ready"));
    program.kill("SIGKILL");
    expect(await program.exited).toEqual({ code: null, signal: "SIGKILL" });
  });

  test("await using kills the program at the end of its block", async () => {
    let pid: number;
    {
      await using program = runProgram(neverExits);
      pid = program.pid;
      expect(isAlive(pid)).toBe(true);
    }
    expect(isAlive(pid)).toBe(false);
  });

  test("exited does not wait for an orphan that holds the output open", async () => {
    await using program = runProgram(leavesAChild);
    expect((await program.exited).code).toBe(0);
    const orphan = Number(program.stdout);
    expect(isAlive(orphan)).toBe(true);
    process.kill(orphan, "SIGKILL");
    await until(() => !isAlive(orphan));
  });
});
