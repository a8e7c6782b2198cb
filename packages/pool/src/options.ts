/** What users may ask of a pool. */
import type { Permissions } from "@multiproc/core";
import { checkTimeout } from "@multiproc/core/internal";
import type { ProcessOptions } from "@multiproc/process";
import type { Progress } from "./result.ts";

/** How a `Pool` is made. */
export interface PoolOptions<I extends unknown[] = unknown[]> {
  /** How many workers it has. @default cpuCount() */
  readonly processes?: number | undefined;
  /** A target that each worker calls before its first task; if it fails, the pool does, with that error. */
  readonly initializer?: ((...args: I) => unknown) | undefined;
  /** The arguments of the initializer. @default [] */
  readonly initArgs?: I | undefined;
  /** How many tasks (chunks, for `map`) a worker does before another takes its place. @default any number */
  readonly maxTasksPerChild?: number | undefined;
  /** What workers are called, in front of their number. @default "PoolWorker" */
  readonly name?: string | undefined;
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

/** How a task is done. */
export interface TaskOptions {
  /**
   * How long, in milliseconds, it may run before it is given up as by `cancel()`; for `map()` and `imap()`, how long one input
   * may take. @default forever
   */
  readonly timeout?: number | undefined;
  /** Gives it up, as `cancel()` does. */
  readonly signal?: AbortSignal | undefined;
  /** How often it is tried again when its worker dies. @default 0 */
  readonly retries?: number | undefined;
}

/** How a map is done. */
export interface MapOptions extends TaskOptions {
  /**
   * How many inputs travel together. @default so many that each worker gets about four chunks, at most 8192, and, as far as it is
   * known how long one takes, no more than 20 milliseconds of work; a worker that runs out of work takes over half of another's
   */
  readonly chunkSize?: number | undefined;
  /**
   * Whether every input has an outcome of its own, as `Promise.allSettled()` tells it, and none fails the map. With a `timeout`,
   * each input travels alone then. @default false
   */
  readonly settle?: boolean | undefined;
  /** Called when inputs are done. What it throws fails the map. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** How an `imap` is done. */
export interface ImapOptions extends TaskOptions {
  /** How many inputs travel together. @default 1, or more when they take but microseconds */
  readonly chunkSize?: number | undefined;
  /** How many inputs may be read ahead of the results that were taken. @default four chunks for each worker */
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
  /** Tasks that failed or were given up. */
  readonly failed: number;
  /** Workers that died while they had a task. */
  readonly lost: number;
}

/** Refuses options of a call that make no sense. */
export function checkOptions(call: string, options: MapOptions & ImapOptions): void {
  checkTimeout(call, options.timeout);
  for (const name of ["chunkSize", "bufferSize"] as const) {
    if (options[name] !== undefined) checkCount(`${call} with ${name}`, options[name], 1);
  }
  if (options.retries !== undefined) checkCount(`${call} with retries`, options.retries, 0);
}

/** Refuses what is no whole number, or too small. */
export function checkCount(what: string, count: number, least: number): void {
  if (!Number.isInteger(count) || count < least) {
    throw new RangeError(`${what} takes a whole number of at least ${least}, not ${String(count)}`);
  }
}
