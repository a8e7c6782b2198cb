import { ProcessError } from "@multiproc/core";
import { registerErrors } from "@multiproc/core/internal";

/** There is nothing left to receive, and nobody is left who could send. */
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

/** A message was sent to a pipe whose other end nobody holds any more. */
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

/** A connection was used after it was closed, against its direction or beyond what it carries, or could not be made. */
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

/** Two sides did not have the same key; the connection between them was closed. */
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

/** A message is longer than the caller allowed; it is whole in `message bytes`, so nothing is lost. */
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
  constructor(call: string, bytes: Uint8Array, room: number) {
    super(
      `${call} got a message of ${bytes.length} bytes, and there is room for ${room}: it is in the error's "bytes"`,
      {
        code: "ERR_BUFFER_TOO_SHORT",
      },
    );
    this.bytes = bytes;
  }
}

registerErrors({ AuthenticationError, EOFError, BrokenPipeError, ConnectionError, BufferTooShortError });

/** Values are asked for where only bytes can cross. */
export function bytesOnly(): ConnectionError {
  return new ConnectionError(
    "send() was called on a connection that carries bytes alone: the other side is no process of this library, or did not prove that by a key. Use sendBytes(), or give listener and connect() the same authKey",
    "ERR_BYTES_ONLY",
  );
}
