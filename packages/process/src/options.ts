/** What users may ask of a process. */
import type { ChildOutput, Permissions, Stdio, Target } from "@multiproc/core";
import { requireTarget } from "@multiproc/core/internal";
import { getStartMethod, requireStartMethod, type StartMethod } from "@multiproc/start-methods";

/**
 * What a `Process` is to do, and how it is started.
 *
 * @example A child with a name, an environment and its output in a pipe
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
export interface ProcessOptions<A extends unknown[] = unknown[]> {
  /** The function that the child calls; see `task()`, `fromModule()` and `inline()`. Under start method `fork`, any function. */
  readonly target?: Target<(...args: A) => unknown> | undefined;
  /** The arguments of the target. @default [] */
  readonly args?: A | undefined;
  /** What it is called, for people. @default `Process-1`, `Process-2` … */
  readonly name?: string | undefined;
  /** Whether this process may end without waiting for the child, which then ends too. @default that of the current process */
  readonly daemon?: boolean | undefined;
  /** How it comes to be. @default getStartMethod() */
  readonly startMethod?: StartMethod | undefined;
  /** Variables added to the environment. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** The folder that the child starts in. @default that of this process */
  readonly cwd?: string | undefined;
  /**
   * What standard output and standard error are connected to, both or each. With `"pipe"`, they are streams of this object; an
   * `OutputReader` of `@multiproc/core` gets the bytes as they come, and keeps no program alive for a daemon. @default "inherit"
   */
  readonly stdio?: Stdio | { readonly stdout?: ChildOutput; readonly stderr?: ChildOutput } | undefined;
  /** Flags for the interpreter, in place of those of this process. */
  readonly execArgv?: readonly string[] | undefined;
  /** What a Deno child may do; never more than this process. @default "inherit" */
  readonly permissions?: Permissions | undefined;
  /** Kills the child when it is aborted. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Refuses options of the wrong type.
 *
 * @throws {TargetError} if another process could not find the target
 * @throws {TypeError} for the rest
 */
export function checkOptions<A extends unknown[]>({ startMethod, target, args, name }: ProcessOptions<A>): void {
  if (startMethod !== undefined) requireStartMethod(startMethod);
  if (target !== undefined) checkTarget(target, startMethod);
  if (args !== undefined && !Array.isArray(args)) {
    throw new TypeError(`Process takes args as an array, not ${typeof args}`);
  }
  if (name !== undefined && typeof name !== "string") {
    throw new TypeError(`Process takes a string as its name, not ${typeof name}`);
  }
}

/** Under `fork`, any function is a target. */
export function checkTarget(target: unknown, method: StartMethod | undefined): void {
  if (typeof target !== "function" || (method ?? getStartMethod()) !== "fork") requireTarget(target, "Process");
}
