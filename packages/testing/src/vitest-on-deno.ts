/**
 * A stand-in for vitest on Deno before 2.8, which cannot run vitest: the part of its interface that
 * the tests use, over `Deno.test`. Only `scripts/hosts.mjs` uses it, for the oldest supported Deno.
 * On newer versions vitest itself runs the tests.
 *
 * Every test becomes one flat `Deno.test` named `outer > inner > test`, so that filters, reports
 * and counts are those of Deno. An unknown option is refused, and never ignored silently.
 */

import { format } from "node:util";
import { fn, restoreAllMocks, spyOn } from "@vitest/spy";
import { type AssertingTest, appendDiff, beginAssertions, endAssertions, expect } from "./expect-on-deno.ts";

export { expect };
/** The part of `vi` that works without the runner of vitest. */
export const vi = { fn, spyOn, restoreAllMocks };

interface TestOptions {
  timeout?: number;
  skip?: boolean;
  only?: boolean;
  todo?: boolean;
  fails?: boolean;
  retry?: number;
}

interface TestContext {
  task: { name: string };
  signal: AbortSignal;
  expect: typeof expect;
  onTestFinished: typeof onTestFinished;
}

// biome-ignore lint/suspicious/noExplicitAny: tests declare the types of their rows
type Body = (...args: any[]) => unknown;
type Hook = { run: Body; timeout: number };
type HookName = "beforeAll" | "afterAll" | "beforeEach" | "afterEach";

interface Suite {
  name: string;
  parent: Suite | undefined;
  options: TestOptions;
  hooks: Record<HookName, Hook[]>;
  /**
   * The number of tests that have not run yet. The last one runs the `afterAll` hooks of the suite.
   */
  testsLeft: number;
  /** The run of the `beforeAll` hooks. If it fails, every test of the suite fails, as in vitest. */
  beforeAllRun: Promise<void> | undefined;
  hasEnded: boolean;
}

interface RunningTest extends AssertingTest {
  finishers: Hook[];
}

const DEFAULT_TIMEOUT_MS = 30_000;
const KNOWN_OPTIONS = ["timeout", "skip", "only", "todo", "fails", "retry"];

const root = newSuite("", undefined, {});
const suites = [root];
let currentSuite = root;
let currentTest: RunningTest | undefined;

// Ends suites whose last test was left out by a filter.
Deno.test.afterAll(async () => {
  for (const suite of [...suites].reverse()) await endSuite(suite);
});

export const beforeAll = hook("beforeAll");
export const afterAll = hook("afterAll");
export const beforeEach = hook("beforeEach");
export const afterEach = hook("afterEach");

/**
 * Registers a function that runs after the current test and its `afterEach` hooks, the last
 * registered first.
 */
export function onTestFinished(run: Body, timeout: number = DEFAULT_TIMEOUT_MS): void {
  if (!currentTest) throw new Error("onTestFinished() was called outside a test");
  currentTest.finishers.push({ run, timeout });
}

export const test = withVariants(registerTest);
export const it = test;
export const describe = withVariants(registerSuite);
export const suite = describe;

/** The arguments of a test. */
interface Row {
  args: unknown[];
  /** Whether the context of the test follows the arguments. */
  hasContext: boolean;
}

type Register = (name: unknown, optionsOrBody: unknown, bodyOrOptions: unknown, row: Row, preset: TestOptions) => void;

// `test` and `describe` have the same variants, and each variant has them again:
// `test.skipIf(x).each(y)(…)`.
// biome-ignore lint/suspicious/noExplicitAny: tests are compiled against vitest's types
function withVariants(register: Register, preset: TestOptions = {}): any {
  const call = (name: unknown, first?: unknown, second?: unknown) =>
    register(name, first, second, { args: [], hasContext: true }, preset);
  const variant = (more: TestOptions) => withVariants(register, { ...preset, ...more });
  const rows = (spread: boolean) => (cases: Iterable<unknown>) => (name: string, first?: unknown, second?: unknown) => {
    let index = 0;
    for (const item of cases) {
      // `each` spreads a row over the parameters. `for` passes it as one argument, followed by the
      // context of the test.
      const args = spread && Array.isArray(item) ? item : [item];
      register(
        titleOf(name, Array.isArray(item) ? item : [item], index++),
        first,
        second,
        { args, hasContext: !spread },
        preset,
      );
    }
  };
  Object.assign(call, {
    skipIf: (condition: unknown) => variant(condition ? { skip: true } : {}),
    runIf: (condition: unknown) => variant(condition ? {} : { skip: true }),
    each: rows(true),
    for: rows(false),
  });
  for (const flag of ["skip", "only", "todo", "fails"] as const) {
    Object.defineProperty(call, flag, { get: () => variant({ [flag]: true }) });
  }
  return call;
}

function registerSuite(name: unknown, first: unknown, second: unknown, row: Row, preset: TestOptions): void {
  const { body, options } = readArguments(first, second, preset);
  const outer = currentSuite;
  currentSuite = newSuite(nameOf(name), outer, { ...outer.options, ...options });
  suites.push(currentSuite);
  try {
    const result = body?.(...row.args);
    if (result instanceof Promise) throw new TypeError(`describe("${nameOf(name)}") was given an async function`);
  } finally {
    currentSuite = outer;
  }
}

function registerTest(name: unknown, first: unknown, second: unknown, row: Row, preset: TestOptions): void {
  const { body, options: ownOptions } = readArguments(first, second, preset);
  const suite = currentSuite;
  const options = { ...suite.options, ...ownOptions };
  const ignore = Boolean(options.skip || options.todo || !body);
  if (!ignore) for (const each of suiteChain(suite)) each.testsLeft++;
  const fullName = [...suiteChain(suite).map((each) => each.name), nameOf(name)].filter(Boolean).join(" > ");
  Deno.test({
    name: fullName,
    ignore,
    ...(options.only ? { only: true } : {}),
    sanitizeOps: false,
    sanitizeResources: false,
    fn: () => runTest(suite, fullName, body ?? (() => {}), row, options),
  });
}

