/**
 * What a pool and its workers say to each other.
 *
 * ```text
 *   pool                                            worker
 *     INIT {initializer, …}              ────────>    loads and calls it
 *                 <────────────────────────────────  READY, or REFUSED with what it threw
 *
 *     NAME id                            ────────>    the function of the tasks that follow
 *     FUNCTION reference                 ────────>    what was named; once for each function and worker
 *     CONTEXT {trace, stores}            ────────>    what surrounds the next task, if anything does
 *     CALL arguments                     ────────>
 *                 <────────────────────────────────  RESULT value, or FAILURE with what was thrown,
 *                                                     or RESULTS [values] for several of them
 *     CHUNK items                        ────────>
 *                 <────────────────────────────────  RESULT value or RESULTS [values] for the next items …,
 *                                                     in the end LAST [values], or FAILURE with what one threw
 *     SHARE ordinal                      ────────>    keeps half of the items that it has not begun
 *                 <────────────────────────────────  SHARED index: will not begin the items from that one on
 *     DROP [ordinal, reason]             ────────>    aborts `currentTask().signal`, or will not begin
 *     RECALL [ordinals]                  ────────>    will not begin those that it has not begun
 *                 <────────────────────────────────  RETURNED [ordinals]; they get no answer
 *                 <────────────────────────────────  SPENT: has grown too large for more tasks
 *     STOP                               ────────>    calls the finalizer and ends, when all before it is done
 * ```
 *
 * A worker takes its messages in order, one at a time (only DROP, RECALL and SHARE overtake), and answers in that order. So answers carry no
 * numbers: they belong to the first task without one. From the pool, every message stands alone; from a worker, they share
 * a dictionary of shapes, and the pool decodes them in order.
 *
 * **Care.** What is answered must have left the worker before it begins something that may kill it, or the wrong task is
 * blamed. But handing a message to the system costs more than a small task. So each task comes with how careful to be:
 *
 * - *careful*: the worker says that it BEGINs, and all that it has said leaves before it does; so does the answer, at once.
 * - *loose*, for tasks of microseconds: answers may leave together, within {@link MAX_BATCH_DELAY_MS}, or when there is nothing to do.
 *   When the worker is killed meanwhile, it is unclear which of them it ran: they are all run again, as careful ones.
 *
 * When a worker ends by an exit code, the answers held back leave at its end, and nothing is unclear.
 *
 * A worker says of every chunk that it BEGINs. In a *loose* one, the first answer leaves at once, and the others whenever
 * {@link MAX_BATCH_DELAY_MS} have passed, between two items. When the worker is killed meanwhile, and items take less than that, the chunk
 * goes on as a *careful* one, from the first item without an answer: each answer leaves before the next item begins.
 *
 * **Time.** The low bits of an answer's kind say how long an item took, as a power of two.
 */
import type { AnyFunction } from "@multiproc/core";

/** How much a worker says about a task. */
export type AckMode = "batched" | "sync";

// From the pool.
export const INIT = 1;
export const USE_FUNCTION = 2;
export const FUNCTION = 3;
/** The function cannot be sent after all: its tasks fail with this. */
export const FUNCTION_UNSENDABLE = 4;
/** The function will not be used for some time: its id is void. */
export const EVICT_FUNCTION = 5;
/** Of the items of the next chunk, only those from one index to before another are meant. */
export const RANGE = 6;
export const CANCEL = 7;
export const RECALL = 8;
export const STOP = 9;
export const SPLIT = 10;
export const CONTEXT = 11;
// With the care in the lowest bit, and in the next whether items that throw are answers like others.
export const CALL = 0x10;
export const CHUNK = 0x20;
/** A chunk whose items are lists of arguments. */
export const STAR_CHUNK = 0x30;

// From a worker.
export const READY = 1;
export const INIT_FAILED = 2;
export const BEGIN = 3;
/** The answer to a task that was dropped. */
export const CANCELLED = 4;
export const RETURNED = 5;
export const SPLIT_AT = 6;
export const OVER_MEMORY = 7;
// With the time in the low bits.
export const RESULT = 0x40;
export const FAILURE = 0x60;
export const RESULTS = 0x80;
export const DONE = 0xa0;

/** What INIT holds. */
export interface Init {
  readonly initializer: AnyFunction | undefined;
  readonly initArgs: readonly unknown[];
  readonly finalizer: AnyFunction | undefined;
  /** In bytes. */
  readonly maxMemory: number | undefined;
}

/** How long answers may be held back, in milliseconds. */
export const MAX_BATCH_DELAY_MS = 0.3;

const ACK_MODES: readonly AckMode[] = ["batched", "sync"];
const SETTLE_FLAG = 2;
const TIME_MASK = 31;
/** The shortest time that is told apart from none: a sixteenth of a microsecond. */
const TIME_UNITS_PER_MS = 16_000;

/** The kind of a task's message. */
export function taskKind(kind: number, ackMode: AckMode, isSettling: boolean = false): number {
  return kind | ACK_MODES.indexOf(ackMode) | (isSettling ? SETTLE_FLAG : 0);
}

/** What a task's kind says. */
export function readTaskKind(kind: number): { kind: number; ackMode: AckMode; isSettling: boolean } {
  return { kind: kind & 0xf0, ackMode: ACK_MODES[kind & 1] as AckMode, isSettling: (kind & SETTLE_FLAG) !== 0 };
}

/** The low bits that say how long something took. */
export function timeBits(ms: number): number {
  return Math.min(TIME_MASK, 32 - Math.clz32(Math.min(ms * TIME_UNITS_PER_MS, 2 ** 31)));
}

/** The kind of an answer without its time. */
export function replyKind(kind: number): number {
  return kind < RESULT ? kind : kind & ~TIME_MASK;
}

/** The time in an answer's kind, in milliseconds: the middle of what it stands for. */
export function replyMs(kind: number): number {
  const bits = kind & TIME_MASK;
  return (bits === 0 ? 0.5 : 0.75 * 2 ** bits) / TIME_UNITS_PER_MS;
}
