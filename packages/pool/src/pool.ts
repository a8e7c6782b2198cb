import { type AnyFunction, cpuCount, type WaitOptions } from "@multiproc/core";
import { assertMayStart, encodeMessage, host, MAX_TIMER_MS, withTimeoutOrThrow } from "@multiproc/core/internal";
import { captureContext } from "./async-context.ts";
import { ProcessWorker, type WorkerFactory } from "./dispatch/worker-backend.ts";
import { WorkerManager } from "./dispatch/worker-manager.ts";
import { PoolClosedError } from "./errors.ts";
import { FunctionTable, type KnownFunction } from "./functions/function-table.ts";
import { ActiveJobs } from "./jobs/active-jobs.ts";
import { ApplyJob } from "./jobs/apply-job.ts";
import { ImapJob } from "./jobs/imap-job.ts";
import { checkArgumentLists, checkInputs, readAll } from "./jobs/inputs.ts";
import type { WorkTraits } from "./jobs/job.ts";
import { chunkSizeFor, MapJob } from "./jobs/map-job.ts";
import type { AsyncResult } from "./jobs/result.ts";
import {
  checkOptions,
  checkPool,
  type ImapOptions,
  type Inputs,
  type MapOptions,
  type PoolOptions,
  type PoolStats,
  type TaskOptions,
} from "./options.ts";

const NO_ARGS: readonly unknown[] = Object.freeze([]);
const NO_OPTIONS: TaskOptions = Object.freeze({});

/**
 * Worker processes that do tasks.
 *
 * The workers are started when the pool is made. One that dies fails the one task that it was running; its other tasks go to
 * others, and another worker takes its place. A pool does not keep a program alive, its work does.
 *
 * @typeParam I the arguments of the initializer
 *
 * @example Squares, on all CPUs
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
 * const pool = new Pool({ processes: 2 });
 * console.log(await pool.apply(square, [7])); // 49
 * console.log(await pool.map(square, [1, 2, 3])); // [ 1, 4, 9 ]
 * for await (const result of pool.imap(square, [4, 5])) console.log(result); // 16, 25
 * pool.close();
 * await pool.join();
 * ```
 */
export class Pool<I extends unknown[] = unknown[]> {
  readonly #workerCount: number;
  readonly #workers: WorkerManager;
  readonly #functions: FunctionTable = new FunctionTable();
  #state: "open" | "closed" | "terminated" | "broken" = "open";
  /** Why the pool is broken. */
  #brokenReason: unknown;
  readonly #jobs: ActiveJobs;
  #joinWaiters: Array<() => void> = [];
  /** Lets the program end. */
  #releaseKeepAlive: (() => void) | undefined;
  readonly #traceContext: (() => string | undefined) | undefined;

