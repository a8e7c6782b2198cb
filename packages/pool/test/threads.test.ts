import fs from "node:fs";
import process from "node:process";
import { fromModule, inline, SendError, TimeoutError } from "@multiproc/core";
import { PoolClosedError, ThreadPool, type ThreadPoolOptions, WorkerLostError } from "@multiproc/pool";
import { Queue } from "@multiproc/queue";
import { fixture, runProgram, until } from "@multiproc/testing";
import { expect, onTestFinished, test } from "vitest";
import { file, terminatedAfterTest } from "./pools.ts";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
const hard = fromModule<typeof import("./fixtures/hard-tasks.js")>(fixture(import.meta.url, "hard-tasks.js"));

function poolOf(options: ThreadPoolOptions<any> = { processes: 2 }): ThreadPool<any> {
  return terminatedAfterTest(new ThreadPool(options));
}

test("apply(), map() and imap() work in threads of this process", async () => {
  const pool = poolOf({ processes: 2, initializer: tasks.initialize, initArgs: ["Good morning"] });
  expect(await pool.apply(hard.pidOf)).toBe(process.pid);
  expect(await pool.apply(tasks.greet, ["Ada"])).toBe("Good morning Ada");
  const inputs = Array.from({ length: 5000 }, (_, i) => i);
  const squares = inputs.map((i) => i * i);
  expect(await pool.map(tasks.square, inputs)).toEqual(squares);
  expect(await Promise.all(inputs.map((i) => pool.apply(tasks.square, [i])))).toEqual(squares);
  const seen: number[] = [];
  for await (const x of pool.imap(
    inline((x: number) => x + 1),
    [1, 2, 3],
  ))
    seen.push(x);
  expect(seen).toEqual([2, 3, 4]);
  const bytes = new Uint8Array(3_000_000).fill(7);
  const back = await pool.apply(hard.give, [bytes]);
  expect([back.length, back.every((byte: number) => byte === 7)]).toEqual([3_000_000, true]);
  pool.close();
  await pool.join();
  await expect(pool.apply(tasks.square, [1])).rejects.toThrow(PoolClosedError);
});

test("errors of threads arrive as themselves, and a value that cannot be sent rejects the call", async () => {
  const pool = poolOf({ processes: 1 });
  const error = await pool.apply(tasks.fail, [undefined]).catch((error: unknown) => error as any);
  expect(error).toBeInstanceOf(RangeError);
  expect(error).toMatchObject({ message: "No undefined", code: "E_NO", cause: expect.any(TypeError) });
  await expect(pool.apply(tasks.unsendable)).rejects.toThrow(SendError);
  await expect(pool.apply(tasks.square, [(() => {}) as never])).rejects.toThrow(SendError);
  await expect(poolOf({ processes: 1, initializer: tasks.failToInitialize }).apply(tasks.square, [1])).rejects.toThrow(
    "This worker does not want to",
  );
  expect(() => new ThreadPool({ startMethod: "spawn" } as never)).toThrow(TypeError);
});

test("a thread that ends fails the task that it was running, and no other", async () => {
  const pool = poolOf({ processes: 1 });
  const calls = [
    pool.apply(tasks.square, [1]),
    pool.apply(tasks.exit, [3]),
    pool.apply(tasks.square, [2]),
    pool.apply(hard.throwLater),
    pool.apply(tasks.square, [3]),
  ];
  const [first, left, second, thrown, third] = await Promise.allSettled(calls);
  expect([first, second, third]).toEqual([1, 4, 9].map((value) => ({ status: "fulfilled", value })));
  expect(left).toMatchObject({ reason: { name: "WorkerLostError", task: "exit" } });
  expect((thrown as PromiseRejectedResult).reason).toBeInstanceOf(WorkerLostError);
});

test("a cancelled task is stopped by its signal, or with its thread", async () => {
  const pool = poolOf({ processes: 1, gracePeriod: 50 });
  const marks = file();
  const soft = pool.apply(tasks.untilAborted, [marks]);
  await until(() => fs.existsSync(marks));
  soft.cancel(new Error("enough"));
  await expect(soft).rejects.toThrow("enough");
  await until(() => fs.readFileSync(marks, "utf8").includes("aborted enough"));
  const stuck = pool.apply(hard.slowAt, [1, 1], { timeout: 200 });
  await expect(stuck).rejects.toThrow(TimeoutError);
  expect(await pool.apply(tasks.square, [3])).toBe(9);
});

test("queues reach threads", async () => {
  const pool = poolOf({ processes: 1 });
  const queue = new Queue<number>();
  await pool.apply(hard.putPid, [queue]);
  expect(await queue.get()).toBe(process.pid);
  queue.close();
});

test.each(["threads-no-close.js", "threads-stuck.js"])(
  "the program %s ends by itself, without errors",
  async (name) => {
    const program = runProgram(fixture(import.meta.url, name));
    onTestFinished(() => program[Symbol.asyncDispose]());
    const { code } = await program.exited;
    expect([program.stderr, program.stdout, code]).toEqual(["", "[ 1, 4, 9 ]\n", 0]);
  },
);
