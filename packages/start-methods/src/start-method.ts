/** The start methods: which of them this host has, and which one is the default. */
import { ProcessError } from "@multiproc/core";
import {
  checkOptions,
  childConfig,
  describeValue,
  type ForkRefusal,
  type ForkSupport,
  forking,
  host,
  registerErrors,
  singleton,
} from "@multiproc/core/internal";
import type { StartMethod } from "./launcher.ts";

/**
 * A start method is not available on this host, or not at this moment. The message says why, and
 * what to use instead.
 *
 * @example A method that is not available
 * ```ts
 * import { getAllStartMethods, StartMethodError, setStartMethod } from "@multiproc/start-methods";
 *
 * try {
 *   setStartMethod(getAllStartMethods().includes("fork") ? "fork" : "spawn");
 * } catch (error) {
 *   if (!(error instanceof StartMethodError)) throw error;
 *   // The message says why not, and what to use instead.
 *   console.log(error.message);
 * }
 * ```
 */
export class StartMethodError extends ProcessError {
  /**
   * Creates the error.
   *
   * @param message the method, the reason, and the alternative
   * @param options the `cause`
   */
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { code: "ERR_START_METHOD", ...options });
  }
}

registerErrors({ StartMethodError });

const PORTABLE_METHODS: readonly StartMethod[] = ["spawn", "forkserver"];
/** The environment variable that names the default method of a program that sets none. */
const START_METHOD_ENV = "MULTIPROC_START_METHOD";
const chosen: { method: StartMethod | undefined } = singleton("start method", () => ({ method: undefined }));

/**
 * Returns the start methods that this host has, the default first. `fork` is among them on Node on
 * Linux, if this build of Node can be copied. It also needs `node:ffi` or koffi to call the C
 * library. A single start can still be refused, while worker threads or operations are under way.
 *
 * @example
 * ```ts
 * import { getAllStartMethods } from "@multiproc/start-methods";
 *
 * console.log(getAllStartMethods()[0]); // "spawn"
 * ```
 */
export function getAllStartMethods(): StartMethod[] {
  return canBeForked() ? [...PORTABLE_METHODS, "fork"] : [...PORTABLE_METHODS];
}

/**
 * Returns the start method of processes that name none. A method that was set here or in the parent
 * process comes first, then the environment variable `MULTIPROC_START_METHOD`. Without either, it
 * is the first of {@link getAllStartMethods}.
 *
 * @throws {StartMethodError} if the variable names a method that is not available here
 *
 * @example
 * ```ts
 * import { getStartMethod } from "@multiproc/start-methods";
 *
 * console.log(getStartMethod()); // "spawn"
 * ```
 */
export function getStartMethod(): StartMethod {
  return chosen.method ?? inheritedMethod() ?? methodFromEnv() ?? (PORTABLE_METHODS[0] as StartMethod);
}

/**
 * Sets the start method of processes that name none. A program calls it once, at its start.
 *
 * @param method one of {@link getAllStartMethods}
 * @param options `force` allows a second call
 * @throws {StartMethodError} if the method is not available here, or was set before
 * @throws {TypeError} for an unknown option
 *
 * @example
 * ```ts
 * import { setStartMethod } from "@multiproc/start-methods";
 *
 * setStartMethod("spawn");
 * ```
 */
export function setStartMethod(method: StartMethod, options: { force?: boolean } = {}): void {
  checkOptions("setStartMethod()", options, ["force"]);
  const { force = false } = options;
  if (typeof force !== "boolean")
    throw new TypeError(`setStartMethod() takes true or false as force, not ${describeValue(force)}`);
  requireStartMethod(method);
  if (chosen.method !== undefined && !force) {
    throw new StartMethodError(
      `setStartMethod() was called before, with "${chosen.method}": pass { force: true } to change the start method`,
    );
  }
  chosen.method = method;
}

/**
 * Throws if a start method is not available here.
 *
 * @internal
 */
export function requireStartMethod(method: StartMethod): void {
  if (typeof method !== "string")
    throw new TypeError(`multiproc takes a start method as a string, such as "spawn", not ${describeValue(method)}`);
  if (isAvailable(method)) return;
  const support = method === "fork" ? getForkSupport() : undefined;
  const reasonText = support !== undefined && "reason" in support ? `, because ${support.message}` : "";
  throw new StartMethodError(
    `Start method "${method}" is not available here${reasonText}: use one of ${availableList()}`,
  );
}

/**
 * Returns the means to fork this process, or why no process can be forked here.
 *
 * @internal
 */
export function getForkSupport(): ForkSupport | ForkRefusal {
  return host.whyNoFork() ?? forking().openForker();
}

function isAvailable(method: string): method is StartMethod {
  return (PORTABLE_METHODS as readonly string[]).includes(method) || (method === "fork" && canBeForked());
}

/** Whether this process can be forked at all; a single fork can still be refused. */
function canBeForked(): boolean {
  return !("reason" in getForkSupport());
}

function availableList(): string {
  return getAllStartMethods()
    .map((method) => `"${method}"`)
    .join(", ");
}

/** Returns the start method of the parent's children, if this process has it too. */
function inheritedMethod(): StartMethod | undefined {
  const { startMethod } = childConfig;
  return startMethod !== undefined && isAvailable(startMethod) ? startMethod : undefined;
}

/** Returns the method that the environment variable names. */
function methodFromEnv(): StartMethod | undefined {
  const name = host.env(START_METHOD_ENV) || undefined;
  if (name === undefined || isAvailable(name)) return name;
  throw new StartMethodError(
    `The environment variable ${START_METHOD_ENV} is "${name}", which is not available here: use one of ${availableList()}`,
  );
}
