import { registerErrors } from "./registry.ts";

/**
 * The root of every error that this library makes; `code` is stable, `cause` is kept.
 *
 * @example Tell errors apart by their code
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
  /** A stable name for programs, such as `ERR_QUEUE_FULL`. */
  readonly code: string;

  /**
   * Makes the error.
   *
   * @param message what happened, in words
   * @param options the stable `code` and the `cause`
   */
  constructor(message: string, options: { code?: string; cause?: unknown } = {}) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.name = new.target.name;
    this.code = options.code ?? "ERR_PROCESS";
  }
}

/**
 * A function cannot be named across processes, or the module that it was named in does not hold it.
 *
 * @example A function that another process could not find
 * ```ts
 * import { TargetError } from "@multiproc/core";
 * import { Process } from "@multiproc/process";
 *
 * try {
 *   new Process({ target: () => {} });
 * } catch (error) {
 *   console.log(error instanceof TargetError); // true: its message shows what can be sent
 * }
 * ```
 */
export class TargetError extends ProcessError {
  /**
   * Makes the error.
   *
   * @param message what is wrong with the target and how to name it
   * @param options the `cause`, such as what the module threw while it was loading
   */
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { code: "ERR_TARGET", ...options });
  }
}

/**
 * A value cannot be sent to another process; `path` says where in the message it stands.
 *
 * @example What cannot be sent, and where it stands
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
  /** Where the value stands, as one would write it: `args[0].handler`. */
  readonly path: string;

  /**
   * Makes the error.
   *
   * @param path where the value stands
   * @param what what it is, such as "a function without a module reference"
   * @param options the `cause`, such as what a getter threw
   */
  constructor(path: string, what: string, options: { cause?: unknown } = {}) {
    super(`Cannot send value at ${path}: ${what}`, { code: "ERR_SEND", ...options });
    this.path = path;
  }
}

/**
 * The other side of a channel sent bytes that are no message; the channel was closed.
 *
 * @example A peer that speaks something else
 * ```ts
 * import { ProtocolError } from "@multiproc/core";
 *
 * const advice = (error: unknown) => (error instanceof ProtocolError ? "update the other side" : "look at the cause");
 * console.log(advice(new ProtocolError("The frame is of a kind that is not known here"))); // update the other side
 * ```
 */
export class ProtocolError extends ProcessError {
  /**
   * Makes the error.
   *
   * @param message what was wrong with the bytes
   * @param options the `cause`
   */
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { code: "ERR_PROTOCOL", ...options });
  }
}

/**
 * A channel was used after one of its sides closed it, or after the other side died.
 *
 * @example A peer that is gone
 * ```ts
 * import { ChannelClosedError } from "@multiproc/core";
 *
 * const isGone = (error: unknown) => error instanceof ChannelClosedError && error.code === "ERR_CHANNEL_CLOSED";
 * console.log(isGone(new ChannelClosedError("The channel was closed by its other side"))); // true
 * ```
 */
export class ChannelClosedError extends ProcessError {
  /**
   * Makes the error.
   *
   * @param message which channel, and why it is closed
   * @param options the `cause`
   */
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { code: "ERR_CHANNEL_CLOSED", ...options });
  }
}

/**
 * A process could not be started, or ended before it was ready.
 *
 * @example A folder that is not there
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
  /** The exit code of the process that ended too early, if there was one. */
  readonly exitCode: number | null;
  /** The signal that ended it, if one did. */
  readonly signal: string | null;

  /**
   * Makes the error.
   *
   * @param message which process, and why
   * @param options how it ended, and the `cause`
   */
  constructor(message: string, options: { cause?: unknown; exitCode?: number | null; signal?: string | null } = {}) {
    super(message, { code: "ERR_START", ...("cause" in options ? { cause: options.cause } : {}) });
    this.exitCode = options.exitCode ?? null;
    this.signal = options.signal ?? null;
  }
}

/**
 * A wait ran out of time.
 *
 * @example Wait no longer than a moment
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
  /** How long was waited, in milliseconds. */
  readonly timeout: number;

  /**
   * Makes the error.
   *
   * @param call the call as the user wrote it, such as `recv()`
   * @param timeout how long was waited, in milliseconds
   */
  constructor(call: string, timeout: number) {
    super(`${call} ran out of time after ${timeout} ms`, { code: "ERR_TIMEOUT" });
    this.timeout = timeout;
  }
}

/**
 * This host, or what it was permitted, lacks something that the call needs.
 *
 * @example Do without what a host has not
 * ```ts
 * import { CapabilityError } from "@multiproc/core";
 * import { SharedArray } from "@multiproc/shared-memory";
 *
 * let numbers = new Float64Array(10);
 * try {
 *   numbers = new SharedArray("float64", 10).array;
 * } catch (error) {
 *   if (!(error instanceof CapabilityError)) throw error; // its message says what is missing
 * }
 * console.log(numbers.length); // 10
 * ```
 */
export class CapabilityError extends ProcessError {
  /**
   * Makes the error.
   *
   * @param message what is missing, and what would make it
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
