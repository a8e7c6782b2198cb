/**
 * Pipes and connections: messages between two ends, each in any process.
 *
 * `pipe()` makes two connected ends in this process. An end is given to another process as an
 * argument, through another connection or through a queue. Messages keep their order and their
 * boundaries. A slow receiver makes the sender wait (back-pressure).
 *
 * `Listener` and `connect()` connect processes that are not parent and child, over a Unix socket or
 * a port. The peer may also be a Python process that uses `multiprocessing.connection`. `wait()`
 * waits for several connections, listeners and processes at once.
 *
 * Every wait takes `timeout` and `signal`. `recv()` throws `EOFError` once the other end is closed
 * in every process, also when those processes were killed. The process that called `pipe()`,
 * `accept()` or `connect()` carries the messages: when it ends, the pipe ends.
 *
 * @module
 */
export type { WritableBuffer } from "./bytes.ts";
export { type ConnectOptions, connect } from "./connect.ts";
export { Connection } from "./connection.ts";
export { AuthenticationError, BrokenPipeError, BufferTooShortError, ConnectionError, EOFError } from "./errors.ts";
export { Listener, type ListenerOptions } from "./listener.ts";
export type {
  PipeOptions,
  RecvBytesIntoOptions,
  RecvBytesOptions,
  RecvManyOptions,
  SendBytesOptions,
} from "./options.ts";
export { pipe } from "./pipe.ts";
export { type Completion, type Waitable, wait } from "./wait.ts";
export type { Address } from "./wire/address.ts";
