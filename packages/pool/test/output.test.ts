// Runs under every start method.
// The output of workers: whole lines, complete, with a prefix on request, and its end in
// `WorkerLostError`.
import process from "node:process";
import { fromModule } from "@multiproc/core";
import { type OutputLine, Pool, type PoolOutput } from "@multiproc/pool";
import { fixture, host, runProgram } from "@multiproc/testing";
import { describe, expect, onTestFinished, test } from "vitest";
import { poolOf } from "./pools.ts";

const writers = fromModule<typeof import("./fixtures/output-tasks.js")>(fixture(import.meta.url, "output-tasks.js"));
const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
const LINE_COUNT = 2000;

/** Returns the output of a program with two workers, after it has ended as `end` says. */
async function outputOf(mode: string, end: "exit" | "runs out"): Promise<{ out: string[]; err: string[] }> {
  const program = runProgram(fixture(import.meta.url, "writes-output.js"), [mode, String(LINE_COUNT), end]);
  onTestFinished(() => program[Symbol.asyncDispose]());
  const { code } = await program.exited;
  const [out, err] = [program.stdout.split("\n"), program.stderr.split("\n")];
  expect([code, out.at(-1)]).toEqual([0, ""]);
  return { out: out.slice(0, -1), err };
}

/** Returns the lines of one worker, in their order. */
const expectedLines = (stream: string, id: number): string[] =>
  Array.from({ length: LINE_COUNT }, (_, i) => `${stream} ${id} ${i} é`);
const linesOfWorker = (lines: readonly string[], id: number): string[] =>
  lines.filter((line) => line.split(" ")[1] === `${id}`);

describe("a program that ends without closing its pool has the complete output of its workers", () => {
  const ends = host === "deno" ? (["runs out"] as const) : (["runs out", "exit"] as const);

  test.each(ends)("by default, the output of workers is complete and unchanged: %s", async (end) => {
    const { out, err } = await outputOf("default", end);
    for (const id of [1, 2])
      expect([linesOfWorker(out, id), linesOfWorker(err, id)]).toEqual([
        expectedLines("out", id),
        expectedLines("err", id),
      ]);
    expect([out.length, err.length, err.at(-1)]).toEqual([2 * LINE_COUNT, 2 * LINE_COUNT + 1, "no end"]);
  });

  test.each(ends)("output with a prefix is complete: %s", async (end) => {
    const { out, err } = await outputOf("prefix", end);
    const label = /^\[PoolWorker-\d\] /;
    expect([...out, ...err.slice(0, -1)].filter((line) => !label.test(line))).toEqual([]);
    const [bareOut, bareErr] = [out, err].map((lines) => lines.map((line) => line.replace(label, "")));
    for (const id of [1, 2])
      expect([linesOfWorker(bareOut as string[], id), linesOfWorker(bareErr as string[], id)]).toEqual([
        expectedLines("out", id),
        expectedLines("err", id),
      ]);
    expect(bareErr?.slice(-2)).toEqual(["no end", ""]);
  });
});

test.skipIf(process.platform === "win32")(
  "workers continue when the reader of the program's output has gone",
  async () => {
    const wrap = ["sh", "-c", 'exec 3>&1; "$0" "$@" 2>&1 1>&3 | true'];
    const program = runProgram(fixture(import.meta.url, "unread-output.js"), [], { wrap });
    onTestFinished(() => program[Symbol.asyncDispose]());
    await program.exited;
    expect(program.stdout).toBe("done\n");
  },
);

test("a function receives each line with its worker and its stream", async () => {
  const lines: OutputLine[] = [];
  const pool = poolOf({ processes: 1, name: "Talker", output: (line) => void lines.push(line) });
  const pid = await pool.apply(writers.writeLines, [7, 3, true]);
  await pool.apply(writers.ask, ["no end"]);
  await pool.terminate();
  const common = { worker: "Talker-1", pid };
  const texts = (stream: string) => lines.filter((line) => line.stream === stream);
  expect(texts("stdout")).toEqual([0, 1, 2].map((i) => ({ ...common, stream: "stdout", text: `out 7 ${i} é` })));
  expect(texts("stderr")).toEqual(
    ["err 7 0 é", "err 7 1 é", "err 7 2 é", "no end"].map((text) => ({ ...common, stream: "stderr", text })),
  );
});

test("new Pool() throws for an unknown output", () => {
  expect(() => new Pool({ output: "loud" as PoolOutput })).toThrow(TypeError);
});

describe("the end of standard error is in the WorkerLostError", () => {
  const silent: PoolOutput = () => {};

  test("a WorkerLostError has the end of the worker's standard error, without that of its successor", async () => {
    const pool = poolOf({ processes: 1, output: silent });
    const lost = (text: string, signal?: string) =>
      pool.apply(writers.dieTalking, [text, signal]).then(
        () => undefined,
        (error) => [error.name, error.exitCode, error.stderr],
      );
    const long = `${"first\n".repeat(10_000)}last\n`;
    expect(await lost("I leave", undefined)).toEqual(["WorkerLostError", 3, "I leave"]);
    expect(await lost("", "SIGKILL")).toEqual(["WorkerLostError", -9, ""]);
    const [, , stderr] = (await lost(long, "SIGKILL")) as [string, number, string];
    expect(stderr).toMatch(/^first\n(first\n)+last$/);
    expect(stderr.length).toBeGreaterThan(4000);
    expect(stderr.length).toBeLessThanOrEqual(4096);
  });

  test.skipIf(process.platform === "win32")(
    "a WorkerLostError has the standard error even if a program keeps the worker's streams open",
    async () => {
      const pool = poolOf({ processes: 1, output: silent });
      const error = await pool
        .apply(writers.leaveHeir, ["It lives"])
        .get()
        .catch((error: unknown) => error);
      const [, orphanPid] = /^It lives (\d+)$/.exec((error as { stderr: string }).stderr) ?? [];
      process.kill(Number(orphanPid), "SIGKILL");
      expect(error).toMatchObject({ name: "WorkerLostError", signal: "SIGKILL" });
      expect(await pool.apply(tasks.square, [3])).toBe(9);
    },
  );

  test("a WorkerLostError has no standard error if the pool does not read it", async () => {
    const pool = poolOf({ processes: 1, output: "inherit" });
    await expect(pool.apply(writers.dieTalking, ["", undefined])).rejects.toMatchObject({ exitCode: 3, stderr: "" });
  });
});
