import { fromModule } from "@multiproc/core";
import { handleOf } from "@multiproc/core/internal";
import { Process } from "@multiproc/process";
import { Queue } from "@multiproc/queue";
import { childrenOf, fixture, host, runProgram } from "@multiproc/testing";
import { afterEach, expect, test } from "vitest";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
const { children, start, endChildren } = childrenOf((target, args) => new Process({ target, args }));
const { env } = globalThis.process;
const ITEM_COUNT = 1_000_000;
/** 64 MiB exceed the ring, so the broker forwards the item; `MULTIPROC_TEST_HUGE=1` sends 1 GiB. */
const LARGE_ITEM_BYTES = (env.MULTIPROC_TEST_HUGE === undefined ? 64 : 1024) * 1024 ** 2;

afterEach(endChildren);

test("two consumers get each of a million items of two producers once", { timeout: 600_000 }, async () => {
  const queue = new Queue<number>();
  const results = new Queue<Float64Array>();
  await Promise.all([start(tasks.collect, queue, results), start(tasks.collect, queue, results)]);
  const producers = [0, 1].map((i) =>
    start(tasks.produceMany, queue, (i * ITEM_COUNT) / 2, ((i + 1) * ITEM_COUNT) / 2),
  );
  await Promise.all(producers);
  for (const producer of children.slice(2)) await producer.join();
  await queue.shutdown();
  const seen = new Uint8Array(ITEM_COUNT);
  for (const part of [await results.get(), await results.get()])
    for (const i of part) seen[i] = (seen[i] as number) + 1;
  expect(seen.every((times) => times === 1)).toBe(true);
});

test("an item of at least 64 MiB arrives intact", { timeout: 120_000 }, async () => {
  const queue = new Queue<Uint8Array>();
  const results = new Queue<[number, number, number]>();
  await start(tasks.measure, queue, results);
  const bytes = new Uint8Array(LARGE_ITEM_BYTES);
  bytes[0] = 1;
  bytes[bytes.length - 1] = 2;
  await queue.put(bytes);
  expect(await results.get()).toEqual([LARGE_ITEM_BYTES, 1, 2]);
});

test("100,000 items wait for another process in order", { timeout: 120_000 }, async () => {
  const queue = new Queue<number>();
  const results = new Queue<Float64Array>();
  const producer = await start(tasks.produceMany, queue, 0, 100_000);
  expect(await producer.join()).toBe(0);
  expect(queue.qsize()).toBe(100_000);
  await start(tasks.collect, queue, results);
  await queue.shutdown();
  const seen = await results.get();
  expect(seen.length).toBe(100_000);
  expect(seen.every((item, i) => item === i)).toBe(true);
});

test("a process on the other runtime shares a queue", { timeout: 60_000 }, async () => {
  const questions = new Queue<{ n: bigint; at: Date } | null>();
  const answers = new Queue<unknown>();
  const handles = [questions, answers].map((queue) => JSON.stringify(handleOf(queue).data));
  await using program = runProgram(fixture(import.meta.url, "client-program.js"), handles, {
    host: host === "node" ? "deno" : "node",
  });
  const at = new Date(0);
  for (let i = 0; i < 100; i++) await questions.put({ n: BigInt(i), at });
  for (let i = 0; i < 100; i++) expect(await answers.get()).toEqual({ n: BigInt(i), at });
  await questions.shutdown();
  expect(await answers.get()).toBe("over");
  expect(await program.exited).toEqual({ code: 0, signal: null });
});
