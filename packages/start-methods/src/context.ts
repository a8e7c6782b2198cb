import { ProcessError } from "@multiproc/core";
import { registerErrors, singleton } from "@multiproc/core/internal";
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

registerErrors({ StartMethodError });

const AVAILABLE: readonly StartMethod[] = ["spawn"];
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
 * The start method that processes use when they name none.
 *
 * @example
 * ```ts
 * import { getStartMethod } from "@multiproc/start-methods";
 *
 * console.log(getStartMethod()); // "spawn"
 * ```
 */
export function getStartMethod(): StartMethod {
  return chosen.method ?? (AVAILABLE[0] as StartMethod);
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
