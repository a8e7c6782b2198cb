import { fixture, until } from "@multiproc/testing";
import { describe, expect, test } from "vitest";

describe("until()", () => {
  test("gives the first true thing that the condition gives", async () => {
    let looks = 0;
    expect(await until(() => ++looks === 3 && "third")).toBe("third");
    expect(looks).toBe(3);
  });

  test("waits for a condition that is a promise", async () => {
    expect(await until(() => Promise.resolve(1))).toBe(1);
  });

  test("rejects with the message when the time runs out", async () => {
    const waiting = until(() => false, { timeout: 20, message: "the moon turns green" });
    await expect(waiting).rejects.toThrow("Not within 20 ms: the moon turns green");
  });

  test("rejects with what the condition throws", async () => {
    const broken = () => {
      throw new TypeError("broken");
    };
    await expect(until(broken)).rejects.toThrow(TypeError);
  });
});

test("fixture() names a file in the folder beside the test", () => {
  expect(fixture("file:///a/b/c.test.ts", "never-exits.js").href).toBe("file:///a/b/fixtures/never-exits.js");
});
