import * as core from "@multiproc/core";
import * as pipe from "@multiproc/pipe";
import * as pool from "@multiproc/pool";
import * as processes from "@multiproc/process";
import * as queue from "@multiproc/queue";
import * as multiproc from "multiproc";
import { describe, expect, test } from "vitest";

describe("multiproc", () => {
  test.each(Object.entries({ core, pipe, pool, processes, queue }))("has all that %s has", (_, part) => {
    const whole: Record<string, unknown> = { ...multiproc };
    for (const [name, value] of Object.entries(part)) expect(whole[name]).toBe(value);
  });

  test("chooses the start method", () => {
    expect(multiproc.getAllStartMethods()[0]).toBe(multiproc.getStartMethod());
    expect(() => multiproc.setStartMethod("thread" as never)).toThrow(multiproc.StartMethodError);
    multiproc.setStartMethod("spawn");
    expect(() => multiproc.setStartMethod("spawn")).toThrow("has been set");
    multiproc.setStartMethod("spawn", { force: true });
  });

  test("setExecutable() takes a path, and a process says when there is no such program", async () => {
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
