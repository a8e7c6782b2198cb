/**
 * Pools of worker processes: functions run in other processes, as many at a time as there are CPUs.
 *
 * A {@link Pool} keeps workers and gives them tasks: `apply()` is one call, `map()` and `starmap()` are a call for each of
 * many inputs, `imap()` and `imapUnordered()` give results one by one while inputs are read.
 *
 * ## Hello world
 *
 * ```ts
 * // file: tasks.ts
 * import { task } from "@multiproc/core";
 *
 * export const square = task(import.meta.url, function square(x: number) {
 *   return x * x;
 * });
 * // file: main.ts
 * import { Pool } from "@multiproc/pool";
 * import { square } from "./tasks.ts";
 *
 * await using pool = new Pool({ processes: 2 });
 * console.log(await pool.map(square, [1, 2, 3])); // [ 1, 4, 9 ]
 * ```
 *
 * ## Sharing with workers
 *
 * Arguments and results are copied, whatever they hold; connections, queues and the library's other live objects arrive as
 * themselves. What every worker needs is given once, to the `initializer`. A function travels once for each worker, its name
 * or, for `inline()`, its text.
 *
 * ## Waiting and time-outs
 *
 * `apply()` and `map()` return an {@link AsyncResult}, a promise: await it, or wait with `get({ timeout })`, which leaves the work alone.
 * The options `timeout` and `signal` of a call, and `cancel()`, stop the work itself: what waits is dropped, what runs sees
 * `currentTask().signal` aborted, and a worker that goes on for longer than `gracePeriod` is killed and replaced.
 *
 * ## Closing, and what happens when a process dies
 *
 * `close()` and `join()` let the work end, `terminate()` and leaving an `await using` block stop it. A pool does not keep its
 * program alive, its work does; workers end with the program, however it ends.
 *
 * A worker that dies fails the task that it ran with {@link WorkerLostError}, which holds what it last wrote to standard error, and no other: what was sent to it and not begun
 * goes to another worker. A task that was begun is not run a second time, unless `retries` allow it; only tasks and inputs that
 * take some microseconds can be run twice, when their worker is killed in the middle of a batch of them. A pool whose workers cannot
 * start, or whose initializer fails, fails its work with that reason.
 *
 * ## Differences from Python
 *
 * - `apply()` and `map()` return an `AsyncResult`, as `apply_async()` and `map_async()` do; it is a promise of the value.
 * - `imap()` and `imapUnordered()` read their input only as results are taken, and stop the work when the loop is left. Inputs
 *   can be asynchronous. The first error ends the loop.
 * - `map()` fails as soon as one input does, and drops those that have not been begun.
 * - Workers ignore Ctrl+C: what becomes of the work is the program's decision.
 * - A task can have a pool, or processes, of its own: they end with its worker.
 *
 * @module
 */
export { type ContextStorage, propagateContext } from "./async-context.ts";
export { type CurrentTask, currentTask } from "./current-task.ts";
export { PoolClosedError, WorkerLostError } from "./errors.ts";
export { AsyncResult } from "./jobs/result.ts";
export type {
  ArgumentLists,
  CallArguments,
  ImapOptions,
  InitializerOptions,
  Inputs,
  MapOptions,
  OutputLine,
  PoolOptions,
  PoolOutput,
  PoolSettings,
  PoolStats,
  Progress,
  TaskOptions,
} from "./options.ts";
export { Pool } from "./pool.ts";
export { type ProgressBar, type ProgressBarOptions, progressBar } from "./progress-bar.ts";
export { ThreadPool, type ThreadPoolOptions } from "./thread-pool.ts";
