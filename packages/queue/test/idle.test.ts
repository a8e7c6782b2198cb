import { readFileSync } from "node:fs";
import { fromModule } from "@multiproc/core";
import { whyNoSharedMemory } from "@multiproc/core/internal";
import { Process } from "@multiproc/process";
import { JoinableQueue, Queue } from "@multiproc/queue";
import { childrenOf, fixture, until } from "@multiproc/testing";
import { afterEach, describe, expect, test } from "vitest";
import { inBroker } from "./backends.ts";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
const { start, endChildren } = childrenOf((target, args) => new Process({ target, args }));
const CONSUMER_COUNT = 10;
/**
 * CPU time that all processes together may use in one second. A spinning consumer would use 1000
 * ms.
 */
const MAX_CPU_MS_PER_SECOND = 50;

afterEach(endChildren);

/** Returns the CPU time that a process has used, in milliseconds. */
function cpuTime(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const [user, system] = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .slice(11, 13);
  return (Number(user) + Number(system)) * 10;
}

/** Returns the CPU time that these processes use in one second, in milliseconds. */
async function cpuMsPerSecond(pids: readonly number[]): Promise<number> {
  const sum = (): number => pids.reduce((time, pid) => time + cpuTime(pid), 0);
  const before = sum();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  return sum() - before;
}

/** Waits until these processes are idle, since their start takes a while. */
async function areIdle(pids: readonly number[]): Promise<boolean> {
  const measured: number[] = [];
  const isIdle = async (): Promise<boolean> =>
    (measured[measured.push(await cpuMsPerSecond(pids)) - 1] as number) <= MAX_CPU_MS_PER_SECOND;
  return until(isIdle, {
    timeout: 60_000,
    message: () => `at most ${MAX_CPU_MS_PER_SECOND} ms a second; it was ${measured}`,
  });
}

describe.skipIf(globalThis.process.platform !== "linux")("an empty queue with ten waiting consumers", () => {
  test.each([
    { backend: "shared-memory", make: async () => new Queue<string>() },
    { backend: "broker", make: () => inBroker(new Queue<string>()) },
    { backend: "tasks", make: async () => new JoinableQueue<string>() },
  ])("waiting consumers use no CPU, items in $backend", { timeout: 120_000 }, async ({ make }) => {
    const queue = await make();
    const ready = new Queue<string>();
    const consumers = Array.from({ length: CONSUMER_COUNT }, () => start(tasks.waitForItem, queue, ready));
    const pids = (await Promise.all(consumers)).map(({ pid }) => pid as number);
    for (const _ of pids) await ready.get();
    expect(await areIdle([globalThis.process.pid, ...pids])).toBe(true);
  });

  test.skipIf(whyNoSharedMemory() !== undefined)(
    "consumers that block their threads use no CPU",
    { timeout: 120_000 },
    async () => {
      const queue = new Queue<string>();
      const consumers = Array.from({ length: CONSUMER_COUNT }, () => start(tasks.blockOnGet, queue));
      const pids = (await Promise.all(consumers)).map(({ pid }) => pid as number);
      expect(await areIdle([globalThis.process.pid, ...pids])).toBe(true);
    },
  );
});
