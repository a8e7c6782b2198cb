// The part of vitest that tests may use: vitest itself and its stand-in for old versions of Deno
// behave alike.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";

describe("hooks", () => {
  const seen: string[] = [];
  beforeAll(() => void seen.push("all"));
  beforeEach(() => void seen.push("outer before"));
  afterEach(() => void seen.push("outer after"));
  afterEach(() => void seen.push("later outer after"));

  describe("inside", () => {
    beforeEach(() => {
      seen.push("inner before");
      return () => void seen.push("cleanup");
    });
    afterEach(() => void seen.push("inner after"));
    afterAll(() => void seen.push("inner all after"));

    test("hooks run around a test", () => {
      onTestFinished(() => void seen.push("finished 1"));
      onTestFinished(() => void seen.push("finished 2"));
      seen.push("test");
    });
  });

  test("hooks run in the order of vitest", () => {
    expect(seen).toEqual([
      ...["all", "outer before", "inner before", "test", "inner after", "later outer after", "outer after", "cleanup"],
      ...["finished 2", "finished 1", "inner all after", "outer before"],
    ]);
  });
});

describe("variants", () => {
  const never = () => expect.unreachable();
  const titles: string[] = [];

  test.skip("skip leaves a test out", never);
  test.skipIf(true)("skipIf(true) leaves a test out", never);
  test.runIf(false)("runIf(false) leaves a test out", never);
  test("a skipped test as an option", { skip: true }, never);
  describe.skip("skip leaves a suite out", () => test("with its tests", never));
  test.todo("todo has no body");

  test.skipIf(false)("skipIf(false) runs", () => void titles.push("skipIf"));
  test.runIf(true)("runIf(true) runs", ({ task }) => void titles.push(task.name.split(" > ").at(-1) ?? ""));
  test.each([
    [1, 2, 3],
    [2, 3, 5],
  ])("each %i + %i = %i", (a, b, sum) => expect(a + b).toBe(sum));
  test.each([{ name: "ann", age: 4 }])("each $name is $age", ({ age }) => expect(age).toBe(4));
  test.for([[1, 2]])("for %i", ([a, b], { task }) => {
    expect([a, b]).toEqual([1, 2]);
    expect(task.name).toContain("for 1");
  });
  test.skipIf(true).each([1])("each under skipIf", never);
  describe.each(["x", "y"])("suite %s", (letter) => {
    test("has its row", () => void titles.push(letter));
  });
  test.fails("fails turns a failure into success", () => expect(1).toBe(2));
  test.fails("the time-out of a test ends it", { timeout: 20 }, () => new Promise(() => {}));
  test.fails("the time-out may be the last argument", () => new Promise(() => {}), 20);
  test.fails("expect.assertions() counts", () => expect.assertions(1));
  let tries = 0;
  test("retry tries again", { retry: 2 }, () => expect(++tries).toBe(3));

  test("only the chosen tests have run", () => {
    expect(titles).toEqual(["skipIf", "runIf(true) runs", "x", "y"]);
  });
});

describe("expect()", () => {
  test("matchers compare values", () => {
    expect({ a: [1, { b: new Map([[1, new Set([2])]]) }] }).toEqual({ a: [1, { b: new Map([[1, new Set([2])]]) }] });
    expect({ a: undefined }).toEqual({});
    expect({ a: undefined }).not.toStrictEqual({});
    expect([, 1]).not.toStrictEqual([undefined, 1]);
    expect(new Uint8Array([1])).toEqual(new Uint8Array([1]));
    expect(new Uint8Array([1])).not.toStrictEqual(new Int8Array([1]));
    expect(-0).not.toBe(0);
    expect(-0).not.toEqual(0);
    expect({ a: 1, b: { c: 2, d: 3 } }).toMatchObject({ b: { c: 2 } });
    expect(new Date(1)).not.toEqual(new Date(2));
    expect(0.1 + 0.2).toBeCloseTo(0.3);
    expect([1, 2]).toContain(2);
    expect([{ a: 1 }]).toContainEqual({ a: 1 });
    expect("abc").toMatch(/b/);
    expect({ a: { b: 1 } }).toHaveProperty("a.b", 1);
    expect([1]).toHaveLength(1);
    expect(2).toBeGreaterThanOrEqual(2);
    expect(3).toSatisfy((value: number) => value % 2 === 1);
  });

  test("toEqual() compares errors by class, message and cause", () => {
    expect(new TypeError("a")).toEqual(new TypeError("a"));
    expect(new TypeError("a")).not.toEqual(new TypeError("b"));
    expect(new Error("a", { cause: 1 })).not.toEqual(new Error("a", { cause: 2 }));
    expect(Object.assign(new Error("a"), { code: "X" })).toMatchObject({ code: "X", message: "a" });
  });

  test("matchers accept asymmetric matchers", () => {
    expect({ pid: 4, name: "Process-1", at: new Date(), list: [1, 2, 3] }).toEqual({
      pid: expect.any(Number),
      name: expect.stringMatching(/^Process-\d+$/),
      at: expect.anything(),
      list: expect.arrayContaining([3]),
    });
    expect({ a: 1, b: 2 }).toEqual(expect.objectContaining({ a: 1 }));
    expect({ a: 1 }).toEqual(expect.not.objectContaining({ b: 2 }));
  });

  test("toThrow() and rejects check errors", async () => {
    const fails = () => {
      throw new RangeError("out of range", { cause: "test" });
    };
    expect(fails).toThrow(RangeError);
    expect(fails).toThrow("out of");
    expect(fails).toThrow(/range$/);
    expect(() => {}).not.toThrow();
    await expect(Promise.resolve(1)).resolves.toBe(1);
    await expect(Promise.reject(new TypeError("no"))).rejects.toBeInstanceOf(TypeError);
    await expect(Promise.reject(new TypeError("no"))).rejects.toThrow("no");
    await expect((async () => fails())()).rejects.toMatchObject({ name: "RangeError", cause: "test" });
    await expect(expect(Promise.resolve(1)).rejects.toThrow()).rejects.toThrow(/instead of rejecting/);
  });

  test("a failed assertion describes expected and actual value", () => {
    expect(() => expect([1, 2], "the list").toEqual([1, 3])).toThrow(
      "the list: expected [ 1, 2 ] to deeply equal [ 1, 3 ]",
    );
  });
});

test("vi.fn() records its calls", () => {
  const double = vi.fn((x: number) => x * 2);
  expect(double(2)).toBe(4);
  expect(double).toHaveBeenCalledTimes(1);
  expect(double).toHaveBeenCalledWith(2);
});
