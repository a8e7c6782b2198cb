/**
 * The interface between a queue object and its items. The owner process uses `LocalBackend`, and
 * every other process uses `RemoteBackend`. This file also holds the types that both share.
 */
import type { DeliveryScope, EndpointAddress, Frame, SegmentAddress, WaitOptions } from "@multiproc/core/internal";

/**
 * How long a `put()` or `get()` may wait.
 *
 * @example Do not wait, or wait for one second at most
 * ```ts
 * import { type BlockOptions, Queue } from "@multiproc/queue";
 *
 * const queue = new Queue<string>(1);
 * const now: BlockOptions = { block: false };
 * await queue.put("item", now);
 * console.log(await queue.get({ timeout: 1000 })); // item
 * ```
 */
export interface BlockOptions extends WaitOptions {
  /** Whether to wait at all. @default true */
  readonly block?: boolean;
}

/** How long a call that blocks its thread may wait. A signal cannot end such a wait. */
export type BlockSyncOptions = Omit<BlockOptions, "signal">;

/**
 * The state of a queue at one moment, as `queue.state()` reports it.
 *
 * @example
 * ```ts
 * import { Queue, type QueueState } from "@multiproc/queue";
 *
 * const queue = new Queue<string>(1);
 * await queue.put("item");
 * const state: QueueState = await queue.state();
 * console.log(state); // { size: 1, maxSize: 1, isEmpty: false, isFull: true }
 * ```
 */
export interface QueueState {
  /** The number of items that were put and not taken. */
  readonly size: number;
  /** The number of items that the queue holds at most; 0 if it is unbounded. */
  readonly maxSize: number;
  /** Whether a `get()` would wait. */
  readonly isEmpty: boolean;
  /** Whether a `put()` would wait. An unbounded queue is never full. */
  readonly isFull: boolean;
}

/**
 * Where the items of a queue are: in memory that its processes share, or in the broker of its owner
 * process.
 */
export type BackendKind = "shared-memory" | "broker";

/**
 * The address of a ring. The handle of a queue contains it, so that a process can map the ring
 * before it has a channel.
 */
export interface RingAddress {
  readonly memory: SegmentAddress;
  /** The thread that owns the queue. Blocked threads check whether it lives. */
  readonly ownerThreadId: number;
}

/** A request that the owner process answers. */
export type Question = "size" | "shutdown" | "taskDone" | "join";

/** The operations of a queue in one process. */
export interface QueueBackend {
  readonly maxSize: number;
  readonly ownerPid: number;
  /** The ring's address while the items are in shared memory. */
  readonly ringAddress: RingAddress | undefined;
  /** Puts an item. Settles when the item belongs to the queue. */
  put(call: string, item: unknown, options: BlockOptions): Promise<void>;
  /** Takes the next item, still encoded, if this process can get it without a wait. */
  take(): Frame | undefined;
  /** Waits for the next item, after `take()` returned none. */
  get(call: string, options: BlockOptions): Promise<Frame>;
  /** Takes the next item; blocks this thread while the queue is empty. */
  getSync(call: string, options: BlockSyncOptions): Frame;
  /** Puts an item; blocks this thread while the queue is full. */
  putSync(call: string, item: unknown, options: BlockSyncOptions): void;
  /**
   * Reads the number of items without a wait.
   *
   * @param alternative the code that works everywhere, for the error
   * @throws {CapabilityError} if only the owner process can read it
   */
  sizeNow(call: string, alternative: string): number;
  /** Sends a question to the owner process, unless this process can answer it. */
  ask(call: string, question: Question, argument: unknown, options: WaitOptions): Promise<unknown>;
  /** Reports where the items are. */
  backend(): Promise<BackendKind>;
  /** Settles when the operating system has every item that this process put. */
  flush(): Promise<void>;
  /** Returns the endpoint by which other processes reach the owner process. */
  endpoint(): EndpointAddress;
  /** Notes that the queue was sent to another process. `scope` ends with the receiver. */
  sentTo(scope: DeliveryScope | undefined): void;
  /** Ends every wait in this process with an error. */
  close(): void;
}

/** Whether the call must not wait. */
export function isNonBlocking(options: BlockOptions): boolean {
  return options.block === false || options.timeout === 0;
}

/** Whether only success or the end of the queue ends a wait: it has no timeout and no signal. */
export function waitsForever(options: BlockOptions): boolean {
  return options.timeout === undefined && options.signal === undefined && options.block !== false;
}

/** Returns the options for the rest of a wait that began at `startedAt`. */
export function withRemainingTimeout(options: BlockOptions, startedAt: number): BlockOptions {
  if (options.timeout === undefined) return options;
  return { ...options, timeout: Math.max(0, options.timeout - (performance.now() - startedAt)) };
}
