/**
 * Pools of worker processes.
 *
 * A {@link Pool} starts workers and gives them tasks: `apply()` one call, `map()` and `starmap()` a list of them, `imap()` and
 * `imapUnordered()` a stream. A worker that dies fails the one task that it was running with {@link WorkerLostError}; the other
 * tasks go to others, and another worker takes its place. What a task throws arrives as itself.
 *
 * @module
 */
export { type CurrentTask, currentTask } from "./current-task.ts";
export { PoolClosedError, WorkerLostError } from "./errors.ts";
export type { ImapOptions, MapOptions, PoolOptions, PoolStats } from "./options.ts";
export { Pool } from "./pool.ts";
export { AsyncResult } from "./result.ts";
export type { Inputs, Progress } from "./spreading.ts";
export type { TaskOptions } from "./task.ts";
