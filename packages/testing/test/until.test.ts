import { fixture, until } from "@multiproc/testing";
import { describe, expect, test } from "vitest";

describe("until()", () => {
  test("until() returns the first truthy result of the condition", async () => {
    let looks = 0;
    expect(await until(() => ++looks === 3 && "third")).toBe("third");
    expect(looks).toBe(3);
  });

  test("until() awaits a condition that returns a promise", async () => {
    expect(await until(() => Promise.resolve(1))).toBe(1);
  });

  test("until() rejects with the message when the time runs out", async () => {
    const waiting = until(() => false, { timeout: 20, message: "the moon turns green" });
    await expect(waiting).rejects.toThrow("Not within 20 ms: the moon turns green");
  });

  test("until() rejects with the error of the condition", async () => {
    const broken = () => {
      throw new TypeError("broken");
    };
    await expect(until(broken)).rejects.toThrow(TypeError);
  });
});

test("fixture() returns the URL of a file beside the test", () => {
  expect(fixture("file:///a/b/c.test.ts", "never-exits.js").href).toBe("file:///a/b/fixtures/never-exits.js");
});