  /**
   * Makes a pool, and begins to start its workers.
   *
   * @param options how many workers it has, and how they are started
   * @throws {RangeError} for a number of workers or tasks that is no whole number from 1
   * @throws {TargetError} if workers could not find the initializer
   * @throws {SendError} if an argument of the initializer cannot be sent
   */
  constructor(options: PoolOptions<I> = {}) {
    const { processes = cpuCount(), maxTasksPerChild, gracePeriod = 500 } = options;
    checkPool(options, processes);
    const { name = "PoolWorker", env, execArgv = host.debugFlags(), permissions, startMethod } = options;
    const output = typeof options.output === "function" ? host.bindAsyncContext(options.output) : options.output;
    const { initializer, initArgs = [], finalizer, maxMemoryPerChild: maxMemory } = options;
    const init = { initializer, initArgs, finalizer, maxMemory };
    // Each worker is sent its own copy; this one only finds out whether that can be done.
    encodeMessage(init, "Pool");
    this.#workerCount = processes;
    this.#traceContext = options.traceContext;
    this.#workers = new WorkerManager({
      processes,
      maxTasksPerChild,
      gracePeriod,
      workerOptions: { name, env, execArgv, permissions, startMethod, output },
      createWorker: this.workerFactory,
      init,
      onBroken: (reason) => this.#markBroken(reason),
      onChange: () => this.#update(),
    });
    this.#jobs = new ActiveJobs(this.#workers, () => this.#update());
  }

  /**
   * Calls a function in a worker.
   *
   * The arguments are read at the call; large binary ones (64 KiB and more) are not copied, and must stay as they are until the
   * result is there.
   *
   * @param fn a target: see `task()`, `fromModule()` and `inline()`
   * @param args its arguments
   * @param options how long it may run, and what ends it
   * @throws {TargetError} if a worker could not find the function
   * @throws {SendError} if an argument cannot be sent
   * @throws {PoolClosedError} after `close()` or `terminate()`
   * @throws {ProcessError} (rejects) if a module calls it while a child imports that module
   */
  apply<A extends unknown[], R>(
    fn: (...args: A) => R,
    args: A = NO_ARGS as unknown[] as A,
    options: TaskOptions = NO_OPTIONS,
  ): AsyncResult<Awaited<R>> {
    const known = this.#checkCall("apply()", fn, options);
    if (!Array.isArray(args)) throw new TypeError(`apply() takes the arguments as an array, not ${typeof args}`);
    const job = new ApplyJob(known);
    known.encode(job, args);
    const traits = this.#traits(options);
    const { signal } = options;
    if (signal?.aborted) job.cancel(signal.reason);
    else {
      this.#jobs.count++;
      job.begin(signal === undefined ? this.#jobs.services : this.#jobs.trackSignal(signal, () => job), traits);
    }
    return job.promise as AsyncResult<Awaited<R>>;
  }

  /**
   * Calls a function for each input, and tells how each of them ended, in the order of the inputs.
   *
   * @param fn a target that takes one input
   * @param inputs read to their end before the work begins
   * @param options with `settle`; how inputs are sent, how long each may take, and what ends it all
   * @throws as {@link Pool.apply}, and what the inputs throw
   */
  map<T, R>(
    fn: (input: T) => R,
    inputs: Inputs<T>,
    options: MapOptions & { readonly settle: true },
  ): AsyncResult<PromiseSettledResult<Awaited<R>>[]>;
  /**
   * Calls a function for each input; the results are in the order of the inputs. It fails with the first error; inputs that
   * have not been begun then are dropped.
   *
   * @param fn a target that takes one input
   * @param inputs read to their end before the work begins
   * @param options how inputs are sent, how long each may take, and what ends it all
   * @throws as {@link Pool.apply}, and what the inputs throw
   */
  map<T, R>(fn: (input: T) => R, inputs: Inputs<T>, options?: MapOptions): AsyncResult<Awaited<R>[]>;
  // biome-ignore lint/suspicious/noExplicitAny: what the overloads say
  map(fn: AnyFunction, inputs: Inputs<unknown>, options: MapOptions = {}): AsyncResult<any> {
    return this.#map("map()", fn, false, inputs, options);
  }

  /**
   * Calls a function for each input, which is a list of arguments, and tells how each of them ended; else as {@link Pool.map}.
   *
   * @param fn a target
   * @param inputs lists of arguments
   * @param options with `settle`; how inputs are sent, how long each may take, and what ends it all
   * @throws as {@link Pool.apply}, and what the inputs throw
   */
  starmap<A extends unknown[], R>(
    fn: (...args: A) => R,
    inputs: Inputs<A>,
    options: MapOptions & { readonly settle: true },
  ): AsyncResult<PromiseSettledResult<Awaited<R>>[]>;
  /**
   * Calls a function for each input, which is a list of arguments; else as {@link Pool.map}.
   *
   * @param fn a target
   * @param inputs lists of arguments
   * @param options how inputs are sent, how long each may take, and what ends it all
   * @throws as {@link Pool.apply}, and what the inputs throw
   */
  starmap<A extends unknown[], R>(
    fn: (...args: A) => R,
    inputs: Inputs<A>,
    options?: MapOptions,
  ): AsyncResult<Awaited<R>[]>;
  // biome-ignore lint/suspicious/noExplicitAny: what the overloads say
  starmap(fn: AnyFunction, inputs: Inputs<unknown[]>, options: MapOptions = {}): AsyncResult<any> {
    return this.#map("starmap()", fn, true, inputs, options);
  }

  /**
   * Calls a function for each input, and gives the results in the order of the inputs while more are computed. Inputs are read
   * only as results are taken; leaving the loop gives up what is not done. The first error ends it.
   *
   * @param fn a target that takes one input
   * @param inputs read as results are taken
   * @param options how inputs are sent, how long each may take, and how many are read ahead
   * @throws as {@link Pool.apply}
   */
  imap<T, R>(
    fn: (input: T) => R,
    inputs: Inputs<T>,
    options: ImapOptions = {},
  ): AsyncGenerator<Awaited<R>, void, undefined> {
    return this.#imap("imap()", fn, inputs, options, true);
  }

  /**
   * As {@link Pool.imap}, but gives each result as soon as it is there.
   *
   * @param fn a target that takes one input
   * @param inputs read as results are taken
   * @param options how inputs are sent, how long each may take, and how many are read ahead
   * @throws as {@link Pool.apply}
   */
  imapUnordered<T, R>(
    fn: (input: T) => R,
    inputs: Inputs<T>,
    options: ImapOptions = {},
  ): AsyncGenerator<Awaited<R>, void, undefined> {
    return this.#imap("imapUnordered()", fn, inputs, options, false);
  }

  /** Takes no more work; the workers end when what there is has been done. */
  close(): void {
    if (this.#state === "open") this.#state = "closed";
    this.#update();
  }

  /** Ends the workers at once; work that is not done fails with {@link PoolClosedError}. Settles when they are gone. */
  async terminate(): Promise<void> {
    if (this.#state !== "broken") this.#state = "terminated";
    const reason = new PoolClosedError("The pool was terminated before the task was done");
    this.#jobs.cancelAll(reason);
    this.#workers.terminate(reason);
    await this.join();
  }

  /**
   * Waits until all work is done and the workers have ended. Work that `imap()` has not read yet is done as its results are
   * taken.
   *
   * @param options how long to wait, and what ends the wait
   * @throws {PoolClosedError} before `close()` or `terminate()`: it would wait forever
   * @throws {TimeoutError} when the time runs out
   */
  async join(options: WaitOptions = {}): Promise<void> {
    if (this.#state === "open") {
      throw new PoolClosedError("join() was called on a pool that is open: call close() or terminate() first");
    }
    if (this.#workers.size === 0 && this.#jobs.count === 0) return;
    let joined = (): void => {};
    const ended = new Promise<void>((resolve) => {
      joined = resolve;
      this.#joinWaiters.push(joined);
    });
    this.#update();
    try {
      await withTimeoutOrThrow(ended, "join()", options);
    } finally {
      this.#joinWaiters = this.#joinWaiters.filter((resolve) => resolve !== joined);
      this.#update();
    }
  }

  /** What the pool is doing. */
  stats(): PoolStats {
    const { workers, running } = this.#workers.state;
    return { workers, waiting: this.#workers.queuedCount, running, ...this.#workers.counts };
  }

  /** Terminates the pool, as leaving Python's `with` block does: what is not done is given up. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.terminate();
  }

  /**
   * What workers run in.
   *
   * @internal
   */
  protected get workerFactory(): WorkerFactory {
    return (options) => new ProcessWorker(options);
  }

  #map(
    call: string,
    fn: AnyFunction,
    isStar: boolean,
    inputs: Inputs<unknown>,
    options: MapOptions,
  ): AsyncResult<unknown[]> {
    const known = this.#checkCall(call, fn, options);
    checkInputs(call, inputs);
    const job: MapJob = new MapJob(
      call,
      this.#jobs.trackJob(() => job, options),
      {
        isSettling: options.settle === true,
        onProgress: options.onProgress && host.bindAsyncContext(options.onProgress),
      },
    );
    const traits = this.#traits(options);
    const begin = (list: readonly unknown[]): void => {
      if (isStar) checkArgumentLists(list);
      const chunkSize = chunkSizeFor(list.length, this.#workerCount, known, options);
      this.#assertUsable(call);
      job.begin({ fn: known, inputs: list, chunkSize, isStar, traits });
    };
    const list = readAll(inputs, () => job.isPending);
    this.#jobs.add(job, options);
    if (list instanceof Promise) list.then(begin).catch((error) => job.cancel(error));
    else this.#beginNow(job, () => begin(list));
    return job.promise;
  }

  #imap<R>(
    call: string,
    fn: AnyFunction,
    inputs: Inputs<unknown>,
    options: ImapOptions,
    isOrdered: boolean,
  ): AsyncGenerator<R, void, undefined> {
    const known = this.#checkCall(call, fn, options);
    checkInputs(call, inputs);
    const { chunkSize, bufferSize } = options;
    const traits = this.#traits(options);
    const spec = { call, fn: known, inputs, isOrdered, workers: this.#workerCount, chunkSize, bufferSize, traits };
    const job: ImapJob<R> = new ImapJob<R>(
      spec,
      this.#jobs.trackJob(() => job, options),
    );
    this.#jobs.add(job, options);
    job.begin();
    return job;
  }

  /** What is wrong with inputs that are there is told at the call. */
  #beginNow(job: MapJob, begin: () => void): void {
    try {
      begin();
    } catch (error) {
      job.cancel(error);
      throw error;
    }
  }

  /** What goes with a call besides its arguments. */
  #traits(options: TaskOptions): WorkTraits {
    const trace = options.traceContext ?? this.#traceContext?.();
    const context = captureContext(trace);
    return context === undefined ? options : { ...options, context, trace };
  }

  /** Checks what every call has in common. */
  #checkCall(call: string, fn: AnyFunction, options: MapOptions & ImapOptions): KnownFunction {
    this.#assertUsable(call);
    if (this.#workers.size === 0) assertMayStart();
    if (this.#state === "closed") throw new PoolClosedError(`${call} was called on a pool after close()`);
    if (options.timeout !== undefined || options.retries !== undefined || call !== "apply()")
      checkOptions(call, options);
    return this.#functions.getOrAdd(fn, call);
  }

  #assertUsable(call: string): void {
    if (this.#state === "broken") throw this.#brokenReason;
    if (this.#state === "terminated") throw new PoolClosedError(`${call} was called on a pool after terminate()`);
  }

  /** The pool cannot work: all that it has fails with the reason, and so does all that comes. */
  #markBroken(reason: unknown): void {
    if (this.#state === "terminated") return;
    this.#state = "broken";
    this.#brokenReason = reason;
    this.#jobs.cancelAll(reason);
  }

  /** Work under way keeps the program alive, and so does who waits for the end; a pool alone does not. */
  #update(): void {
    const isNeeded = this.#workers.pendingCount > 0 || this.#joinWaiters.length > 0;
    if (isNeeded) this.#releaseKeepAlive ??= host.timer(() => {}, MAX_TIMER_MS, true);
    else if (this.#releaseKeepAlive !== undefined) {
      this.#releaseKeepAlive();
      this.#releaseKeepAlive = undefined;
    }
    if (this.#state === "open" || this.#jobs.count > 0) return;
    if (this.#state === "closed") this.#workers.finish();
    if (this.#workers.size === 0) for (const resolve of this.#joinWaiters.splice(0)) resolve();
  }
}
