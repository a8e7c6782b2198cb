import { ThreadWorker, type WorkerFactory } from "./dispatch/worker-backend.ts";
import { checkThreadPoolOptions } from "./option-checks.ts";
import type { InitializerOptions, PoolOptions, PoolSettings } from "./options.ts";
import { Pool } from "./pool.ts";

/** Options of a `ThreadPool`: the options of a `Pool` that also apply to threads. */
export type ThreadPoolOptions<I extends unknown[] = unknown[]> = Omit<
  PoolSettings,
  "startMethod" | "env" | "execArgv" | "permissions" | "maxMemoryPerChild" | "output"
> &
  InitializerOptions<I>;

/**
 * A pool of worker threads of this process, with the interface of a {@link Pool}.
 *
 * Threads start sooner, use less memory than processes, and receive large binary values with one
 * copy less. But all threads end with the process, for example if native code crashes or runs out
 * of memory. Each thread has its own modules and global state.
 *
 * Deno cannot terminate a thread in an endless loop. The task fails when its timeout expires, and
 * another thread takes over, but the old one runs until the program ends. Use a {@link Pool} for
 * tasks that must really stop.
 *
 * @typeParam I the arguments of the initializer
 *
 * @example Squares, in two threads
 * ```ts
 * // file: tasks.ts
 * import { task } from "@multiproc/core";
 *
 * export const square = task(import.meta.url, function square(x: number) {
 *   return x * x;
 * });
 * // file: main.ts
 * import { ThreadPool } from "@multiproc/pool";
 * import { square } from "./tasks.ts";
 *
 * await using pool = new ThreadPool(2);
 * console.log(await pool.map(square, [1, 2, 3])); // [ 1, 4, 9 ]
 * ```
 */
export class ThreadPool<I extends unknown[] = unknown[]> extends Pool<I> {
  /**
   * Creates a pool and starts its threads.
   *
   * @param options the number of threads, or an object with options
   * @throws as {@link Pool}
   */
  constructor(options?: number | ThreadPoolOptions<I>) {
    if (options !== undefined)
      checkThreadPoolOptions("new ThreadPool()", typeof options === "number" ? { processes: options } : options);
    super(options as number | PoolOptions<I>);
  }

  /** @internal */
  protected override get workerFactory(): WorkerFactory {
    return (options) => new ThreadWorker(options);
  }
}
