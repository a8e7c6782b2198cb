/**
 * What a pool and a worker say to each other.
 *
 * ```text
 *   pool                                          worker
 *     INIT [initializer, arguments] ───────────────>
 *     <─────────────────────────── READY, or BROKEN error
 *     TASK [function, way, inputs] ────────────────>   one after the other, in order
 *     <─────────────── DONE results, or FAILED error    one answer for each, before the next begins
 *     CANCEL ──────────────────────────────────────>   the running task's signal is aborted
 *     LEAVE ───────────────────────────────────────>   after the tasks before it
 * ```
 *
 * Answers carry no numbers: a worker answers in the order in which it was asked, and each answer is with the system before the
 * next task begins. So the first task without an answer is the one that a dead worker was running.
 */

export const INIT = 1;
export const READY = 2;
export const BROKEN = 3;
export const TASK = 4;
export const DONE = 5;
export const FAILED = 6;
export const CANCEL = 7;
export const LEAVE = 8;

/** How a function is called for the inputs of a task: once with all of them, or for each, as one argument or as several. */
export type Way = "apply" | "map" | "starmap";

/** What a TASK message holds. */
export type TaskMessage = readonly [fn: (...args: never[]) => unknown, way: Way, inputs: readonly unknown[]];
