import type { Permissions } from "@multiproc/core";
import type { ProcessOptions } from "@multiproc/process";
import type { Progress } from "./spreading.ts";
import type { TaskOptions } from "./task.ts";

/** How a {@link Pool} is made. */
export interface PoolOptions<I extends unknown[] = unknown[]> {
  /** How many workers it has. @default cpuCount() */
  readonly processes?: number | undefined;
  /** What each worker calls before its first task; if that fails, the pool does, with that error. */
  readonly initializer?: ((...args: I) => unknown) | undefined;
  /** The arguments of the initializer. @default [] */
  readonly initArgs?: I | undefined;
  /** How many tasks (chunks, for `map`) a worker does before another takes its place. @default any number */
  readonly maxTasksPerChild?: number | undefined;
  /** How workers come to be. @default getStartMethod() */
  readonly startMethod?: ProcessOptions["startMethod"];
  /** Variables added to the workers' environment. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Flags for the workers' interpreter, in place of those of this process. */
  readonly execArgv?: readonly string[] | undefined;
  /** What Deno workers may do; never more than this process. @default "inherit" */
  readonly permissions?: Permissions | undefined;
  /** How long, in milliseconds, a task that is given up may go on before its worker is killed. @default 500 */
  readonly graceMs?: number | undefined;
}

/** How a map is done. */
export interface MapOptions extends TaskOptions {
  /** How many inputs travel together. @default so many that each worker gets about four chunks */
  readonly chunkSize?: number | undefined;
  /** Called when inputs are done. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** How an `imap` is done. */
export interface ImapOptions extends TaskOptions {
  /** How many inputs travel together. @default 1 */
  readonly chunkSize?: number | undefined;
  /** How many inputs may be read ahead of the results that were taken. @default enough for two chunks for each worker */
  readonly bufferSize?: number | undefined;
}

/** What a pool is doing. */
export interface PoolStats {
  /** Workers that are ready. */
  readonly workers: number;
  /** Tasks that wait for a worker. */
  readonly waiting: number;
  /** Tasks that workers have. */
  readonly running: number;
  /** Tasks that succeeded. */
  readonly completed: number;
  /** Tasks that failed. */
  readonly failed: number;
  /** Workers that died. */
  readonly lost: number;
}
