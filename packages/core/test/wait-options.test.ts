import { TimeoutError } from "@multiproc/core";
import {
  checkWaitOptions,
  TIMED_OUT,
  type WaitOptions,
  withTimeout,
  withTimeoutOrThrow,
} from "@multiproc/core/internal";
import { describe, expect, test } from "vitest";

const forever = new Promise<never>(() => {});
const MISTAKES: ReadonlyArray<readonly [unknown, typeof RangeError | typeof TypeError, string]> = [
  [{ timeout: -1 }, RangeError, "get() takes a timeout of 0 or more milliseconds, not -1"],
  [{ timeout: Number.NaN }, RangeError, "not NaN"],
  [{ timeout: "5s" }, RangeError, "not 5s"],
  [{ timeout: null }, RangeError, "not null"],
  [{ signal: true }, TypeError, "get() takes an AbortSignal as signal, such as controller.signal, not true"],
  [{ signal: new AbortController() }, TypeError, "not an AbortController: pass its signal property"],
];

describe.each(MISTAKES)("a wait with the wrong options %j", (wrong, Class, message) => {
  const options = wrong as WaitOptions;

  test.each([
    ["withTimeout()", withTimeout],
    ["withTimeoutOrThrow()", withTimeoutOrThrow],
  ])("%s rejects and does not throw", async (_, wait) => {
    const waiting = wait(forever, "get()", options);
    await expect(waiting).rejects.toThrow(Class);
    await expect(waiting).rejects.toThrow(message);
  });

  test("checkWaitOptions() throws", () => {
    expect(() => checkWaitOptions("get()", options)).toThrow(Class);
    expect(() => checkWaitOptions("get()", options)).toThrow(message);
  });
});

describe("withTimeout()", () => {
  test("a wait without options is the promise itself", async () => {
    expect(withTimeout(forever, "get()", {})).toBe(forever);
    expect(withTimeout(forever, "get()", { timeout: undefined, signal: undefined })).toBe(forever);
    // As in fetch(), null means no signal.
    expect(withTimeout(forever, "get()", { signal: null } as never)).toBe(forever);
    const waiting = withTimeout(forever, "get()", { timeout: 1, signal: null } as never);
    expect(await waiting).toBe(TIMED_OUT);
  });

  test("a wait ends with the value, the timeout or the reason of the signal, whichever comes first", async () => {
    const { signal } = new AbortController();
    expect(await withTimeout(Promise.resolve(7), "get()", { timeout: 60_000, signal })).toBe(7);
    expect(await withTimeout(forever, "get()", { timeout: 1, signal })).toBe(TIMED_OUT);
    await expect(withTimeout(forever, "get()", { signal: AbortSignal.abort("enough") })).rejects.toBe("enough");
    const controller = new AbortController();
    const waiting = withTimeout(forever, "get()", { timeout: 60_000, signal: controller.signal });
    controller.abort("later");
    await expect(waiting).rejects.toBe("later");
    await expect(withTimeoutOrThrow(forever, "get()", { timeout: 1 })).rejects.toThrow(TimeoutError);
  });

  test("a timeout that is too long for a timer waits without end", async () => {
    for (const timeout of [2 ** 31, Number.POSITIVE_INFINITY]) {
      const controller = new AbortController();
      const waiting = withTimeout(forever, "get()", { timeout, signal: controller.signal });
      const first = await Promise.race([waiting, new Promise((resolve) => setTimeout(resolve, 20, "still waiting"))]);
      expect(first).toBe("still waiting");
      controller.abort("enough");
      await expect(waiting).rejects.toBe("enough");
    }
  });

  test("a promise that is rejected after its wait has ended is not an unhandled rejection", async () => {
    let reject = (_reason: unknown): void => {};
    const promise = new Promise<never>((_, fail) => (reject = fail));
    await expect(withTimeout(promise, "get()", { signal: AbortSignal.abort("enough") })).rejects.toBe("enough");
    reject(new Error("too late")); // vitest fails for an unhandled rejection
    await new Promise((resolve) => setTimeout(resolve, 5));
  });
});
