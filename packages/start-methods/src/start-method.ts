import { ProcessError } from "@multiproc/core";
import {
  type ForkRefusal,
  forking,
  host,
  inherited,
  type Opened,
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

const EVERYWHERE: readonly StartMethod[] = ["spawn", "forkserver"];
/** Names the default, if the program sets none. */
const VARIABLE = "MULTIPROC_START_METHOD";
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
  return canBeForked() ? [...EVERYWHERE, "fork"] : [...EVERYWHERE];
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
  return chosen.method ?? ofParent() ?? named() ?? (EVERYWHERE[0] as StartMethod);
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
  if (isThere(method)) return;
  const opened = method === "fork" ? openForFork() : undefined;
  const because = opened !== undefined && "reason" in opened ? `, because ${opened.message}` : "";
  throw new StartMethodError(`Start method "${method}" is not to be had here${because}: this host has ${listed()}`);
}

/**
 * What forks this process, or why it never can be.
 *
 * @internal
 */
export function openForFork(): Opened | ForkRefusal {
  if (!host.capabilities.fork) return { reason: "platform", message: "forking takes Node on Linux, on x64 or arm64" };
  return forking().openForker();
}

function isThere(method: string): method is StartMethod {
  return (EVERYWHERE as readonly string[]).includes(method) || (method === "fork" && canBeForked());
}

/** Whether there are moments when it can be. */
function canBeForked(): boolean {
  return !("reason" in openForFork());
}

function listed(): string {
  return getAllStartMethods()
    .map((method) => `"${method}"`)
    .join(", ");
}

/** What the parent's children come to be by, if this process can do that too. */
function ofParent(): StartMethod | undefined {
  const { startMethod } = inherited;
  return startMethod !== undefined && isThere(startMethod) ? startMethod : undefined;
}

/** What the environment says. */
function named(): StartMethod | undefined {
  const name = host.env(VARIABLE) || undefined;
  if (name === undefined || isThere(name)) return name;
  throw new StartMethodError(`The environment variable ${VARIABLE} is "${name}": this host has ${listed()}`);
}
