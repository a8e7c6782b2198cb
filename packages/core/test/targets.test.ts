import { fromModule, inline, registerClass, TargetError, task } from "@multiproc/core";
import { describe, expect, test } from "vitest";

const HERE = import.meta.url;
const work = (x: number): number => x;
class Point {
  x = 0;
}
type IsSame<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
/** Compiles only if both types are the same. */
const isSame = <A, B>(_: IsSame<A, B>): void => {};
/** Calls a function as JavaScript does, without types. */
const untyped = (fn: unknown): ((...args: unknown[]) => unknown) => fn as never;

describe("task()", () => {
  test.each([
    [[work], "task() takes the URL of its module first, then the function work"],
    [[HERE, "work"], 'task() takes a function as its second argument, not "work"'],
    [[HERE], "task() takes a function as its second argument, not undefined"],
    [[HERE, work, 5], "task() takes the name of the export as its third argument, not 5"],
  ])("wrong arguments are refused with a TypeError: %j", (args, message) => {
    expect(() => untyped(task)(...args)).toThrow(TypeError);
    expect(() => untyped(task)(...args)).toThrow(message);
  });

  test.each([
    ["./tasks.js", 'not "./tasks.js": write new URL("./tasks.js", import.meta.url)'],
    ["/home/me/tasks.cjs", "write pathToFileURL(path) of node:url"],
    [undefined, 'not undefined: write import.meta.url, or new URL("./tasks.ts", import.meta.url)'],
    ["blob:nodedata:1234", "other processes cannot load a blob of this one"],
  ])("a module that other processes cannot load is refused with what to write: %s", (url, message) => {
    for (const call of [(): unknown => untyped(task)(url, work), (): unknown => untyped(fromModule)(url)]) {
      expect(call).toThrow(TargetError);
      expect(call).toThrow(message);
    }
  });

  test("an anonymous function needs a name", () => {
    expect(() => task(HERE, (() => () => {})())).toThrow("task() needs the name under which the module exports");
    const anonymous = (
      () => () =>
        1
    )();
    expect(task(HERE, anonymous, "one")).toBe(anonymous);
  });
});

describe("inline()", () => {
  test.each([
    ["x => x", 'inline() takes a function, not "x => x"'],
    [undefined, "inline() takes a function, not undefined"],
    [Point, "inline() takes a function, not the class Point: export the class and call registerClass()"],
  ])("a value that is not a function is refused: %s", (value, message) => {
    expect(() => untyped(inline)(value)).toThrow(TypeError);
    expect(() => untyped(inline)(value)).toThrow(message);
  });

  test.each([[[3]], [null], [3], [work]])("captured values that are not one object are refused: %j", (captured) => {
    expect(() => untyped(inline)(work, captured)).toThrow("inline() takes the captured values as one object");
  });

  test("a captured name that is not the name of a variable is refused", () => {
    expect(() => inline(work, { "a-b": 1 })).toThrow('cannot capture "a-b": it is not the name of a variable');
  });

  test("a bound function and a method are refused with how to write them", () => {
    expect(() => inline(work.bind(null))).toThrow("native or bound: write the function in place");
    const { method } = { method() {} };
    expect(() => inline(method)).toThrow("write it as an arrow function or a function expression, not as a method");
  });
});

describe("registerClass()", () => {
  test.each([
    [[Point], "registerClass() takes the URL of its module first, then the class Point"],
    [[HERE, new Point()], "registerClass() takes a class as its second argument, not an instance of Point"],
    [[HERE, "Point"], 'registerClass() takes a class as its second argument, not "Point"'],
    [[HERE, work], "registerClass() takes a class as its second argument, not the function work"],
    [[HERE, Point, {}], "registerClass() takes the name of the export as its third argument"],
  ])("wrong arguments are refused with a TypeError: %j", (args, message) => {
    expect(() => untyped(registerClass)(...args)).toThrow(TypeError);
    expect(() => untyped(registerClass)(...args)).toThrow(message);
  });

  test("an anonymous class needs a name", () => {
    expect(() => registerClass(HERE, (() => class {})())).toThrow("registerClass() needs the name");
  });
});

describe("fromModule()", () => {
  interface Exports {
    square(x: number): number;
    generic<T>(x: T): T[];
    readonly Shape: typeof Point;
    readonly LIMIT: number;
    readonly options: { readonly depth: number };
    readonly default: () => void;
  }
  const tasks = fromModule<Exports>("node:fs");

  test("the type has the functions and the classes of the module, as they are declared there", () => {
    isSame<typeof tasks.square, Exports["square"]>(true);
    isSame<typeof tasks.generic, Exports["generic"]>(true);
    isSame<typeof tasks.Shape, typeof Point>(true);
    isSame<keyof typeof tasks, "square" | "generic" | "Shape" | "default">(true);
    expect(typeof tasks.square).toBe("function");
  });

  test("the type has no exports that would be values here", () => {
    // @ts-expect-error the value of a constant is not known without loading the module
    const limit: number = tasks.LIMIT;
    // @ts-expect-error nor is an object
    void tasks.options;
    // @ts-expect-error a target cannot be replaced
    tasks.square = work;
    expect(typeof limit).toBe("function"); // JavaScript sees a target that cannot be resolved
  });

  test("a target that is called reports how to use it", () => {
    expect(() => tasks.square(2)).toThrow(
      '"square" of "node:fs" cannot be called here, because fromModule() only names it: pass it to a Process or a Pool',
    );
  });
});
