/** What users may ask of a pool. */
import type { AnyFunction, Permissions } from "@multiproc/core";
import { checkTimeout, requireTarget } from "@multiproc/core/internal";
import type { ProcessOptions } from "@multiproc/process";

/**
 * How a `Pool` is made.
 *
 * @example Two workers, which are prepared and replaced
 * ```ts
 * import { inline } from "@multiproc/core";
 * import { Pool, type PoolOptions } from "@multiproc/pool";
 *
 * const options: PoolOptions<[string]> = {
 *   processes: 2,
 *   initializer: inline((greeting: string) => void Object.assign(globalThis, { greeting })),
 *   initArgs: ["Hello"],
 *   maxTasksPerChild: 100,
 * };
 * const pool = new Pool(options);
 * console.log(await pool.apply(inline(() => (globalThis as { greeting?: string }).greeting))); // Hello
 * await pool.terminate();
 * ```
 */
export interface PoolOptions<I extends unknown[] = unknown[]> {
  /** How many workers it has. @default cpuCount() */
  readonly processes?: number | undefined;
  /** A target that each worker calls before its first task; if it fails, the pool does, with that error. */
  readonly initializer?: ((...args: I) => unknown) | undefined;
  /** The arguments of the initializer. @default [] */
  readonly initArgs?: I | undefined;
  /**
   * A target that a worker calls when it has done its last task: after `close()`, or when another takes its place. A worker that
   * is terminated, as at the end of the program, or that dies does not.
   */
  readonly finalizer?: (() => unknown) | undefined;
  /** How many tasks (chunks, for `map`) a worker does before another takes its place. @default any number */
  readonly maxTasksPerChild?: number | undefined;
  /**
   * How much memory a worker may take, in bytes; one that takes more after a task is replaced. What is counted is what the system
   * says that the process holds, also of memory that it shares with others. @default any amount
   */
  readonly maxMemoryPerChild?: number | undefined;
  /** Where a call stands in a trace, unless it says so itself; asked at each call, in the caller's context. */
  readonly traceContext?: (() => string | undefined) | undefined;
  /** What workers are called, in front of their number. @default "PoolWorker" */
  readonly name?: string | undefined;
  /** How workers come to be. @default getStartMethod() */
  readonly startMethod?: ProcessOptions["startMethod"];
  /** Variables added to the workers' environment. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /**
   * Flags for the workers' interpreter, in place of those of this process. @default the same flags; when a program on Node is being
   * debugged, its workers can be too, each at a free port, which it names on standard error
   */
  readonly execArgv?: readonly string[] | undefined;
  /** What Deno workers may do; never more than this process. @default "inherit" */
  readonly permissions?: Permissions | undefined;
  /**
   * What becomes of what workers write to their standard streams. Lines of several workers never mix, and what a worker wrote
   * before it ended is not lost.
   *
   * - By default, standard output is that of this process. Standard error is read, passed on as it is, and the last of it
   *   is in `WorkerLostError.stderr`; workers see a pipe there, not a terminal.
   * - `"prefix"`: every line has its worker's name in front of it, as in `[PoolWorker-1] text`.
   * - a function gets every line instead; what it throws is an uncaught error.
   * - `"inherit"`: both streams are those of this process, and nobody reads them.
   *
   * What has not arrived when a program calls `Deno.exit()` before its pool has ended is lost, except with `"inherit"`.
   */
  readonly output?: PoolOutput | undefined;
  /** How long, in milliseconds, a task that is given up may go on before its worker is killed. @default 500 */
  readonly gracePeriod?: number | undefined;
}

/**
 * How a task is done.
 *
 * @example A limit that is kept, and another attempt for a worker that dies
 * ```ts
 * import { inline } from "@multiproc/core";
 * import { Pool, type TaskOptions } from "@multiproc/pool";
 *
 * const options: TaskOptions = { timeout: 10_000, retries: 1 };
 * const pool = new Pool({ processes: 1 });
 * console.log(await pool.apply(inline((x: number) => x + 1), [1], options)); // 2
 * await pool.terminate();
 * ```
 */
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
  /**
   * Where the call stands in a trace, such as the value of a W3C `traceparent` header: the task finds it in
   * `currentTask().traceContext`.
   */
  readonly traceContext?: string | undefined;
}

/**
 * How a map is done.
 *
 * @example Each input with an outcome of its own
 * ```ts
 * import { inline } from "@multiproc/core";
 * import { Pool } from "@multiproc/pool";
 *
 * const pool = new Pool({ processes: 1 });
 * const outcomes = await pool.map(inline((x: number) => x + 1), [1, 2], { settle: true, chunkSize: 1 });
 * console.log(outcomes.map(({ status }) => status).join(" ")); // fulfilled fulfilled
 * await pool.terminate();
 * ```
 */
