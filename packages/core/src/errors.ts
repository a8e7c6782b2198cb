/**
 * The errors of this package. Each package of this library has its own, all derived from
 * `ProcessError`.
 */
import { registerErrors } from "./registry.ts";

/**
 * The base class of all errors of this library. Its `code` is stable.
 *
 * @example Distinguish errors by their code
 * ```ts
 * import { ProcessError } from "@multiproc/core";
 * import { Queue } from "@multiproc/queue";
 *
 * const queue = new Queue<string>();
 * const code = await queue.getNowait().catch((error: unknown) => error instanceof ProcessError && error.code);
 * console.log(code); // ERR_QUEUE_EMPTY
 * ```
 */
export class ProcessError extends Error {
  /** A stable identifier for programs, such as `ERR_QUEUE_FULL`. */
  readonly code: string;

  /**
   * Creates the error.
   *
   * @param message what went wrong, and what to do
   * @param options the stable `code` and the `cause`
   */
  constructor(message: string, options: { code?: string; cause?: unknown } = {}) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.name = new.target.name;
    this.code = options.code ?? "ERR_PROCESS";
  }
}

/**
 * A function is not a target, or its module does not export it.
 *
 * @example A closure is not a target
 * ```ts
 * import { TargetError } from "@multiproc/core";
 * import { Process } from "@multiproc/process";
 *
 * try {
 *   new Process({ target: () => {} });
 * } catch (error) {
 *   console.log(error instanceof TargetError); // true: its message says how to make a target
 * }
 * ```
 */
export class TargetError extends ProcessError {
  /**
   * Creates the error.
   *
   * @param message what is wrong with the target and how to name it
   * @param options the `cause`, such as an error that the module threw while it was loading
   */
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { code: "ERR_TARGET", ...options });
  }
}

/**
 * A value cannot be sent to another process.
 *
 * @example The path of the value that cannot be sent
 * ```ts
 * import { SendError } from "@multiproc/core";
 * import { pipe } from "@multiproc/pipe";
 *
 * const [here] = pipe();
 * try {
 *   await here.send({ handler: () => {} });
 * } catch (error) {
 *   if (error instanceof SendError) console.log(error.path); // value.handler
 * }
 * ```
 */
export class SendError extends ProcessError {
  /** The path of the value in the message, written as an expression: `args[0].handler`. */
  readonly path: string;

  /**
   * Creates the error.
   *
   * @param path the path of the value, written as an expression
   * @param what the kind of value, such as "a function without a module reference"
   * @param options the `cause`, such as an error that a getter threw
   */
  constructor(path: string, what: string, options: { cause?: unknown } = {}) {
    super(`Cannot send value at ${path}: ${what}`, { code: "ERR_SEND", ...options });
    this.path = path;
  }
}

/**
 * The peer sent bytes that are not a valid message. The channel closes.
 *
 * @example A peer of another version
 * ```ts
 * import { ProtocolError } from "@multiproc/core";
 *
 * const advice = (error: unknown) => (error instanceof ProtocolError ? "update the other side" : "look at the cause");
 * console.log(advice(new ProtocolError("Unknown frame kind 9"))); // update the other side
 * ```
 */
export class ProtocolError extends ProcessError {
  /**
   * Creates the error.
   *
   * @param message what is wrong with the bytes
   * @param options the `cause`
   */
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { code: "ERR_PROTOCOL", ...options });
  }
}

/**
 * A channel is closed: one of its sides closed it, or the process at the other side has ended.
 *
 * @example Recognize a closed channel
 * ```ts
 * import { ChannelClosedError } from "@multiproc/core";
 *
 * const isGone = (error: unknown) => error instanceof ChannelClosedError && error.code === "ERR_CHANNEL_CLOSED";
 * console.log(isGone(new ChannelClosedError("The channel to the worker is closed"))); // true
 * ```
 */
export class ChannelClosedError extends ProcessError {
  /**
   * Creates the error.
   *
   * @param message which channel, and why it is closed
   * @param options the `cause`
   */
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { code: "ERR_CHANNEL_CLOSED", ...options });
  }
}

/**
 * A process failed to start, or ended before it was ready.
 *
 * @example A working directory that does not exist
 * ```ts
 * import { inline, StartError } from "@multiproc/core";
 * import { Process } from "@multiproc/process";
 *
 * const child = new Process({ target: inline(() => {}), cwd: "/nowhere" });
 * const error = await child.start().catch((reason: unknown) => reason);
 * console.log(error instanceof StartError, (error as StartError).exitCode); // true null
 * ```
 */
export class StartError extends ProcessError {
  /** The exit code of the process, if it ended with one. */
  readonly exitCode: number | null;
  /** The signal that ended the process, if one did. */
  readonly signal: string | null;

  /**
   * Creates the error.
   *
   * @param message which process, and why
   * @param options the exit code or the signal, and the `cause`
   */
  constructor(message: string, options: { cause?: unknown; exitCode?: number | null; signal?: string | null } = {}) {
    super(message, { code: "ERR_START", ...("cause" in options ? { cause: options.cause } : {}) });
    this.exitCode = options.exitCode ?? null;
    this.signal = options.signal ?? null;
  }
}

/**
 * The timeout of a call expired.
 *
 * @example Wait for at most 5 ms
 * ```ts
 * import { TimeoutError } from "@multiproc/core";
 * import { pipe } from "@multiproc/pipe";
 *
 * const [here] = pipe();
 * const error = await here.recv({ timeout: 5 }).catch((reason: unknown) => reason);
 * console.log(error instanceof TimeoutError && error.timeout); // 5
 * ```
 */
export class TimeoutError extends ProcessError {
  /** The timeout of the call, in milliseconds. */
  readonly timeout: number;

  /**
   * Creates the error.
   *
   * @param call the call as the user writes it, such as `recv()`
   * @param timeout the timeout of the call, in milliseconds
   */
  constructor(call: string, timeout: number) {
    super(`${call} timed out after ${timeout} ms`, { code: "ERR_TIMEOUT" });
    this.timeout = timeout;
  }
}

/**
 * The host, its version or its permissions lack a capability that the call needs.
 *
 * @example Continue without shared memory
 * ```ts
 * import { CapabilityError } from "@multiproc/core";
 * import { SharedArray } from "@multiproc/shared-memory";
 *
 * let numbers = new Float64Array(10);
 * try {
 *   numbers = new SharedArray("float64", 10).array;
 * } catch (error) {
 *   if (!(error instanceof CapabilityError)) throw error; // its message names what is missing
 * }
 * console.log(numbers.length); // 10
 * ```
 */
export class CapabilityError extends ProcessError {
  /**
   * Creates the error.
   *
   * @param message which capability is missing, and how to get it
   * @param options the `cause`
   */
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { code: "ERR_CAPABILITY", ...options });
  }
}

registerErrors({
  CapabilityError,
  ChannelClosedError,
  ProcessError,
  ProtocolError,
  SendError,
  StartError,
  TargetError,
  TimeoutError,
});
