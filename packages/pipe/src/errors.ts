import { ProcessError } from "@multiproc/core";
import { registerErrors } from "@multiproc/core/internal";

/**
 * No message is left, and no process can send another one.
 *
 * @example The end of a conversation
 * ```ts
 * import { EOFError, pipe } from "@multiproc/pipe";
 *
 * const [here, there] = pipe<string>();
 * await there.send("bye");
 * there.close();
 * console.log(await here.recv()); // bye
 * console.log((await here.recv().catch((reason: unknown) => reason)) instanceof EOFError); // true
 * ```
 */
export class EOFError extends ProcessError {
  /**
   * Creates the error.
   *
   * @param message which call failed, and which process is gone
   * @param options the `cause`
   */
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { code: "ERR_EOF", ...options });
  }
}

/**
 * A message was sent to a pipe whose other end is closed in every process.
 *
 * @example No process can receive the message
 * ```ts
 * import { BrokenPipeError, pipe } from "@multiproc/pipe";
 *
 * const [here, there] = pipe<string>();
 * there.close();
 * console.log((await here.send("hello").catch((reason: unknown) => reason)) instanceof BrokenPipeError); // true
 * ```
 */
export class BrokenPipeError extends ProcessError {
  /**
   * Creates the error.
   *
   * @param message which call failed, and which process is gone
   * @param options the `cause`
   */
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { code: "ERR_BROKEN_PIPE", ...options });
  }
}

/**
 * A connection could not be made, or was used after `close()`, against its direction, or for
 * something that it does not carry. `code` says which.
 *
 * @example No listener has this address
 * ```ts
 * import { ConnectionError, connect } from "@multiproc/pipe";
 *
 * const error = await connect("/nowhere/socket").catch((reason: unknown) => reason);
 * console.log(error instanceof ConnectionError && error.code); // ERR_CONNECT
 * ```
 */
export class ConnectionError extends ProcessError {
  /**
   * Creates the error.
   *
   * @param message which call failed, and why
   * @param code the stable code
   * @param options the `cause`, such as the error of the operating system
   */
  constructor(
    message: string,
    code:
      | "ERR_CONNECTION_CLOSED"
      | "ERR_DIRECTION"
      | "ERR_NOT_BYTES"
      | "ERR_BYTES_ONLY"
      | "ERR_CONNECT"
      | "ERR_LISTEN"
      | "ERR_LISTENER_CLOSED",
    options: { cause?: unknown } = {},
  ) {
    super(message, { code, ...options });
  }
}

/**
 * The two sides of a connection could not authenticate each other: their keys differ, only one side
 * has a key, or the handshake failed. The connection is closed.
 *
 * @example The key differs from the listener's
 * ```ts
 * import { AuthenticationError, connect, Listener } from "@multiproc/pipe";
 *
 * const key = (text: string) => new TextEncoder().encode(text);
 * const listener = new Listener({ authKey: key("right") });
 * const error = await connect(listener.address, { authKey: key("wrong") }).catch((reason: unknown) => reason);
 * console.log(error instanceof AuthenticationError); // true
 * listener.close();
 * ```
 */
export class AuthenticationError extends ProcessError {
  /**
   * Creates the error.
   *
   * @param message which call failed, and what the peer did
   * @param options the `cause`
   */
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { code: "ERR_AUTHENTICATION", ...options });
  }
}

/**
 * A message is longer than the call allows. `bytes` holds the whole message, so that it is not lost.
 *
 * @example A message that is too long can be read from the error
 * ```ts
 * import { BufferTooShortError, pipe } from "@multiproc/pipe";
 *
 * const [here, there] = pipe();
 * await there.sendBytes(new Uint8Array([1, 2, 3]));
 * const error = await here.recvBytes({ maxLength: 2 }).catch((reason: unknown) => reason);
 * if (error instanceof BufferTooShortError) console.log(error.bytes.length); // 3
 * ```
 */
export class BufferTooShortError extends ProcessError {
  /** The whole message. */
  readonly bytes: Uint8Array;

  /**
   * Creates the error.
   *
   * @param call name of the call, such as `recvBytes()`
   * @param bytes the whole message
   * @param maxBytes the longest message that the call allows
   */
  constructor(call: string, bytes: Uint8Array, maxBytes: number) {
    super(
      `${call} received a message of ${bytes.length} bytes, and takes at most ${maxBytes}: read it from the error's "bytes"`,
      { code: "ERR_BUFFER_TOO_SHORT" },
    );
    this.bytes = bytes;
  }
}

registerErrors({ AuthenticationError, EOFError, BrokenPipeError, ConnectionError, BufferTooShortError });

/** Returns the error of `send()` when the other end has no holder. */
export function noHolderError(): BrokenPipeError {
  return new BrokenPipeError("send() failed: the other end of the pipe is closed in every process");
}

/** Returns the error of `send()` on a connection that carries bytes only. */
export function bytesOnlyError(): ConnectionError {
  return new ConnectionError(
    "send() was called on a connection that carries bytes only, because its peer has not proved by an authKey that it uses this library: use sendBytes(), or give listener and connect() the same authKey",
    "ERR_BYTES_ONLY",
  );
}

/** Returns the error of a call after `close()`. */
export function closedError(call: string): ConnectionError {
  return new ConnectionError(
    `${call} was called on a connection after close(): make a new pipe, or close it later`,
    "ERR_CONNECTION_CLOSED",
  );
}

/** Returns the error of a call that a one-way pipe does not allow on this end. */
export function directionError(call: string, end: "receiving" | "sending"): ConnectionError {
  return new ConnectionError(
    `${call} was called on the ${end} end of a one-way pipe: leave out duplex: false for both directions`,
    "ERR_DIRECTION",
  );
}
