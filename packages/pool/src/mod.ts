/**
 * Pools of worker processes: run functions in other processes, by default in as many as there are
 * CPUs.
 *
 * A {@link Pool} keeps workers and gives them tasks. `apply()` makes one call. `map()` and
 * `starmap()` make a call for each of many inputs. `imap()` and `imapUnordered()` yield results one
 * by one, and read inputs as results are taken.
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
 * Arguments and results are copied. Shareable objects, such as connections, queues and locks,
 * arrive as themselves. To send a worker what all its tasks need, pass it to the `initializer`:
 * each worker calls that once. A function is sent once to each worker: by its name or, for
 * `inline()`, as its text.
 *
 * ## Waiting, timeouts and cancellation
 *
 * `apply()` and `map()` return an {@link AsyncResult}, a promise: await it, or call
 * `get({ timeout })`, whose timeout does not affect the work. The options `timeout` and `signal` of
 * a call, and `cancel()`, stop the work itself. A task that still waits is never run. A running task sees
 * `currentTask().signal` aborted; if it continues for longer than `gracePeriod`, its worker is
 * killed and replaced.
 *
 * Calls never throw. Every mistake in a call rejects its promise, or the first `next()` of its
 * iterator.
 *
 * ## Closing, and the death of processes
 *
 * `close()` and `join()` let the work end. `terminate()` stops it, as the end of an `await using`
 * block does. A pool does not keep its program alive; its work does. Workers end with the program,
 * however it ends.
 *
 * A worker that dies fails only the task that it was running, with {@link WorkerLostError}, which
 * has the end of the worker's standard error. Tasks that were sent to it and had not begun go to
 * another worker. A task that had begun is not run again, unless `retries` allow it. There is one
 * exception: tasks that take microseconds are batched, and may run twice if their worker is killed
 * in the middle of a batch. If the workers cannot start, or the initializer fails, all work of the
 * pool fails with that error.
 *
 * ## Differences from Python
 *
 * - `apply()` and `map()` return an `AsyncResult`, as `apply_async()` and `map_async()` do. It is a
 *   promise.
 * - `imap()` and `imapUnordered()` read inputs only as results are taken, and cancel the work when
 *   the loop ends early. Inputs can be async. The first error ends the loop.
 * - `map()` fails with the first error, and cancels inputs that have not begun.
 * - Workers ignore Ctrl+C: the program decides what happens to the work.
 * - A task can create pools and processes. They end with its worker.
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
