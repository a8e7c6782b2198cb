/**
 * Pipes and connections: messages between two ends, each of which can be in any process.
 *
 * `pipe()` makes two connected ends in this process. An end is given to another process as an argument, through another
 * connection or through a queue; messages keep their order and boundaries, and a slow receiver makes the sender wait. `Listener`
 * and `connect()` join processes that are not each other's children, over a Unix socket or a port, also with Python's
 * `multiprocessing.connection` at the other side. `wait()` waits for several connections, listeners and processes at once.
 *
 * Every wait takes `timeout` and `signal`. `recv()` throws `EOFError` when every holder of the other end is gone, however it
 * went. The process that called `pipe()`, or accepted or opened the connection, carries the messages: when it ends, the pipe ends.
 *
 * @module
 */
export { type ConnectOptions, connect } from "./connect.ts";
export { Connection } from "./connection.ts";
export { AuthenticationError, BrokenPipeError, BufferTooShortError, ConnectionError, EOFError } from "./errors.ts";
export { Listener, type ListenerOptions } from "./listener.ts";
export { pipe } from "./pipe.ts";
export { type Completion, type ReadySource, type Waitable, wait } from "./wait.ts";
export type { Address } from "./wire/address.ts";