async function runTest(suite: Suite, name: string, body: Body, row: Row, options: TestOptions): Promise<void> {
  try {
    for (const each of suiteChain(suite)) await (each.beforeAllRun ??= runHooks(each.hooks.beforeAll, "beforeAll"));
    for (let triesLeft = options.retry ?? 0; ; triesLeft--) {
      const errors = await tryTest(suite, name, body, row, options.timeout ?? DEFAULT_TIMEOUT_MS);
      if (options.fails) {
        if (errors.length === 0) throw new Error("Expect test to fail");
        return;
      }
      if (errors.length === 0) return;
      if (triesLeft === 0)
        throw errors.length === 1 ? errors[0] : new AggregateError(errors, errors.map(String).join("\n"));
    }
  } finally {
    for (const each of suiteChain(suite).reverse()) if (--each.testsLeft === 0) await endSuite(each);
  }
}

async function tryTest(suite: Suite, name: string, body: Body, row: Row, timeout: number): Promise<unknown[]> {
  const thisTest: RunningTest = { finishers: [] };
  currentTest = thisTest;
  const abort = new AbortController();
  const context: TestContext = { task: { name }, signal: abort.signal, expect, onTestFinished };
  const errors: unknown[] = [];
  const attempt = (step: () => unknown) =>
    Promise.resolve()
      .then(step)
      .catch((error) => void errors.push(appendDiff(error)));
  const cleanups: Hook[] = [];

  await attempt(async () => {
    for (const { run, timeout } of suiteChain(suite).flatMap((each) => each.hooks.beforeEach)) {
      const cleanup = await withTimeout(timeout, "Hook", () => run(context));
      if (typeof cleanup === "function") cleanups.push({ run: cleanup as Body, timeout });
    }
    beginAssertions(thisTest);
    await withTimeout(timeout, "Test", () => body(...row.args, ...(row.hasContext ? [context] : [])), abort);
    await endAssertions(thisTest);
  });
  const afterEachHooks = suiteChain(suite)
    .reverse()
    .flatMap((each) => each.hooks.afterEach.toReversed());
  await attempt(() => runHooks(afterEachHooks, "afterEach", context));
  await attempt(() => runHooks(cleanups.toReversed(), "beforeEach"));
  for (const finisher of thisTest.finishers.toReversed())
    await attempt(() => runHooks([finisher], "onTestFinished", context));
  currentTest = undefined;
  return errors;
}

async function endSuite(suite: Suite): Promise<void> {
  if (suite.hasEnded || !suite.beforeAllRun) return;
  suite.hasEnded = true;
  await runHooks(suite.hooks.afterAll.toReversed(), "afterAll");
}

async function runHooks(hooks: Hook[], name: string, ...args: unknown[]): Promise<void> {
  for (const { run, timeout } of hooks) await withTimeout(timeout, `Hook ${name}`, () => run(...args));
}

async function withTimeout<T>(
  timeout: number,
  label: string,
  step: () => T,
  abort?: AbortController,
): Promise<Awaited<T>> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timedOut = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const error = new Error(`${label} timed out in ${timeout}ms.`);
      abort?.abort(error);
      reject(error);
    }, timeout);
  });
  try {
    return await Promise.race([(async () => await step())(), timedOut]);
  } finally {
    clearTimeout(timer);
  }
}

function hook(name: HookName): (run: Body, timeout?: number) => void {
  return (run, timeout = DEFAULT_TIMEOUT_MS) => void currentSuite.hooks[name].push({ run, timeout });
}

function newSuite(name: string, parent: Suite | undefined, options: TestOptions): Suite {
  const hooks = { beforeAll: [], afterAll: [], beforeEach: [], afterEach: [] };
  return { name, parent, options, hooks, testsLeft: 0, beforeAllRun: undefined, hasEnded: false };
}

/** Returns a suite and its ancestors, the outermost first. */
function suiteChain(suite: Suite): Suite[] {
  return suite.parent ? [...suiteChain(suite.parent), suite] : [suite];
}

function readArguments(first: unknown, second: unknown, preset: TestOptions): { body?: Body; options: TestOptions } {
  const body = [first, second].find((each) => typeof each === "function") as Body | undefined;
  const given = [first, second].find((each) => typeof each === "number" || (typeof each === "object" && each !== null));
  const options = (typeof given === "number" ? { timeout: given } : (given ?? {})) as TestOptions;
  for (const key of Object.keys(options)) {
    if (!KNOWN_OPTIONS.includes(key)) throw new TypeError(`The test option "${key}" is not known to vitest-on-deno.ts`);
  }
  return { ...(body ? { body } : {}), options: { ...preset, ...options } };
}

function nameOf(name: unknown): string {
  return typeof name === "function" ? name.name || "<anonymous>" : String(name);
}

/**
 * Formats a title of `each`: `%s` and other placeholders, `%#` for the index, `$key` for a property
 * of an object.
 */
function titleOf(template: string, items: unknown[], index: number): string {
  const numbered = template.replaceAll("%#", String(index)).replaceAll("%$", String(index + 1));
  const placeholderCount = numbered.match(/%[sdifjoOc]/g)?.length ?? 0;
  const filled = format(numbered, ...items.slice(0, placeholderCount));
  return filled.replace(/\$([\w.]+)/g, (all, path: string) => {
    const value = path
      .split(".")
      .reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], items[0]);
    return value === undefined ? all : typeof value === "string" ? `'${value}'` : format("%o", value);
  });
}
