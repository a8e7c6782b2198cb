/**
 * Pipes: messages between two ends, each of which can be in any process.
 *
 * `pipe()` makes two connected ends in this process. An end is given to another process as an argument, through another
 * connection or through a queue; messages keep their order and boundaries, a slow receiver makes the sender wait, and
 * `recv()` throws `EOFError` when every holder of the other end is gone, however it went.
 *
 * The process that called `pipe()` carries the messages: when it ends, the pipe ends.
 *
 * @module
 */
export { Connection } from "./connection.ts";
export { BrokenPipeError, BufferTooShortError, ConnectionError, EOFError } from "./errors.ts";
export { pipe } from "./pipe.ts";
