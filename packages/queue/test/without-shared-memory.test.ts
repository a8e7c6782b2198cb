// Runs under every start method.
import process from "node:process";
import { fromModule } from "@multiproc/core";
import { Process } from "@multiproc/process";
import { JoinableQueue, Queue, SimpleQueue } from "@multiproc/queue";
import { childrenOf, fixture } from "@multiproc/testing";
import { afterEach, expect, test } from "vitest";

// This process and its children read the variable when they first need shared memory.
process.env.MULTIPROC_SHARED_MEMORY = "off";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
const { start, endChildren } = childrenOf((target, args) => new Process({ target, args }));

afterEach(endChildren);

test("without shared memory, the owner process reads a queue at once, and a child asks by state()", async () => {
  const results = new Queue<unknown>();
  for (const queue of [new Queue<string>(2), new JoinableQueue<string>(2)]) {
    await queue.put("item");
    expect([queue.qsize(), queue.empty(), queue.full()]).toEqual([1, false, false]);
    await start(tasks.readState, queue, results);
    const refused = (alternative: string) => [
      "CapabilityError",
      expect.stringMatching(
        new RegExp(`MULTIPROC_SHARED_MEMORY=off.*: use \\(await queue.state\\(\\)\\).${alternative}$`),
      ),
    ];
    expect(await results.get()).toEqual([
      refused("size"),
      refused("isEmpty"),
      refused("isFull"),
      ["ok", { size: 1, maxSize: 2, isEmpty: false, isFull: false }],
    ]);
  }
  const simple = new SimpleQueue<string>();
  await start(tasks.readSimple, simple, results);
  expect(await results.get()).toEqual(["CapabilityError", { size: 0, maxSize: 0, isEmpty: true, isFull: false }]);
  expect(simple.empty()).toBe(true);
});

test("without shared memory, the items stay with the broker", async () => {
  const queue = new Queue<string>();
  const results = new Queue<string[]>();
  await start(tasks.consume, queue, results);
  await queue.put("item");
  await queue.shutdown();
  expect(await results.get()).toEqual(["item"]);
  expect(await queue.backend()).toBe("broker");
});
