import { describe, expect, test } from "vitest";
import { checkOptions } from "../src/runtime/check-options.ts";
import { checkWaitOptions } from "../src/runtime/wait-options.ts";

const KNOWN = ["timeout", "signal", "chunkSize"];
const check = (options: unknown) => () => checkOptions("map()", options, KNOWN, { workers: "processes" });

describe("checkOptions()", () => {
  test("missing options, empty options and known names pass, whatever their values", () => {
    for (const options of [
      undefined,
      {},
      { timeout: undefined },
      { signal: null, chunkSize: "4" },
      Object.create(null),
    ])
      expect(check(options)).not.toThrow();
  });

  test("a misspelt name is refused with the nearest one", () => {
    expect(check({ timeOut: 5 })).toThrow(
      new TypeError(
        'map() does not take the option "timeOut". Did you mean "timeout"? It takes: timeout, signal, chunkSize',
      ),
    );
    expect(check({ chunksize: 5 })).toThrow('Did you mean "chunkSize"?');
  });

  test("a name of another library is refused with ours", () => {
    expect(check({ workers: 4 })).toThrow('Did you mean "processes"?');
  });

  test("a name that resembles none is refused without a proposal", () => {
    expect(check({ colour: 1 })).toThrow('map() does not take the option "colour". It takes:');
    expect(check({ constructor: 1 })).toThrow('does not take the option "constructor". It takes:');
  });

  test.each([
    [4, "not 4"],
    ["a", 'not "a"'],
    [null, "not null"],
    [[1], "not an array"],
    [new AbortController().signal, "not an instance of AbortSignal"],
    [function work() {}, "not the function work"],
  ])("options that are not one object are refused: %s", (options, ending) => {
    expect(check(options)).toThrow(`map() takes its options as one object, such as { timeout: … }, ${ending}`);
  });
});

describe("checkWaitOptions()", () => {
  const check = (options: unknown, known?: string[]) => (): void => checkWaitOptions("recv()", options as never, known);

  test("a timeout, a signal, and null as no signal pass", () => {
    for (const options of [{}, { timeout: 0 }, { signal: new AbortController().signal }, { signal: null }])
      expect(check(options)).not.toThrow();
    expect(check({ max: 1 }, ["max", "timeout"])).not.toThrow();
  });

  test("a mistake is refused with the call that it was made in", () => {
    expect(check({ max: 1 })).toThrow('recv() does not take the option "max"');
    expect(check(5)).toThrow("recv() takes its options as one object, such as { timeout: … }, not 5");
    expect(check({ timeout: "5" })).toThrow("recv() takes a timeout of 0 or more milliseconds, not 5");
    expect(check({ signal: new AbortController() })).toThrow("recv() takes an AbortSignal as signal");
  });
});
