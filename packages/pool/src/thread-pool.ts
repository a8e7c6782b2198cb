import { ThreadWorker, type WorkerFactory } from "./dispatch/worker-backend.ts";
import type { PoolOptions } from "./options.ts";
import { Pool } from "./pool.ts";

/** How a `ThreadPool` is made. */
export type ThreadPoolOptions<I extends unknown[] = unknown[]> = Omit<
  PoolOptions<I>,
  "startMethod" | "env" | "execArgv" | "permissions" | "maxMemoryPerChild" | "output"
>;

/**
 * Worker threads of this process that do tasks: the same face as a {@link Pool}.
 *
 * Threads start sooner and take less memory than processes, and large binary values cost one copy less. In turn, what ends the
 * process ends them all: a native crash, or memory that runs out in native code. Each has modules and global state of its own.
 *
 * On Deno, a thread in an endless loop cannot be ended: its task fails when its time is up, and another thread takes its place,
 * but it goes on until the program ends. Where tasks must really be stopped, take a {@link Pool}.
 *
 * @typeParam I the arguments of the initializer
 *
 * @example Squares, in threads
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
 * await using pool = new ThreadPool({ processes: 2 });
 * console.log(await pool.map(square, [1, 2, 3])); // [ 1, 4, 9 ]
 * ```
 */
export class ThreadPool<I extends unknown[] = unknown[]> extends Pool<I> {
  /**
   * Makes a pool, and begins to start its threads.
   *
   * @param options how many threads it has, and how they begin
   * @throws as {@link Pool}
   */
  constructor(options: ThreadPoolOptions<I> = {}) {
    for (const name of ["startMethod", "env", "execArgv", "permissions", "maxMemoryPerChild", "output"]) {
      if ((options as Record<string, unknown>)[name] !== undefined) {
        throw new TypeError(
          `ThreadPool takes no ${name}: its workers are threads of this process, take a Pool for that`,
        );
      }
    }
    super(options);
  }

  /** @internal */
  protected override get workerFactory(): WorkerFactory {
    return (options) => new ThreadWorker(options);
  }
}
