/** The options of a `Process`, and their check. */
import type { ChildOutput, Permissions, Stdio, Target } from "@multiproc/core";
import { checkOptions, describeValue, requireTarget } from "@multiproc/core/internal";
import { getStartMethod, requireStartMethod, type StartMethod } from "@multiproc/start-methods";

/**
 * The options of a `Process`: its function, and how the child is started.
 *
 * @typeParam A the arguments of the target
 *
 * @example A child with a name, an environment variable and its output in a pipe
 * ```ts
 * import { inline } from "@multiproc/core";
 * import { Process, type ProcessOptions } from "@multiproc/process";
 *
 * const options: ProcessOptions<[string]> = {
 *   target: inline((text: string) => console.log(text)),
 *   args: ["hello"],
 *   name: "speaker",
 *   env: { LANGUAGE: "en" },
 *   stdio: { stdout: "pipe" },
 * };
 * const child = new Process(options);
 * await child.start();
 * console.log((await new Response(child.stdout).text()).trim()); // hello
 * await child.join();
 * ```
 */
export type ProcessOptions<A extends unknown[] = unknown[]> = {
  /**
   * The function that the child calls; see `task()`, `fromModule()` and `inline()`. Start method
   * `fork` accepts any function.
   */
  readonly target?: Target<(...args: A) => unknown> | undefined;
  /** The name of the process, for logs and errors. @default `Process-1`, `Process-2` … */
  readonly name?: string | undefined;
  /**
   * Whether the child ends with this process, which does not wait for it. @default that of the
   * current process
   */
  readonly daemon?: boolean | undefined;
  /** The start method of the child. @default getStartMethod() */
  readonly startMethod?: StartMethod | undefined;
  /** Variables added to the environment. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** The working directory of the child. @default that of this process */
  readonly cwd?: string | undefined;
  /**
   * The destination of standard output and standard error of the child, or one for each. `"pipe"`
   * makes them streams of the `Process`. An `OutputReader` of `@multiproc/core` receives the bytes as
   * they arrive. Reading the output of a daemon does not keep this program alive.
   *
   * @default "inherit"
   */
  readonly stdio?: Stdio | { readonly stdout?: ChildOutput; readonly stderr?: ChildOutput } | undefined;
  /** Flags of the interpreter, instead of those of this process. */
  readonly execArgv?: readonly string[] | undefined;
  /** Permissions of a Deno child, at most those of this process. @default "inherit" */
  readonly permissions?: Permissions | undefined;
  /** Kills the child when it is aborted. */
  readonly signal?: AbortSignal | undefined;
} & ([] extends A
  ? {
      /** The arguments of the target. @default [] */
      readonly args?: A | undefined;
    }
  : {
      /** The arguments of the target. */
      readonly args: A;
    });

const OPTIONS: ReadonlyArray<keyof ProcessOptions> = [
  "target",
  "args",
  "name",
  "daemon",
  "startMethod",
  "env",
  "cwd",
  "stdio",
  "execArgv",
  "permissions",
  "signal",
];
const SYNONYMS: Readonly<Record<string, keyof ProcessOptions>> = {
  fn: "target",
  func: "target",
  function: "target",
  task: "target",
  kwargs: "args",
  method: "startMethod",
  environment: "env",
  output: "stdio",
};
/** A predicate for the value of an option, and the expected type in words. */
type OptionCheck = readonly [isValid: (value: unknown) => boolean, expected: string];

const CHECKS: Readonly<Partial<Record<keyof ProcessOptions, OptionCheck>>> = {
  args: [Array.isArray, "an array"],
  name: [isString, "a string"],
  daemon: [(value) => typeof value === "boolean", "true or false"],
  env: [(value) => isObject(value) && Object.values(value).every(isString), "an object of strings"],
  cwd: [isString, "a path as a string"],
  stdio: [isStdio, '"inherit", "pipe", "ignore" or { stdout, stderr } with these or an OutputReader'],
  execArgv: [(value) => Array.isArray(value) && value.every(isString), "an array of strings"],
  signal: [(value) => value === null || (isObject(value) && "aborted" in value), "an AbortSignal"],
};

/**
 * Refuses unknown options and values of the wrong type.
 *
 * @throws {TargetError} if another process cannot find the target
 * @throws {StartMethodError} if the start method is not available
 * @throws {TypeError} for an unknown option, or a value of the wrong type
 */
export function checkProcessOptions(options: Pick<ProcessOptions<never>, "startMethod" | "target">): void {
  checkOptions("new Process()", options, OPTIONS, SYNONYMS);
  const { startMethod, target } = options;
  if (startMethod !== undefined) requireStartMethod(startMethod);
  if (target !== undefined) checkTarget(target, startMethod);
  for (const [name, [isValid, expected]] of Object.entries(CHECKS)) {
    const value: unknown = options[name as keyof typeof options];
    if (value !== undefined && !isValid(value))
      throw new TypeError(`new Process() takes ${expected} as ${name}, not ${describeValue(value)}`);
  }
}

/**
 * Refuses a target that the child cannot find. A copy of this process, made by `fork`, has every
 * function.
 */
function checkTarget(target: unknown, method: StartMethod | undefined): void {
  if (typeof target !== "function" || (method ?? getStartMethod()) !== "fork") requireTarget(target, "new Process()");
}

function isString(value: unknown): value is string {
  return typeof value === "string";
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isStdio(value: unknown): boolean {
  if (isString(value)) return value === "inherit" || value === "pipe" || value === "ignore";
  if (!isObject(value)) return false;
  return Object.entries(value).every(([name, output]) => {
    if (name !== "stdout" && name !== "stderr") return false;
    return output === undefined || (isString(output) ? isStdio(output) : isObject(output) && "data" in output);
  });
}
