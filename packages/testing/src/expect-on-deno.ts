/**
 * `expect` of vitest for Deno before 2.8, assembled from the parts of vitest as vitest does it.
 * Part of the stand-in in `vitest-on-deno.ts`.
 */
import {
  ASYMMETRIC_MATCHERS_OBJECT,
  addCustomEqualityTesters,
  ChaiStyleAssertions,
  chai,
  customMatchers,
  GLOBAL_EXPECT,
  getState,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
  setState,
} from "@vitest/expect";
import { processError } from "@vitest/utils/error";

/** The members of a test that its assertions use. */
export interface AssertingTest {
  /** Pending assertions. They can fail the test although it does not await them. */
  promises?: Promise<unknown>[];
  onFinished?: (() => unknown)[];
}

chai.use(JestExtend);
chai.use(JestChaiExpect);
chai.use(ChaiStyleAssertions);
chai.use(JestAsymmetricMatchers);

let currentTest: AssertingTest | undefined;

// biome-ignore lint/suspicious/noExplicitAny: its type is vitest's; tests are compiled against that
export const expect: any = (value: unknown, message?: string) => {
  setState({ assertionCalls: getState(expect).assertionCalls + 1 }, expect);
  // biome-ignore lint/suspicious/noExplicitAny: its type is vitest's; tests are compiled against that
  const assertion = chai.expect(value, message) as any;
  return currentTest ? assertion.withTest(currentTest) : assertion;
};

Object.assign(expect, chai.expect, (globalThis as Record<symbol, unknown>)[ASYMMETRIC_MATCHERS_OBJECT]);
(globalThis as Record<symbol, unknown>)[GLOBAL_EXPECT] = expect;
expect.assert = chai.assert;
expect.getState = () => getState(expect);
expect.addEqualityTesters = addCustomEqualityTesters;
// biome-ignore lint/suspicious/noExplicitAny: its type is vitest's; tests are compiled against that
expect.extend = (matchers: unknown) => (chai.expect as any).extend(expect, matchers);
expect.unreachable = (message?: string) =>
  chai.assert.fail(`expected${message ? ` "${message}" ` : " "}not to be reached`);
expect.assertions = (count: number) => setState({ expectedAssertionsNumber: count }, expect);
expect.hasAssertions = () => setState({ isExpectingAssertions: true }, expect);
expect.extend(customMatchers);

/** Starts counting assertions for `test`. */
export function beginAssertions(test: AssertingTest): void {
  currentTest = test;
  setState({ assertionCalls: 0, expectedAssertionsNumber: null, isExpectingAssertions: false }, expect);
}

/**
 * Waits for assertions that were not awaited, and checks `expect.assertions()` and
 * `expect.hasAssertions()`.
 */
export async function endAssertions(test: AssertingTest): Promise<void> {
  await Promise.all(test.promises ?? []);
  const { assertionCalls, expectedAssertionsNumber, isExpectingAssertions } = getState(expect);
  if (expectedAssertionsNumber != null && assertionCalls !== expectedAssertionsNumber) {
    throw new Error(`expected number of assertions to be ${expectedAssertionsNumber}, but got ${assertionCalls}`);
  }
  if (isExpectingAssertions && assertionCalls === 0) {
    throw new Error("expected any number of assertion, but got none");
  }
}

/**
 * Appends the difference between expected and actual value to the message of an error. The reporter
 * of Deno shows only the message.
 */
export function appendDiff(error: unknown): unknown {
  if (!(error instanceof chai.AssertionError)) return error;
  const { diff } = processError(error);
  if (diff && error.stack) {
    error.stack = error.stack.replace(error.message, () => `${error.message}\n\n${diff}\n`);
    error.message += `\n\n${diff}\n`;
  }
  return error;
}
