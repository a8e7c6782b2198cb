/** The public types of pools and of their calls: options, inputs, and what callbacks receive. */
import type { Permissions } from "@multiproc/core";
import type { ProcessOptions } from "@multiproc/process";

/**
 * Options of a `Pool`, apart from those of its initializer; see {@link PoolOptions}.
 *
 * @example Replace workers that may leak memory
 * ```ts
 * import { Pool, type PoolSettings } from "@multiproc/pool";
 *
 * const settings: PoolSettings = { processes: 2, maxTasksPerChild: 1000, maxMemoryPerChild: 2 ** 30 };
 * const pool = new Pool(settings);
 * await pool.terminate();
 * ```
 */
export interface PoolSettings {
  /** The number of workers. @default cpuCount() */
  readonly processes?: number | undefined;
  /**
   * A target that a worker calls after its last task: after `close()`, or when another worker
   * replaces it. A worker that is terminated or dies does not call it.
   */
  readonly finalizer?: (() => unknown) | undefined;
  /**
   * The number of tasks (chunks, for `map`) after which a worker is replaced.
   * @default unlimited
   */
  readonly maxTasksPerChild?: number | undefined;
  /**
   * Memory limit of a worker, in bytes. A worker that is above it after a task is replaced. The
   * limit counts the resident memory of the process, including memory that it shares with others.
   * @default unlimited
   */
  readonly maxMemoryPerChild?: number | undefined;
  /**
   * Returns the trace context of a call that has none in its options. It runs at each call, in the
   * async context of the caller.
   */
  readonly traceContext?: (() => string | undefined) | undefined;
  /** The name of the workers, before their number. @default "PoolWorker" */
  readonly name?: string | undefined;
  /** How workers are started. @default getStartMethod() */
  readonly startMethod?: ProcessOptions["startMethod"];
  /** Variables added to the environment of the workers. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /**
   * Flags for the interpreter of the workers, instead of those of this process. If a program on
   * Node is being debugged, its workers listen for a debugger too. Each worker uses a free port and
   * prints it on standard error.
   * @default the flags of this process
   */
  readonly execArgv?: readonly string[] | undefined;
  /**
   * The permissions of workers on Deno; never more than those of this process.
   * @default "inherit"
   */
  readonly permissions?: Permissions | undefined;
  /**
   * Where the output of workers goes. Lines that the pool reads and forwards never mix, and the
   * output of a worker that has ended is complete.
   *
   * - By default, workers write to the standard output of this process. The pool reads their
   *   standard error, forwards it unchanged, and keeps its end for `WorkerLostError.stderr`.
   *   Workers see a pipe there, not a terminal.
   * - `"prefix"`: every line starts with the name of its worker, as in `[PoolWorker-1] text`.
   * - A function receives every line instead. An error that it throws is an uncaught error.
   * - `"inherit"`: workers write to both streams of this process, and the pool reads neither.
   *
   * If a program calls `Deno.exit()` before its pool has ended, output that the pool has not
   * forwarded yet is lost.
   */
  readonly output?: PoolOutput | undefined;
  /**
   * How long a cancelled task may continue before its worker is killed, in milliseconds.
   * @default 500
   */
  readonly gracePeriod?: number | undefined;
}

/**
 * The initializer of a pool and its arguments. The arguments are required if the initializer has
 * required parameters.
 *
 * @typeParam I the arguments of the initializer
 *
 * @example Options that many pools share
 * ```ts
 * import { inline } from "@multiproc/core";
 * import { type InitializerOptions, Pool } from "@multiproc/pool";
 *
 * const greeter: InitializerOptions<[string]> = {
 *   initializer: inline((greeting: string) => void Object.assign(globalThis, { greeting })),
 *   initArgs: ["Hello"],
 * };
 * const pool = new Pool({ processes: 1, ...greeter });
 * await pool.terminate();
 * ```
 */
export type InitializerOptions<I extends unknown[] = unknown[]> = [] extends I
  ? {
      /**
       * A target that each worker calls before its first task. If it throws, the pool fails with
       * that error.
       */
      readonly initializer?: ((...args: I) => unknown) | undefined;
      /** The arguments of the initializer. @default [] */
      readonly initArgs?: I | undefined;
    }
  : {
      /**
       * A target that each worker calls before its first task. If it throws, the pool fails with
       * that error.
       */
      readonly initializer: (...args: I) => unknown;
      /** The arguments of the initializer. */
      readonly initArgs: I;
    };

/**
 * Options of a `Pool`.
 *
 * @typeParam I the arguments of the initializer
 *
 * @example Two workers with an initializer, each replaced after 100 tasks
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
export type PoolOptions<I extends unknown[] = unknown[]> = PoolSettings & InitializerOptions<I>;

/**
 * Options of a call.
 *
 * @example A timeout, and one retry if the worker dies
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
   * How long the task may run, in milliseconds, before it is cancelled as by `cancel()`. In `map()`
   * and `imap()`, how long each input may take.
   * @default unlimited
   */
  readonly timeout?: number | undefined;
  /** Cancels the call when it is aborted, as `cancel()` does. */
  readonly signal?: AbortSignal | undefined;
  /** How often the task is retried after its worker died. @default 0 */
  readonly retries?: number | undefined;
  /**
   * The position of the call in a trace, such as the value of a W3C `traceparent` header. The task
   * finds it in `currentTask().traceContext`.
   */
  readonly traceContext?: string | undefined;
}

