// examples/lambda-parallel: a handler of AWS Lambda that uses processes and pipes, a pool, and
// queues.
import { descendants, host, noChildLeft, runProgram, until } from "@multiproc/testing";
import { afterEach, describe, expect, onTestFinished, test } from "vitest";

const invoke = new URL("../../../examples/lambda-parallel/invoke.js", import.meta.url);
const ids = ["1", "2", "3"].map((digit) => `i-${digit.padStart(17, "0")}`);
const TEST_TIMEOUT_MS = 180_000;

afterEach(noChildLeft);

function runHandler(...events: object[]): ReturnType<typeof runProgram> {
  const env = { EC2_LATENCY: "50", AWS_ACCESS_KEY_ID: undefined };
  const program = runProgram(
    invoke,
    events.map((event) => JSON.stringify(event)),
    { env },
  );
  onTestFinished(() => program[Symbol.asyncDispose]());
  return program;
}

describe("the handler", () => {
  test(
    "the handler computes the same sum sequentially and in parallel",
    async () => {
      // On Deno each child loads the AWS SDK again, which is slow, so one mode is enough.
      const modes = host === "deno" ? ["sequential", "pool"] : ["sequential", "processes", "queue", "pool"];
      const program = runHandler(...modes.map((mode) => ({ mode, instances: ids })));
      expect(await program.exited, program.stdout + program.stderr).toEqual({ code: 0, signal: null });
      for (const mode of modes) expect(program.stdout).toContain(`${mode}: 136 GB in the volumes of 3 instances`);
    },
    TEST_TIMEOUT_MS,
  );

  test.skipIf(host === "deno")(
    "the handler fails with the error of its child, and the next invocation works",
    async () => {
      const wrong = { instances: [...ids, "i-unknown"] };
      const modes = ["processes", "queue", "pool"];
      const program = runHandler(...modes.map((mode) => ({ mode, ...wrong })), { mode: "pool", instances: ids });
      expect((await program.exited).code).toBe(1);
      for (const mode of modes) {
        const error = "InvalidInstanceID.NotFound: The instance ID 'i-unknown' does not exist";
        expect(program.stdout).toContain(`${mode}: failed with ${error}`);
      }
      expect(program.stdout).toContain("pool: 136 GB in the volumes of 3 instances");
    },
    TEST_TIMEOUT_MS,
  );
});

describe.skipIf(globalThis.process.platform === "win32")("a function that is frozen between two invocations", () => {
  test(
    "a frozen function continues with the same workers, and frozen time does not count for timeouts",
    async () => {
      const program = await startFixture("warm.js", "first");
      // Longer than the time limit of a task, and than the limits of the pool for unresponsive
      // workers.
      await freeze(program.pid, 4_000);
      program.kill("SIGUSR2");
      await until(() => program.stdout.includes("second"), { timeout: 30_000, message: () => program.stderr });
      const { code } = await program.exited;
      // The Node layer of Deno has no exit code of a child that was stopped.
      if (host === "node") expect(code, program.stdout + program.stderr).toBe(0);
      const [first, second] = program.stdout.trim().split("\n");
      expect(second?.replace("second", "first")).toBe(first);
    },
    TEST_TIMEOUT_MS,
  );

  test(
    "a frozen function completes a pending task, a wait for a lock, and a wait for an item",
    async () => {
      const program = await startFixture("in-flight.js", "begun");
      await freeze(program.pid, 4_000);
      const { code } = await program.exited;
      if (host === "node") expect(code, program.stdout + program.stderr).toBe(0);
      expect(program.stdout, program.stderr).toBe("begun\ntrue false item 0\n0\n");
    },
    TEST_TIMEOUT_MS,
  );
});

/** Starts a fixture, and waits until it has printed a word. */
async function startFixture(name: string, word: string): Promise<ReturnType<typeof runProgram>> {
  const program = runProgram(new URL(`./fixtures/${name}`, import.meta.url));
  onTestFinished(() => program[Symbol.asyncDispose]());
  await until(() => program.stdout.includes(word), { timeout: 30_000, message: () => program.stderr });
  return program;
}

/** Stops a program and its descendants for some time, as Lambda does. */
async function freeze(pid: number, durationMs: number): Promise<void> {
  const all = [pid, ...descendants(pid)];
  for (const each of all) globalThis.process.kill(each, "SIGSTOP");
  await new Promise((resolve) => setTimeout(resolve, durationMs));
  for (const each of all) globalThis.process.kill(each, "SIGCONT");
}