export interface MapOptions extends TaskOptions {
  /**
   * How many inputs travel together. @default so many that each worker gets about four chunks, at most 2048, and, as far as it is
   * known how long one takes, no more than 20 milliseconds of work; a worker that runs out of work takes over half of another's
   */
  readonly chunkSize?: number | undefined;
  /**
   * Whether every input has an outcome of its own, as `Promise.allSettled()` tells it, and none fails the map. With a `timeout`,
   * each input travels alone then. @default false
   */
  readonly settle?: boolean | undefined;
  /** Called when inputs are done, in the caller's context; see `progressBar()`. What it throws fails the map. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/**
 * How an `imap` is done.
 *
 * @example At most four inputs ahead
 * ```ts
 * import { inline } from "@multiproc/core";
 * import { type ImapOptions, Pool } from "@multiproc/pool";
 *
 * const options: ImapOptions = { bufferSize: 4 };
 * const pool = new Pool({ processes: 1 });
 * for await (const y of pool.imap(inline((x: number) => x + 1), [1, 2], options)) console.log(y); // 2, 3
 * await pool.terminate();
 * ```
 */
export interface ImapOptions extends TaskOptions {
  /** How many inputs travel together. @default 1, or more when they take but microseconds */
  readonly chunkSize?: number | undefined;
  /** How many inputs may be read ahead of the results that were taken. @default four chunks for each worker */
  readonly bufferSize?: number | undefined;
}

/**
 * How far a call is.
 *
 * @example How far a map has come
 * ```ts
 * import { inline } from "@multiproc/core";
 * import { Pool, type Progress } from "@multiproc/pool";
 *
 * let last: Progress | undefined;
 * const pool = new Pool({ processes: 1 });
 * await pool.map(inline((x: number) => x), [1, 2, 3], { onProgress: (progress) => void (last = progress) });
 * console.log(last?.done, last?.total); // 3 3
 * await pool.terminate();
 * ```
 */
export interface Progress {
  /** How many inputs are done. */
  readonly done: number;
  /** How many there are: 1 for `apply()`, and 0 as long as a map reads its inputs. */
  readonly total: number;
  /** How long it has been under way, in milliseconds. */
  readonly elapsed: number;
  /** How many inputs are done in a second, on average. */
  readonly rate: number;
  /** How long the rest will take at that rate, in milliseconds. */
  readonly timeLeft: number;
}

/** Inputs of a map: all at once, or as they come. */
export type Inputs<T> = Iterable<T> | AsyncIterable<T>;

/**
 * A line that a worker has written.
 *
 * @example Lines of workers, as the program wants them
 * ```ts
 * import { inline } from "@multiproc/core";
 * import { type OutputLine, Pool } from "@multiproc/pool";
 *
 * const lines: string[] = [];
 * const output = ({ worker, text }: OutputLine) => void lines.push(`${worker}: ${text}`);
 * const pool = new Pool({ processes: 1, output });
 * await pool.apply(inline(() => console.log("hello")));
 * await pool.terminate();
 * console.log(lines.join()); // PoolWorker-1: hello
 * ```
 */
export interface OutputLine {
  /** The worker's name. */
  readonly worker: string;
  /** Its process id; 0 as long as it is being started. */
  readonly pid: number;
  /** Where it was written to. */
  readonly stream: "stdout" | "stderr";
  /** The line, without its end. */
  readonly text: string;
}

/** What becomes of what workers write; see {@link PoolOptions.output}. */
export type PoolOutput = "inherit" | "prefix" | ((line: OutputLine) => void);

/**
 * What a pool is doing.
 *
 * @example What a pool has done
 * ```ts
 * import { inline } from "@multiproc/core";
 * import { Pool, type PoolStats } from "@multiproc/pool";
 *
 * const pool = new Pool({ processes: 1 });
 * await pool.apply(inline(() => 1));
 * const { completed, failed }: PoolStats = pool.stats();
 * console.log(completed, failed); // 1 0
 * await pool.terminate();
 * ```
 */
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

/** Refuses options of a pool that make no sense. */
// biome-ignore lint/suspicious/noExplicitAny: of any initializer
export function checkPool(options: PoolOptions<any>, processes: number): void {
  const { maxTasksPerChild, maxMemoryPerChild, gracePeriod, initializer, finalizer, initArgs = [] } = options;
  const { name = "", output } = options;
  checkCount("Pool with processes", processes, 1);
  if (maxTasksPerChild !== undefined) checkCount("Pool with maxTasksPerChild", maxTasksPerChild, 1);
  if (maxMemoryPerChild !== undefined) checkCount("Pool with maxMemoryPerChild", maxMemoryPerChild, 1);
  checkTimeout("Pool with gracePeriod", gracePeriod);
  if (initializer !== undefined) requireTarget(initializer as AnyFunction, "Pool with an initializer");
  if (finalizer !== undefined) requireTarget(finalizer, "Pool with a finalizer");
  if (!Array.isArray(initArgs)) throw new TypeError(`Pool takes initArgs as an array, not ${typeof initArgs}`);
  if (output !== undefined && output !== "inherit" && output !== "prefix" && typeof output !== "function") {
    throw new TypeError(`Pool takes "inherit", "prefix" or a function as its output, not ${JSON.stringify(output)}`);
  }
  if (typeof name !== "string") throw new TypeError(`Pool takes a string as its name, not ${typeof name}`);
}

/** Refuses options of a call that make no sense. */
export function checkOptions(call: string, options: MapOptions & ImapOptions): void {
  checkTimeout(call, options.timeout);
  const { traceContext } = options;
  if (traceContext !== undefined && typeof traceContext !== "string") {
    throw new TypeError(`${call} takes a string as its traceContext, not ${typeof traceContext}`);
  }
  for (const name of ["chunkSize", "bufferSize"] as const) {
    if (options[name] !== undefined) checkCount(`${call} with ${name}`, options[name], 1);
  }
  if (options.retries !== undefined) checkCount(`${call} with retries`, options.retries, 0);
}

/** Refuses what is no whole number, or too small. */
export function checkCount(subject: string, count: number, min: number): void {
  if (!Number.isInteger(count) || count < min) {
    throw new RangeError(`${subject} takes a whole number of at least ${min}, not ${String(count)}`);
  }
}
