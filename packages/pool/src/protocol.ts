/**
 * The protocol between a pool and its workers. Both ends of a channel use it.
 *
 * ```text
 *   pool                                            worker
 *     INIT {initializer, …}              ────────>    loads and calls the initializer
 *                 <────────────────────────────────  READY, or INIT_FAILED with the error
 *
 *     USE_FUNCTION id                    ────────>    selects the function of the next tasks
 *     FUNCTION reference                 ────────>    defines it, unless the worker has it in its cache
 *     EVICT_FUNCTION id                  ────────>    drops it from its cache
 *     CONTEXT {trace, stores}            ────────>    async context of the next task, if it has any
 *     RANGE [start, end]                 ────────>    items of the next chunk to run, if not all
 *     CALL arguments                     ────────>
 *                 <────────────────────────────────  RESULT value, or FAILURE error,
 *                                                     or RESULTS [values] for a batch of calls
 *     CHUNK items                        ────────>
 *                 <────────────────────────────────  RESULT value or RESULTS [values] for the next items …,
 *                                                     at the end DONE [values], or FAILURE error
 *     SPLIT sequence                     ────────>    keeps half of the items that have not begun
 *                 <────────────────────────────────  SPLIT_AT index: will not run the items from there on
 *     CANCEL [sequence, reason]          ────────>    aborts `currentTask().signal`, or skips the task
 *                 <────────────────────────────────  CANCELLED instead of a result
 *     RECALL [sequences]                 ────────>    gives back those tasks that have not begun
 *                 <────────────────────────────────  RETURNED [sequences]: these get no other reply
 *                 <────────────────────────────────  OVER_MEMORY: wants no more tasks
 *     STOP                               ────────>    finishes its tasks, calls the finalizer and ends
 * ```
 *
 * **Order.** A worker runs its tasks in order, one at a time, and replies in that order. Only
 * CANCEL, RECALL and SPLIT overtake tasks. So replies need no numbers: a reply belongs to the first
 * task in flight. Each message to a worker can be decoded alone. Messages from a worker share a
 * dictionary of shapes, so the pool must decode them in order.
 *
 * **Acknowledgement.** The pool must know which task a dead worker was running. But a write to the
 * socket costs more than a small task. So each task has an *acknowledgement mode*:
 *
 * - *sync*: the worker sends BEGIN and flushes before it runs the task, and flushes the result at
 *   once.
 * - *batched*, for tasks of microseconds: the worker sends no BEGIN, and batches the results of
 *   several calls. It sends them within {@link MAX_BATCH_DELAY_MS}, or when it is idle. If the
 *   worker is killed, the pool cannot know which of them ran. It runs all of them again, in sync
 *   mode.
 *
 * A worker that ends with an exit code flushes its batch first. The pool then knows what ran.
 *
 * For a chunk, the worker always sends BEGIN. In batched mode, it sends the result of the first
 * item at once. It sends later results between two items, when {@link MAX_BATCH_DELAY_MS} have
 * passed. If it is killed and items take less than that, another worker continues the chunk in sync
 * mode, from the first item without a result.
 *
 * **Durations.** The low bits of a result's kind hold the duration of an item, as a power of two.
 * The pool feeds them into its `DurationEstimate`.
 */
import type { AnyFunction } from "@multiproc/core";

/** When a worker acknowledges that it runs a task; see "Acknowledgement" above. */
export type AckMode = "batched" | "sync";

// Messages to a worker.
export const INIT = 1;
export const USE_FUNCTION = 2;
export const FUNCTION = 3;
/**
 * The function cannot be sent, because a captured value has changed. Its tasks fail with this
 * error.
 */
export const FUNCTION_UNSENDABLE = 4;
/** The worker may drop the function: the pool defines it again before its next use. */
export const EVICT_FUNCTION = 5;
/** The worker runs only the items `[start, end)` of the next chunk. */
export const RANGE = 6;
export const CANCEL = 7;
export const RECALL = 8;
export const STOP = 9;
export const SPLIT = 10;
export const CONTEXT = 11;
// Kinds of tasks. The lowest bit holds the acknowledgement mode, the next one whether items settle.
export const CALL = 0x10;
export const CHUNK = 0x20;
/** A chunk of `starmap()`: each item is a list of arguments. */
export const STAR_CHUNK = 0x30;

// Replies of a worker.
export const READY = 1;
export const INIT_FAILED = 2;
export const BEGIN = 3;
/** The reply to a cancelled task. */
export const CANCELLED = 4;
export const RETURNED = 5;
export const SPLIT_AT = 6;
export const OVER_MEMORY = 7;
// The low bits of these hold a duration.
export const RESULT = 0x40;
export const FAILURE = 0x60;
export const RESULTS = 0x80;
export const DONE = 0xa0;

/** The content of INIT. */
export interface Init {
  readonly initializer: AnyFunction | undefined;
  readonly initArgs: readonly unknown[];
  readonly finalizer: AnyFunction | undefined;
  /** The memory limit of the worker. */
  readonly maxMemoryBytes: number | undefined;
}

/** The longest time for which a worker holds results back to batch them, in milliseconds. */
export const MAX_BATCH_DELAY_MS = 0.3;

const ACK_MODES: readonly AckMode[] = ["batched", "sync"];
const SETTLE_FLAG = 2;
const TIME_MASK = 31;
/** The unit of durations in replies is 1/16 µs. */
const TIME_UNITS_PER_MS = 16_000;

/** Returns the kind of the message for a task. */
export function taskKind(kind: number, ackMode: AckMode, isSettling: boolean = false): number {
  return kind | ACK_MODES.indexOf(ackMode) | (isSettling ? SETTLE_FLAG : 0);
}

/** Splits the kind of a task into its parts. */
export function readTaskKind(kind: number): { kind: number; ackMode: AckMode; isSettling: boolean } {
  return { kind: kind & 0xf0, ackMode: ACK_MODES[kind & 1] as AckMode, isSettling: (kind & SETTLE_FLAG) !== 0 };
}

/** Returns the low bits for a duration. */
export function timeBits(ms: number): number {
  return Math.min(TIME_MASK, 32 - Math.clz32(Math.min(ms * TIME_UNITS_PER_MS, 2 ** 31)));
}

/** Returns the kind of a reply without its duration. */
export function replyKind(kind: number): number {
  return kind < RESULT ? kind : kind & ~TIME_MASK;
}

/**
 * Returns the duration in the kind of a reply, in milliseconds: the middle of the range of its
 * bits.
 */
export function replyMs(kind: number): number {
  const bits = kind & TIME_MASK;
  return (bits === 0 ? 0.5 : 0.75 * 2 ** bits) / TIME_UNITS_PER_MS;
}
