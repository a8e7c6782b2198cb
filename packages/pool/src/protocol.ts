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
 * - *loose*, for tasks of microseconds: answers may leave together, within {@link HOLD_MS}, or when there is nothing to do.
 *   When the worker is killed meanwhile, it is unclear which of them it ran: they are all run again, as careful ones.
 *
 * When a worker ends by an exit code, the answers held back leave at its end, and nothing is unclear.
 *
 * A worker says of every chunk that it BEGINs. In a *loose* one, the first answer leaves at once, and the others whenever
 * {@link HOLD_MS} have passed, between two items. When the worker is killed meanwhile, and items take less than that, the chunk
 * goes on as a *careful* one, from the first item without an answer: each answer leaves before the next item begins.
 *
 * **Time.** The low bits of an answer's kind say how long an item took, as a power of two.
 */
import type { AnyFunction } from "@multiproc/core";

/** How much a worker says about a task. */
export type Care = "loose" | "careful";

// From the pool.
export const INIT = 1;
export const NAME = 2;
export const FUNCTION = 3;
/** The function cannot be sent after all: its tasks fail with this. */
export const NO_FUNCTION = 4;
/** The function will not be used for some time: its id is void. */
export const FORGET = 5;
/** Of the items of the next chunk, only those from one index to before another are meant. */
export const RANGE = 6;
export const DROP = 7;
export const RECALL = 8;
export const STOP = 9;
export const SHARE = 10;
export const CONTEXT = 11;
// With the care in the lowest bit, and in the next whether items that throw are answers like others.
export const CALL = 0x10;
export const CHUNK = 0x20;
/** A chunk whose items are lists of arguments. */
export const STAR_CHUNK = 0x30;

// From a worker.
export const READY = 1;
export const REFUSED = 2;
export const BEGIN = 3;
/** The answer to a task that was dropped. */
export const DROPPED = 4;
export const RETURNED = 5;
export const SHARED = 6;
export const SPENT = 7;
// With the time in the low bits.
export const RESULT = 0x40;
export const FAILURE = 0x60;
export const RESULTS = 0x80;
export const LAST = 0xa0;

/** What INIT holds. */
export interface Init {
  readonly initializer: AnyFunction | undefined;
  readonly initArgs: readonly unknown[];
  readonly finalizer: AnyFunction | undefined;
  /** In bytes. */
  readonly maxMemory: number | undefined;
}

/** How long answers may be held back, in milliseconds. */
export const HOLD_MS = 0.3;

const CARES: readonly Care[] = ["loose", "careful"];
const SETTLE = 2;
const LOW_BITS = 31;
/** The shortest time that is told apart from none: a sixteenth of a microsecond. */
const UNITS_PER_MS = 16_000;

/** The kind of a task's message. */
export function taskKind(kind: number, care: Care, isSettling: boolean = false): number {
  return kind | CARES.indexOf(care) | (isSettling ? SETTLE : 0);
}

/** What a task's kind says. */
export function readTaskKind(kind: number): { kind: number; care: Care; isSettling: boolean } {
  return { kind: kind & 0xf0, care: CARES[kind & 1] as Care, isSettling: (kind & SETTLE) !== 0 };
}

/** The low bits that say how long something took. */
export function timeBits(ms: number): number {
  return Math.min(LOW_BITS, 32 - Math.clz32(Math.min(ms * UNITS_PER_MS, 2 ** 31)));
}

/** The kind of an answer without its time. */
export function answerKind(kind: number): number {
  return kind < RESULT ? kind : kind & ~LOW_BITS;
}

/** The time in an answer's kind, in milliseconds: the middle of what it stands for. */
export function answerMs(kind: number): number {
  const bits = kind & LOW_BITS;
  return (bits === 0 ? 0.5 : 0.75 * 2 ** bits) / UNITS_PER_MS;
}
