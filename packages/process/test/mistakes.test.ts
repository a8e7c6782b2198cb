import process from "node:process";
import { fromModule } from "@multiproc/core";
import { Process, type ProcessOptions } from "@multiproc/process";
import { fixture, noChildLeft } from "@multiproc/testing";
import { afterEach, describe, expect, expectTypeOf, test } from "vitest";

const tasks = fromModule<typeof import("./fixtures/tasks.js")>(fixture(import.meta.url, "tasks.js"));
const target = tasks.nothing;

afterEach(() => noChildLeft());

describe("new Process()", () => {
  test.each([
    [() => {}, "takes its options as one object, such as { target: … }, not the function"],
    ["target", 'takes its options as one object, such as { target: … }, not "target"'],
    [null, "takes its options as one object"],
    [[target], "takes its options as one object, such as { target: … }, not an array"],
    [{ tagret: target }, 'does not take the option "tagret". Did you mean "target"?'],
    [{ func: target }, 'does not take the option "func". Did you mean "target"?'],
    [{ startmethod: "spawn" }, 'does not take the option "startmethod". Did you mean "startMethod"?'],
    [{ target, args: 4 }, "takes an array as args, not 4"],
    [{ target, name: 4 }, "takes a string as name, not 4"],
    [{ target, daemon: "yes" }, 'takes true or false as daemon, not "yes"'],
    [{ target, env: ["A=1"] }, "takes an object of strings as env, not an array"],
    [{ target, env: { PORT: 80 } }, "takes an object of strings as env"],
    [{ target, cwd: new URL("file:///tmp") }, "takes a path as a string as cwd, not an instance of URL"],
    [{ target, stdio: "pipes" }, 'takes "inherit", "pipe", "ignore" or { stdout, stderr } with these'],
    [{ target, stdio: { stdin: "pipe" } }, 'takes "inherit", "pipe", "ignore" or { stdout, stderr } with these'],
    [{ target, stdio: { stdout: 1 } }, 'takes "inherit", "pipe", "ignore" or { stdout, stderr } with these'],
    [{ target, execArgv: "--flag" }, 'takes an array of strings as execArgv, not "--flag"'],
    [{ target, signal: new AbortController() }, "takes an AbortSignal as signal, not an instance of AbortController"],
  ])("the constructor refuses the mistake %#", (options, message) => {
    expect(() => new Process(options as never)).toThrow(TypeError);
    expect(() => new Process(options as never)).toThrow(`new Process() ${message}`);
  });

  test("the constructor refuses a start method that does not exist", () => {
    expect(() => new Process({ target, startMethod: "spwan" as never })).toThrow(
      'Start method "spwan" is not available',
    );
    expect(() => new Process({ target, startMethod: 1 as never })).toThrow("takes a start method as a string");
  });

  test("undefined stands for an option that is left out", () => {
    const options = { name: undefined, env: undefined, stdio: undefined, execArgv: undefined, signal: undefined };
    expect(new Process({ target, args: undefined, ...options }).name).toMatch(/^Process-/);
    expect(new Process(undefined).name).toMatch(/^Process-/);
  });

  test("the compiler asks for the arguments that the target requires", () => {
    const square = (x: number): number => x * x;
    const greet = (name?: string): string => `Hello, ${name}`;
    // Nothing here is called: the compiler alone reads it.
    const compiled = (): unknown => [
      // @ts-expect-error the argument is missing
      new Process({ target: square }),
      // @ts-expect-error the argument is a string
      new Process({ target: square, args: ["4"] }),
      // @ts-expect-error there are two arguments
      new Process({ target: square, args: [4, 5] }),
      // @ts-expect-error options are an object
      new Process(square),
      // @ts-expect-error there is no such option
      new Process({ target: square, args: [4], workers: 4 }),
      new Process({ target: square, args: [4] }),
      new Process({ target: square, args: [4], startMethod: "fork" }),
      new Process({ target: greet }),
      new Process({ target: greet, args: ["Ada"] }),
      new Process({ target: () => {} }),
      new Process({ name: "of a subclass" }),
      new Process(),
      generic(square, [4]),
    ];
    function generic<A extends unknown[]>(fn: (...args: A) => unknown, args: A): Process<A> {
      return new Process({ target: fn, args });
    }
    expect(compiled).toBeTypeOf("function");
    expectTypeOf<ProcessOptions<[number]>["args"]>().toEqualTypeOf<[number]>();
    expectTypeOf<ProcessOptions<[]>["args"]>().toEqualTypeOf<[] | undefined>();
  });
});

describe("a method of Process that returns a promise rejects, and never throws", () => {
  const used = new Process({ target });
  const closed = new Process({ target });
  closed.close();
  test.each<[string, () => Promise<unknown>, string]>([
    ["start() after close()", () => closed.start(), "start() was called on"],
    ["join() after close()", () => closed.join(), "join() was called on"],
    ["join() before start()", () => used.join(), "before it was started"],
    ["join() with a number", () => used.join(5 as never), "join() takes its options as one object"],
    ["join() with an unknown option", () => used.join({ timeOut: 5 } as never), 'Did you mean "timeout"?'],
    ["join() with null", () => used.join(null as never), "join() takes its options as one object"],
    ["start() with what cannot be sent", () => new Process({ target: echo, args: [unsendable] }).start(), "args"],
  ])("%s", async (_, call, message) => {
    const promise = call();
    expect(promise).toBeInstanceOf(Promise);
    await expect(promise).rejects.toThrow(message);
  });

  test("join() refuses a time-out that is not a duration", async () => {
    const child = new Process({ target });
    await child.start();
    await expect(child.join({ timeout: -1 })).rejects.toThrow(RangeError);
    await expect(child.join({ timeout: "5" as never })).rejects.toThrow("join() takes a timeout");
    expect(await child.join()).toBe(0);
  });

  const unsendable = Object.assign(() => {}, { toString: () => process.title });
  const echo = target as never as (value: unknown) => void;
});
