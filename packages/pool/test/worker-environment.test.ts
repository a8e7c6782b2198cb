// Runs under every start method.
// The environment of tasks: initializer and finalizer, context propagation, and diagnostics.
import diagnostics from "node:diagnostics_channel";
import fs from "node:fs";
import { fromModule } from "@multiproc/core";
import { Pool } from "@multiproc/pool";
import { fixture } from "@multiproc/testing";
import { describe, expect, onTestFinished, test } from "vitest";
import { requests } from "./fixtures/worker-environment.js";
import { file, poolOf } from "./pools.ts";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
const own = fromModule<typeof import("./fixtures/worker-environment.js")>(
  fixture(import.meta.url, "worker-environment.js"),
);
const lines = (from: string): string[] => fs.readFileSync(from, "utf8").trim().split("\n");

describe("workers", () => {
  test("workers call the finalizer after their last task: when the pool is closed, and when they are replaced", async () => {
    const marks = file();
    const pool = poolOf({
      ...{ processes: 1, maxTasksPerChild: 2 },
      ...{ initializer: own.begin, initArgs: [marks], finalizer: own.end },
    });
    const pids = await Promise.all([1, 2, 3].map(() => pool.apply(tasks.myPid)));
    pool.close();
    await pool.join();
    const expected = [pids[0], pids[2]].flatMap((pid) => [`begin ${pid}`, `end ${pid}`]);
    expect(lines(marks).toSorted()).toEqual(expected.toSorted());
  });

  test("workers are replaced when they exceed maxMemoryPerChild", async () => {
    const pool = poolOf({ processes: 1, maxMemoryPerChild: 1024 ** 3 });
    const small = await pool.apply(own.grow, [1]);
    expect(await pool.apply(own.grow, [1])).toBe(small);
    const large = poolOf({ processes: 1, maxMemoryPerChild: 1024 });
    const first = await large.apply(own.grow, [1]);
    // It may have received one more task before its memory was checked.
    const later = [await large.apply(own.grow, [1]), await large.apply(own.grow, [1])];
    expect(later.some((pid) => pid !== first)).toBe(true);
    expect(large.stats()).toMatchObject({ completed: 3, failed: 0, lost: 0 });
    expect(() => new Pool({ maxMemoryPerChild: 0 })).toThrow(RangeError);
  });
});

describe("a call", () => {
  test("a call propagates its async context and its trace to its task only", async () => {
    const pool = poolOf({
      processes: 1,
      traceContext: () => requests.getStore() && `trace-${requests.getStore()?.id}`,
    });
    const [first, second, mapped, bare, named] = await Promise.all([
      requests.run({ id: 1 }, () => pool.apply(own.surroundings)),
      requests.run({ id: 2 }, () => pool.apply(own.surroundings, [], { retries: 1 })),
      requests.run({ id: 3 }, () => pool.map(own.surroundings as (x: number) => unknown, [1, 2], { chunkSize: 2 })),
      pool.apply(own.surroundings),
      pool.apply(own.surroundings, [], { traceContext: "00-ab-cd-01" }),
    ]);
    expect([first, second]).toEqual([
      [1, "trace-1"],
      [2, "trace-2"],
    ]);
    expect(mapped).toEqual([
      [3, "trace-3"],
      [3, "trace-3"],
    ]);
    expect(bare).toEqual([undefined, undefined]);
    expect(named).toEqual([undefined, "00-ab-cd-01"]);
    await expect(requests.run({ id: (() => {}) as never }, () => pool.apply(own.surroundings))).rejects.toThrow(
      "context.stores",
    );
    await expect(pool.map(tasks.square, [1], { traceContext: 7 as never })).rejects.toThrow(TypeError);
  });

  test("a call calls onProgress in the async context of the caller", async () => {
    const pool = poolOf({ processes: 1 });
    const ids: unknown[] = [];
    const onProgress = () => ids.push(requests.getStore()?.id);
    await requests.run({ id: 7 }, () => pool.map(tasks.square, [1, 2], { chunkSize: 1, onProgress }));
    expect(ids).toEqual([7, 7]);
  });

  test("a call is published on diagnostics channels, and so are the start and end of workers", async () => {
    const seen: [string, any][] = [];
    for (const name of ["worker:start", "worker:end", "task:start", "task:end", "task:error"]) {
      const note = (message: unknown) => void seen.push([name, message]);
      diagnostics.subscribe(`multiproc:pool:${name}`, note);
      onTestFinished(() => void diagnostics.unsubscribe(`multiproc:pool:${name}`, note));
    }
    const pool = poolOf({ processes: 1, name: "Watched" });
    const pid = await pool.apply(tasks.myPid, [], { traceContext: "00-ab" });
    await pool.apply(tasks.fail, [undefined]).catch(() => {});
    await pool.terminate();
    const common = { pool: "Watched", worker: pid };
    expect(seen.map(([name]) => name)).toEqual(
      ["worker:start", "task:start", "task:end", "task:start", "task:error", "worker:end"], // in this order
    );
    expect(seen[0]?.[1]).toMatchObject({ ...common, name: "Watched-1" });
    expect(seen[2]?.[1]).toMatchObject({ ...common, items: 1, trace: "00-ab", ms: expect.any(Number) });
    expect(seen[1]?.[1]).toBe(seen[2]?.[1]);
    expect(seen[4]?.[1]).toMatchObject({ ...common, task: "fail", error: expect.any(RangeError) });
    expect(seen[5]?.[1]).toMatchObject({ ...common, signal: "SIGTERM" });
  });
});
