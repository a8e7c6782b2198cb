import type { DeliveryScope, EndpointAddress, Frame, SegmentAddress, WaitOptions } from "@multiproc/core/internal";

/**
 * How a `put()` or `get()` waits.
 *
 * @example Wait not at all, or not for long
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

/** How a call that blocks its thread waits; no signal can end it. */
export type BlockSyncOptions = Omit<BlockOptions, "signal">;

/** Where a ring is, for a process that cannot wait to be told; plain data. */
export interface RingAddress {
  readonly memory: SegmentAddress;
  /** The thread that keeps the queue; see `thread-id.ts` of core. */
  readonly ownerThreadId: number;
}

/** What can be asked. */
export type Question = "size" | "full" | "shutdown" | "taskDone" | "join";

/** Where the items of a queue are: in memory that its processes share, or with its home process. */
export type BackendKind = "memory" | "home";

/** How a queue object reaches the items: in this process, or in another. */
export interface QueueBackend {
  readonly maxSize: number;
  /** The process that keeps the items. */
  readonly ownerPid: number;
  /** Puts an item; settles when it is the queue's. */
  put(call: string, item: unknown, options: BlockOptions): Promise<void>;
  /** The next item, as it was put, if it can be had without waiting. */
  take(): Frame | undefined;
  /** Waits for the next item, after `take()` had none. */
  get(call: string, options: BlockOptions): Promise<Frame>;
  /** Takes the next item; blocks this thread while there is none. */
  getSync(call: string, options: BlockSyncOptions): Frame;
  /** Puts an item; blocks this thread while there is no room. */
  putSync(call: string, item: unknown, options: BlockSyncOptions): void;
  /** Where the items are for who cannot wait to be told, while they are in memory. */
  readonly ringAddress: RingAddress | undefined;
  ask(call: string, question: Question, argument: unknown, options: WaitOptions): Promise<unknown>;
  /** Where the items are at this moment; see `Queue.form()`. */
  backend(): Promise<BackendKind>;
  /** Settles when the system has all that was put. */
  flush(): Promise<void>;
  /** By what others reach the items. */
  endpoint(): EndpointAddress;
  /** The queue is on its way to another process, with what carries it, if that is known. */
  sentTo(scope: DeliveryScope | undefined): void;
  /** Has those who wait here hear of it. */
  close(): void;
}

/** Whether the caller does not wait. */
export function isNonBlocking(options: BlockOptions): boolean {
  return options.block === false || options.timeout === 0;
}

/** Whether nothing but its success or the queue's end ends a wait. */
export function waitsForever(options: BlockOptions): boolean {
  return options.timeout === undefined && options.signal === undefined && options.block !== false;
}

/** The options of a wait that has lasted since `began`. */
export function withRemainingTimeout(options: BlockOptions, startedAt: number): BlockOptions {
  if (options.timeout === undefined) return options;
  return { ...options, timeout: Math.max(0, options.timeout - (performance.now() - startedAt)) };
}
