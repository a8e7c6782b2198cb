import { registerErrors } from "./registry.ts";

/** The root of every error that this library makes; `code` is stable, `cause` is kept. */
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

/** A function cannot be named across processes, or the module that it was named in does not hold it. */
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

/** A value cannot be sent to another process; `path` says where in the message it stands. */
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

/** The other side of a channel sent bytes that are no message; the channel was closed. */
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

/** A channel was used after one of its sides closed it, or after the other side died. */
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

/** A process could not be started, or ended before it was ready. */
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

/** A wait ran out of time. */
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

/** This host, or what it was permitted, lacks something that the call needs. */
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
