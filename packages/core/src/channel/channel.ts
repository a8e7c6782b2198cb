/**
 * The channel: ordered messages between two processes.
 *
 * A message is a kind (a small number that the layer above gives a meaning to) and a body of
 * encoded bytes. Large binary parts follow the body and are not copied into it. A message names the
 * modules that the receiver must load before it can decode the body. `stream-channel.ts` implements
 * the channel over a socket and over shared memory.
 */
import type { DeliveryScope } from "../targets/shareable.ts";
import type { Frame } from "./frame.ts";

/** Options of a new channel. */
export interface ChannelOptions {
  /**
   * How the shapes of objects are encoded. With `"dictionary"` the messages of the channel share a
   * dictionary of shapes, so only this channel can decode them, and in order.
   */
  readonly shapes?: "inline" | "dictionary";
  /** The longest message that is accepted, in bytes. */
  readonly maxMessageBytes?: number;
  /** The name of the peer in errors: `process "Process-1" (pid 4711)`. */
  readonly peer?: string;
}

/** Callbacks of a channel. */
export interface ChannelHandlers {
  /** Receives a message. An error that is thrown here closes the channel. */
  message(frame: Frame): void;
  /**
   * Reports that the channel is closed. This is the last call, and comes once. `reason` is
   * undefined if the channel was closed in order.
   */
  closed(reason: Error | undefined): void;
}

/**
 * One end of a channel, and the scope in which its messages are delivered.
 *
 * Flow control: `send()` never waits. While the channel is {@link Channel.full}, the sender should
 * wait for {@link Channel.drained}.
 */
export interface Channel extends DeliveryScope {
  /** Starts the delivery of messages. Messages that arrived earlier are kept until then. */
  start(handlers: ChannelHandlers): void;

  /**
   * Encodes a value and queues it. The parameters are positional through all layers, because an
   * options object would be allocated for each message.
   *
   * @param root the name of the value in errors, such as `"args"`
   * @param scope the scope that ends when the only receiver of the message is gone; undefined if
   *   the receiver is not known
   * @param corked whether more messages follow at once, as with TCP_CORK: this one may wait until
   *   {@link Channel.flush}, which the caller must call after the last one
   * @returns whether there is room for more, see {@link Channel.full}
   * @throws {SendError} if the value cannot be sent; nothing of it was queued
   * @throws {ChannelClosedError} if the channel is closed
   */
  send(kind: number, value: unknown, root?: string, scope?: DeliveryScope, corked?: boolean): boolean;
  /** Queues bytes as a message; they are not encoded. */
  sendBytes(kind: number, bytes: Uint8Array): void;
  /**
   * Queues a message that arrived elsewhere or was encoded before.
   *
   * @param isBorrowed whether the caller owns the memory of the parts, as it does for a value that
   *   is sent
   * @default isBorrowed false
   */
  forward(kind: number, frame: Frame, isBorrowed?: boolean): void;
  /** Queues a message that was encoded before and has neither parts nor modules. */
  forwardBytes(kind: number, bytes: Uint8Array, start: number, end: number): void;

  /** Decodes a message, whose modules must be loaded. */
  decode(frame: Frame): unknown;

  /**
   * Whether the sender should wait: too much is queued, or parts are queued that the caller still
   * owns.
   */
  readonly full: boolean;
  /** Settles when the queue has room again, or the channel is closed. */
  drained(): Promise<void>;
  /** Settles when the operating system has everything that was queued, or the channel is closed. */
  flushed(): Promise<void>;
  /** Hands the queued messages to the operating system now instead of at the end of the turn. */
  flush(): void;

  pause(): void;
  resume(): void;
  readonly closed: boolean;
  /** Sends what is queued, then closes the channel. */
  end(): void;
  /** Closes the channel at once and drops what is queued. */
  destroy(reason?: Error): void;
  /** Keeps the program alive while the channel is open. A new channel does not. */
  ref(): void;
  unref(): void;
}

/**
 * A channel that also works while the thread is blocked. Deadlines are on the clock of
 * `performance`.
 */
export interface SyncChannel extends Channel {
  /** Whether messages go through shared memory in both directions. */
  readonly isInMemory: boolean;
  /**
   * Whether the channel works while the thread is blocked: it uses shared memory, and can wake the
   * peer without the event loop.
   */
  readonly canBlock: boolean;
  /** Moves the channel to shared memory; returns false if that is impossible or took too long. */
  upgradeSync(deadline: number): boolean;
  /**
   * Blocks until messages were delivered or the channel is closed; returns false after the
   * deadline.
   */
  waitSync(deadline: number): boolean;
  /** Blocks until everything that was sent has left, or the channel is closed. */
  flushSync(): void;
}

/**
 * Whether the error only says that the peer closed its socket before it had read everything
 * (ECONNRESET).
 */
export function isReset(error: Error): boolean {
  return (error as { code?: string }).code === "ECONNRESET" || error.name === "ConnectionReset";
}
