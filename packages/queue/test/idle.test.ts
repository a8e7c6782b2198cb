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
/** What all of them together may cost in a second, in milliseconds; one that looked again and again would cost 1000. */
const MAX_CPU_MS_PER_SECOND = 50;

afterEach(endChildren);

/** How long a process has had a processor, in milliseconds. */
function cpuTime(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const [user, system] = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .slice(11, 13);
  return (Number(user) + Number(system)) * 10;
}

/** What those processes cost in a second. */
async function cpuMsPerSecond(pids: readonly number[]): Promise<number> {
  const sum = (): number => pids.reduce((time, pid) => time + cpuTime(pid), 0);
  const before = sum();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  return sum() - before;
}

/** Whether those processes come to rest: what it takes to start them lasts a while. */
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
  ])("costs no processor time, items in $backend", { timeout: 120_000 }, async ({ make }) => {
    const queue = await make();
    const ready = new Queue<string>();
    const consumers = Array.from({ length: CONSUMER_COUNT }, () => start(tasks.waitForItem, queue, ready));
    const pids = (await Promise.all(consumers)).map(({ pid }) => pid as number);
    for (const _ of pids) await ready.get();
    expect(await areIdle([globalThis.process.pid, ...pids])).toBe(true);
  });

  test.skipIf(whyNoSharedMemory() !== undefined)(
    "costs no processor time, consumers blocking their threads",
    { timeout: 120_000 },
    async () => {
      const queue = new Queue<string>();
      const consumers = Array.from({ length: CONSUMER_COUNT }, () => start(tasks.blockOnGet, queue));
      const pids = (await Promise.all(consumers)).map(({ pid }) => pid as number);
      expect(await areIdle([globalThis.process.pid, ...pids])).toBe(true);
    },
  );
});
