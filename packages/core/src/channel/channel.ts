/**
 * Ordered messages between two processes.
 *
 * A message is a kind (a small number that the layer above gives meaning to), a body of encoded bytes, large binary parts
 * that travel beside the body uncopied, and the modules that must be loaded before the body can be decoded.
 */

import type { DeliveryScope } from "../targets/shareable.ts";

/** No parts, or no modules. */
export const EMPTY_LIST: readonly never[] = Object.freeze([]) as never;

/** A message as it arrived: not decoded, so that it can be kept, passed on or decoded later. */
export class Frame {
  /** What the layer above made of it. */
  readonly kind: number;
  /** The bytes that hold the body, from `start` to `end`; they are never written to again. */
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** The large binary parts, each with a buffer of its own. */
  readonly parts: readonly Uint8Array[];
  /** The modules that the body names. */
  readonly modules: readonly string[];

  constructor(
    kind: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    parts: readonly Uint8Array[],
    modules: readonly string[],
  ) {
    this.kind = kind;
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.parts = parts;
    this.modules = modules;
  }

  /** How many bytes the message holds. */
  get size(): number {
    let size = this.end - this.start;
    // Asked for several times for each message; an iterator for nothing would be a good part of what that takes.
    if (this.parts.length > 0) for (const part of this.parts) size += part.byteLength;
    return size;
  }
}

/** How a channel is made. */
export interface ChannelOptions {
  /** Whether messages share a dictionary of shapes, and so must be decoded in order by this channel alone. */
  readonly shapes?: "inline" | "dictionary";
  /** The longest message that is accepted, in bytes. */
  readonly maxMessageBytes?: number;
  /** What the other side is, for errors: `process "Process-1" (pid 4711)`. */
  readonly peer?: string;
}

/** What a channel calls back. */
export interface ChannelHandlers {
  /** A message arrived; what this throws closes the channel. */
  message(frame: Frame): void;
  /** The channel is closed for good: called once, and last. The reason is missing when the other side closed it in order. */
  closed(reason: Error | undefined): void;
}

/** One side of a channel, which is a carrier of its own. Sending only queues; {@link Channel.drained} tells when it is time to send on. */
export interface Channel extends DeliveryScope {
  /** Starts delivering; messages that came before are kept until then. */
  start(handlers: ChannelHandlers): void;

  /**
   * Encodes a value and queues it.
   *
   * @param root how the value is called in an error, such as `"args"`
   * @param carrier what ends when the message's one receiver is gone, if that is known
   * @param gathers whether more follows, behind which {@link Channel.flush} is called: it may wait for that
   * @returns whether there is room for more, see {@link Channel.full}
   * @throws {SendError} if it cannot be sent; nothing of it was queued
   * @throws {ChannelClosedError} if the channel is closed
   */
  send(kind: number, value: unknown, root?: string, scope?: DeliveryScope, corked?: boolean): boolean;
  /** Queues bytes as they are. */
  sendBytes(kind: number, bytes: Uint8Array): void;
  /**
   * Queues a message that arrived elsewhere or was encoded before.
   *
   * @param isBorrowed whether its parts are the caller's memory, as those of a value that is sent
   * @default isBorrowed false
   */
  forward(kind: number, frame: Frame, isBorrowed?: boolean): void;
  /** The same for a message that is nothing but these bytes. */
  forwardBytes(kind: number, bytes: Uint8Array, start: number, end: number): void;

  /** The value of a message; its modules must be loaded. */
  decode(frame: Frame): unknown;

  /** Whether the sender should wait: so much is queued, or parts that are still in its memory alone. */
  readonly full: boolean;
  /** Settles when the queue has room again, or the channel is closed. */
  drained(): Promise<void>;
  /** Settles when the system has all that was queued, or the channel is closed. */
  flushed(): Promise<void>;
  /** Hands what is queued to the system now, not at the end of the turn. */
  flush(): void;

  pause(): void;
  resume(): void;
  readonly closed: boolean;
  /** Sends what is queued, then closes. */
  end(): void;
  /** Closes at once and drops what is queued. */
  destroy(reason?: Error): void;
  /** Whether the program stays alive for this channel; it does not at first. */
  ref(): void;
  unref(): void;
}

/** A channel that can be used while the thread is blocked. Times are on the clock of `performance`. */
export interface SyncChannel extends Channel {
  /** Whether its messages go through memory, both ways. */
  readonly isInMemory: boolean;
  /** Whether it can at this moment: its messages go through memory, and it can ring the other side without the event loop. */
  readonly canBlock: boolean;
  /** Sees to it that it can; false if that cannot be, or was not done in time. */
  upgradeSync(deadline: number): boolean;
  /** Blocks until messages have been delivered, or the channel has closed; false if the time is over. */
  waitSync(deadline: number): boolean;
  /** Blocks until all that was sent has left, or the channel has closed. */
  flushSync(): void;
}

/** Whether an error is but how a system tells of an end with messages unread. */
export function isReset(error: Error): boolean {
  return (error as { code?: string }).code === "ECONNRESET" || error.name === "ConnectionReset";
}
