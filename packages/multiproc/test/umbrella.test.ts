import * as core from "@multiproc/core";
import * as pipe from "@multiproc/pipe";
import * as pool from "@multiproc/pool";
import * as processes from "@multiproc/process";
import * as queue from "@multiproc/queue";
import { closeForkserver } from "@multiproc/start-methods";
import { noChildLeft } from "@multiproc/testing";
import * as multiproc from "multiproc";
import { afterEach, describe, expect, test } from "vitest";

afterEach(async () => {
  await closeForkserver();
  await noChildLeft();
});

describe("multiproc", () => {
  test.each(Object.entries({ core, pipe, pool, processes, queue }))(
    "multiproc exports everything that %s exports",
    (_, part) => {
      const whole: Record<string, unknown> = { ...multiproc };
      for (const [name, value] of Object.entries(part)) expect(whole[name]).toBe(value);
    },
  );

  test("setStartMethod() sets the start method once", () => {
    expect(multiproc.getAllStartMethods()[0]).toBe(multiproc.getStartMethod());
    expect(() => multiproc.setStartMethod("teleport" as never)).toThrow(multiproc.StartMethodError);
    multiproc.setStartMethod("spawn");
    expect(() => multiproc.setStartMethod("spawn")).toThrow("setStartMethod() was called before");
    multiproc.setStartMethod("spawn", { force: true });
  });

  test("start() rejects if the program of setExecutable() does not exist", async () => {
    expect(() => multiproc.setExecutable("")).toThrow(TypeError);
    multiproc.setExecutable("/no/such/interpreter");
    try {
      const child = new multiproc.Process({ target: multiproc.inline(() => {}) });
      await expect(child.start()).rejects.toThrow('there is no program "/no/such/interpreter"; see setExecutable()');
    } finally {
      multiproc.setExecutable(undefined);
    }
  });
});

describe("getContext()", () => {
  test("a context has all of the library, bound to its start method", () => {
    for (const method of multiproc.getAllStartMethods()) {
      const context = multiproc.getContext(method);
      expect(context.getStartMethod()).toBe(method);
      expect(multiproc.getContext(method)).toBe(context);
      expect(context.Queue).toBe(multiproc.Queue);
      for (const name of Object.keys(processes)) expect(context).toHaveProperty(name);
      expect(new context.Process()).toBeInstanceOf(multiproc.Process);
    }
    expect(multiproc.getContext().Process).toBe(multiproc.Process);
    expect(multiproc.getContext().getStartMethod()).toBe(multiproc.getStartMethod());
  });

  test("a context starts processes and pools by its method, whatever the program has set", async () => {
    for (const method of multiproc.getAllStartMethods().filter((each) => each !== "fork")) {
      const { Process, Pool, Queue } = multiproc.getContext(method);
      const queue = new Queue<number>();
      class Subclass extends Process {}
      const options = { target: multiproc.inline((to: typeof queue) => to.put(42)), args: [queue] as [typeof queue] };
      const child = new Process(options);
      await child.start();
      expect(await queue.get()).toBe(42);
      expect(await child.join()).toBe(0);
      expect(new Subclass()).toBeInstanceOf(Subclass);
      await using pool = new Pool({ processes: 1 });
      expect(
        await pool.map(
          multiproc.inline((x: number) => x + 1),
          [1, 2],
        ),
      ).toEqual([2, 3]);
    }
  });

  test("getContext() refuses an unknown start method, and its classes refuse another one", () => {
    expect(() => multiproc.getContext("teleport" as never)).toThrow('Start method "teleport" is not available here');
    const { Process, Pool } = multiproc.getContext("spawn");
    expect(() => new Process({ startMethod: "forkserver" })).toThrow('take it from getContext("forkserver")');
    expect(() => new Pool({ startMethod: "forkserver" })).toThrow(multiproc.StartMethodError);
    expect(new Process({ startMethod: "spawn" })).toBeInstanceOf(Process);
  });

  test("the classes of a context refuse the same mistakes as those of the library", () => {
    const { Process } = multiproc.getContext("spawn");
    for (const mistake of [() => {}, "target", null, [1], new Map(), { tagret: 1 }])
      expect(() => new Process(mistake as never)).toThrow(/^new Process\(\) /);
  });
});
