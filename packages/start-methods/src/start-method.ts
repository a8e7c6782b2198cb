import { ProcessError } from "@multiproc/core";
import {
  childConfig,
  type ForkRefusal,
  type ForkSupport,
  forking,
  host,
  registerErrors,
  singleton,
} from "@multiproc/core/internal";
import type { StartMethod } from "./launcher.ts";

/**
 * A start method is not to be had on this host, or not now; the message says what would make it.
 *
 * @example A method that is not to be had
 * ```ts
 * import { getAllStartMethods, StartMethodError, setStartMethod } from "@multiproc/start-methods";
 *
 * try {
 *   setStartMethod(getAllStartMethods().includes("fork") ? "fork" : "spawn");
 * } catch (error) {
 *   if (!(error instanceof StartMethodError)) throw error;
 *   // The message says why not, and what would make it.
 *   console.log(error.message);
 * }
 * ```
 */
export class StartMethodError extends ProcessError {
  /**
   * Makes the error.
   *
   * @param message which method, why not, and what would make it
   * @param options the `cause`
   */
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { code: "ERR_START_METHOD", ...options });
  }
}

registerErrors({ StartMethodError });

const PORTABLE_METHODS: readonly StartMethod[] = ["spawn", "forkserver"];
/** Names the default, if the program sets none. */
const START_METHOD_ENV = "MULTIPROC_START_METHOD";
const chosen: { method: StartMethod | undefined } = singleton("start method", () => ({ method: undefined }));

/**
 * The start methods that this host really has; the default first. `fork` is among them on Node on Linux, where this build of
 * Node can be copied and its C library reached (by `node:ffi` or koffi); whether it can be at a given moment shows when it is tried.
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
 * The start method that processes use when they name none: the one that was set here or in the parent process, or else the one
 * that the environment variable `MULTIPROC_START_METHOD` names, or else the first of {@link getAllStartMethods}.
 *
 * @throws {StartMethodError} if the variable names one that is not to be had here
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
 * Sets the start method for processes that name none; once in a program, at its start.
 *
 * @param method one of {@link getAllStartMethods}
 * @param options `force` allows it a second time
 * @throws {StartMethodError} if the method is not to be had here, or was set before
 *
 * @example
 * ```ts
 * import { setStartMethod } from "@multiproc/start-methods";
 *
 * setStartMethod("spawn");
 * ```
 */
export function setStartMethod(method: StartMethod, options: { force?: boolean } = {}): void {
  requireStartMethod(method);
  if (chosen.method !== undefined && options.force !== true) {
    throw new StartMethodError(
      `The start method has been set to "${chosen.method}" before: give { force: true } to change it`,
    );
  }
  chosen.method = method;
}

/**
 * Refuses a start method that is not to be had here.
 *
 * @internal
 */
export function requireStartMethod(method: StartMethod): void {
  if (isAvailable(method)) return;
  const support = method === "fork" ? getForkSupport() : undefined;
  const reasonText = support !== undefined && "reason" in support ? `, because ${support.message}` : "";
  throw new StartMethodError(
    `Start method "${method}" is not to be had here${reasonText}: this host has ${availableList()}`,
  );
}

/**
 * What forks this process, or why it never can be.
 *
 * @internal
 */
export function getForkSupport(): ForkSupport | ForkRefusal {
  return host.whyNoFork() ?? forking().openForker();
}

function isAvailable(method: string): method is StartMethod {
  return (PORTABLE_METHODS as readonly string[]).includes(method) || (method === "fork" && canBeForked());
}

/** Whether there are moments when it can be. */
function canBeForked(): boolean {
  return !("reason" in getForkSupport());
}

function availableList(): string {
  return getAllStartMethods()
    .map((method) => `"${method}"`)
    .join(", ");
}

/** What the parent's children come to be by, if this process can do that too. */
function inheritedMethod(): StartMethod | undefined {
  const { startMethod } = childConfig;
  return startMethod !== undefined && isAvailable(startMethod) ? startMethod : undefined;
}

/** What the environment says. */
function methodFromEnv(): StartMethod | undefined {
  const name = host.env(START_METHOD_ENV) || undefined;
  if (name === undefined || isAvailable(name)) return name;
  throw new StartMethodError(
    `The environment variable ${START_METHOD_ENV} is "${name}": this host has ${availableList()}`,
  );
}
