import { ProcessError } from "@multiproc/core";
import { registerErrors } from "@multiproc/core/internal";

/**
 * There is nothing left to receive, and nobody is left who could send.
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
   * Makes the error.
   *
   * @param message which call, and who is gone
   * @param options the `cause`
   */
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { code: "ERR_EOF", ...options });
  }
}

/**
 * A message was sent to a pipe whose other end nobody holds any more.
 *
 * @example Nobody is there to receive
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
   * Makes the error.
   *
   * @param message which call, and who is gone
   * @param options the `cause`
   */
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { code: "ERR_BROKEN_PIPE", ...options });
  }
}

/**
 * A connection was used after it was closed, against its direction or beyond what it carries, or could not be made.
 *
 * @example Nobody listens there
 * ```ts
 * import { ConnectionError, connect } from "@multiproc/pipe";
 *
 * const error = await connect("/nowhere/socket").catch((reason: unknown) => reason);
 * console.log(error instanceof ConnectionError && error.code); // ERR_CONNECT
 * ```
 */
export class ConnectionError extends ProcessError {
  /**
   * Makes the error.
   *
   * @param message which call, and why it cannot be made
   * @param code the stable code
   * @param options the `cause`, such as what the system said
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
 * Two sides did not have the same key; the connection between them was closed.
 *
 * @example A key that is not the listener's
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
   * Makes the error.
   *
   * @param message which call, and what the other side did
   * @param options the `cause`
   */
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { code: "ERR_AUTHENTICATION", ...options });
  }
}

/**
 * A message is longer than the caller allowed; it is whole in `message bytes`, so nothing is lost.
 *
 * @example A message that is longer than expected is not lost
 * ```ts
 * import { BufferTooShortError, pipe } from "@multiproc/pipe";
 *
 * const [here, there] = pipe();
 * await there.sendBytes(new Uint8Array([1, 2, 3]));
 * const error = await here.recvBytes(2).catch((reason: unknown) => reason);
 * if (error instanceof BufferTooShortError) console.log(error.bytes.length); // 3
 * ```
 */
export class BufferTooShortError extends ProcessError {
  /** The whole message. */
  readonly bytes: Uint8Array;

  /**
   * Makes the error.
   *
   * @param call the call as the user wrote it
   * @param bytes the whole message
   * @param room how many bytes were allowed
   */
  constructor(call: string, bytes: Uint8Array, maxBytes: number) {
    super(
      `${call} got a message of ${bytes.length} bytes, and there is room for ${maxBytes}: it is in the error's "bytes"`,
      {
        code: "ERR_BUFFER_TOO_SHORT",
      },
    );
    this.bytes = bytes;
  }
}

registerErrors({ AuthenticationError, EOFError, BrokenPipeError, ConnectionError, BufferTooShortError });

/** Values are asked for where only bytes can cross. */
export function bytesOnlyError(): ConnectionError {
  return new ConnectionError(
    "send() was called on a connection that carries bytes alone: the other side is no process of this library, or did not prove that by a key. Use sendBytes(), or give listener and connect() the same authKey",
    "ERR_BYTES_ONLY",
  );
}