/**
 * The arguments of `Pool.apply()` after the function. The arguments of the function are required if
 * it has required parameters.
 *
 * @typeParam A the parameters of the function
 *
 * @example A wrapper of apply()
 * ```ts
 * import { type AsyncResult, type CallArguments, Pool } from "@multiproc/pool";
 * import { inline } from "@multiproc/core";
 *
 * const pool = new Pool({ processes: 1 });
 * const run = <A extends unknown[], R>(fn: (...args: A) => R, ...rest: CallArguments<A>): AsyncResult<Awaited<R>> =>
 *   pool.apply(fn, ...rest);
 * console.log(await run(inline((x: number) => x + 1), [1])); // 2
 * await pool.terminate();
 * ```
 */
export type CallArguments<A extends unknown[]> = [] extends A
  ? [args?: [...A], options?: TaskOptions]
  : [args: [...A], options?: TaskOptions];

/**
 * Inputs of a map: an iterable, or an async iterable.
 *
 * @typeParam T one input
 *
 * @example A function that takes any inputs
 * ```ts
 * import type { Inputs } from "@multiproc/pool";
 *
 * const isAsync = (inputs: Inputs<number>) => Symbol.asyncIterator in inputs;
 * console.log(isAsync([1, 2]), isAsync(new Set([1]))); // false false
 * ```
 */
export type Inputs<T> = Iterable<T> | AsyncIterable<T>;

/**
 * Inputs of `Pool.starmap()`: one list of arguments for each call.
 *
 * A list of known length (a tuple, a literal, or an array marked `as const`) must fit the
 * parameters one by one. A list of unknown length, such as `number[]`, must fit every parameter of
 * the function.
 *
 * @typeParam A the parameters of the function
 * @typeParam X one list of arguments
 *
 * @example Lists that map() makes
 * ```ts
 * import { inline } from "@multiproc/core";
 * import { type ArgumentLists, Pool } from "@multiproc/pool";
 *
 * const pairs: ArgumentLists<[number, number], number[]> = [1, 2, 3].map((i) => [i, i + 1]);
 * const pool = new Pool({ processes: 1 });
 * console.log(await pool.starmap(inline((a: number, b: number) => a + b), pairs)); // [ 3, 5, 7 ]
 * await pool.terminate();
 * ```
 */
export type ArgumentLists<A extends readonly unknown[], X> = [
  // The members of the union `X` that are not arguments for the parameters `A`.
  X extends readonly unknown[]
    ? X extends
        | Readonly<A>
        | (number extends X["length"]
            ? // A value that every parameter accepts has the intersection of their types.
              readonly ({ [K in keyof A]: (value: A[K]) => void }[number] extends (value: infer V) => void
                ? V
                : never)[]
            : never)
      ? never
      : X
    : X,
] extends [never]
  ? Inputs<X>
  : Inputs<A>;

/**
 * Options of a map.
 *
 * @example A result or an error for each input
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
   * The number of inputs in a chunk: a batch that one worker receives as one task. By default, each
   * worker gets about four chunks. A chunk has at most 2048 inputs and, once the duration of an
   * input is known, at most 20 milliseconds of work. A worker without work steals half of another
   * worker's chunk.
   */
  readonly chunkSize?: number | undefined;
  /**
   * Whether every input settles on its own, as in `Promise.allSettled()`, and none fails the map.
   * With a `timeout`, each input is then a task of its own.
   * @default false
   */
  readonly settle?: boolean | undefined;
  /**
   * Called when inputs are done, in the async context of the caller; see `progressBar()`. An error
   * that it throws fails the map.
   */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/**
 * Options of an `imap`.
 *
 * @example Read at most four inputs ahead
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
  /**
   * The number of inputs in a chunk.
   * @default 1, or more if an input takes less than 0.1 ms and the inputs are not async
   */
  readonly chunkSize?: number | undefined;
  /**
   * The limit of back-pressure: how many inputs may be read ahead of the results that the loop has
   * taken.
   * @default four chunks for each worker
   */
  readonly bufferSize?: number | undefined;
}

/**
 * The progress of a call.
 *
 * @example The progress at the end of a map
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
  /** The number of inputs that are done. */
  readonly done: number;
  /** The number of inputs: 1 for `apply()`, and 0 while a map still reads its inputs. */
  readonly total: number;
  /** Time since the call, in milliseconds. */
  readonly elapsed: number;
  /** Average number of inputs done per second. */
  readonly rate: number;
  /** Estimated time for the remaining inputs at that rate, in milliseconds. */
  readonly timeLeft: number;
}

/**
 * A line that a worker has written.
 *
 * @example Collect the lines of all workers
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
  /** The name of the worker. */
  readonly worker: string;
  /** The process id of the worker; 0 while it is starting. */
  readonly pid: number;
  /** The stream that the worker wrote to. */
  readonly stream: "stdout" | "stderr";
  /** The line, without its end. */
  readonly text: string;
}

/** Where the output of workers goes; see {@link PoolSettings.output}. */
export type PoolOutput = "inherit" | "prefix" | ((line: OutputLine) => void);

/**
 * Counts of the workers and tasks of a pool.
 *
 * @example Count completed tasks
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
  /** Tasks that are in flight: sent to a worker, and without a result. */
  readonly running: number;
  /** Tasks that succeeded. */
  readonly completed: number;
  /** Tasks that failed or were cancelled. */
  readonly failed: number;
  /** Workers that died while they had a task. */
  readonly lost: number;
}
