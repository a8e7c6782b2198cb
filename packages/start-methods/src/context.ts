import { ProcessError } from "@multiproc/core";
import { host, inherited, singleton } from "@multiproc/core/internal";
import type { StartMethod } from "./method.ts";

/** A start method is not to be had on this host, or not now; the message says what would make it. */
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

const AVAILABLE: readonly StartMethod[] = ["spawn", "forkserver"];
/** Names the default, if the program sets none. */
const VARIABLE = "MULTIPROC_START_METHOD";
const chosen: { method: StartMethod | undefined } = singleton("start method", () => ({ method: undefined }));

/**
 * The start methods that this host really has; the default first.
 *
 * @example
 * ```ts
 * import { getAllStartMethods } from "@multiproc/start-methods";
 *
 * console.log(getAllStartMethods()[0]); // "spawn"
 * ```
 */
export function getAllStartMethods(): StartMethod[] {
  return [...AVAILABLE];
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
  return chosen.method ?? ofParent() ?? named() ?? (AVAILABLE[0] as StartMethod);
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
  if (!AVAILABLE.includes(method)) {
    throw new StartMethodError(
      `Start method "${method}" is not to be had here: this host has ${AVAILABLE.map((name) => `"${name}"`).join(", ")}`,
    );
  }
}

/** What the parent's children come to be by, if this process can do that too. */
function ofParent(): StartMethod | undefined {
  return AVAILABLE.find((method) => method === inherited.startMethod);
}

/** What the environment says. */
function named(): StartMethod | undefined {
  const name = host.env(VARIABLE) || undefined;
  if (name !== undefined && !(AVAILABLE as readonly string[]).includes(name)) {
    throw new StartMethodError(
      `The environment variable ${VARIABLE} is "${name}": this host has ${AVAILABLE.map((each) => `"${each}"`).join(", ")}`,
    );
  }
  return name as StartMethod | undefined;
}
