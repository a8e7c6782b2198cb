import { type AnyFunction, cpuCount, type WaitOptions } from "@multiproc/core";
import {
  assertMayStart,
  checkWaitOptions,
  encodeMessage,
  host,
  KeepAlive,
  withTimeoutOrThrow,
} from "@multiproc/core/internal";
import { ProcessWorker, type WorkerFactory } from "./dispatch/worker-backend.ts";
import { WorkerManager } from "./dispatch/worker-manager.ts";
import { closedError, openError, PoolClosedError, terminatedError } from "./errors.ts";
import { FunctionTable, type KnownFunction } from "./functions/function-table.ts";
import { ActiveJobs } from "./jobs/active-jobs.ts";
import { ApplyJob } from "./jobs/apply-job.ts";
import { ImapJob, RefusedImap } from "./jobs/imap-job.ts";
import { checkArgumentLists, checkArguments, checkInputs, readAll } from "./jobs/inputs.ts";
import { traitsOf } from "./jobs/job.ts";
import { chunkSizeFor, MapJob } from "./jobs/map-job.ts";
import { type AsyncResult, refusedResult } from "./jobs/result.ts";
import { type CallName, checkCallOptions, checkPoolOptions } from "./option-checks.ts";
import type {
  ArgumentLists,
  CallArguments,
  ImapOptions,
  Inputs,
  MapOptions,
  PoolOptions,
  PoolStats,
  TaskOptions,
} from "./options.ts";

const NO_ARGS: readonly unknown[] = Object.freeze([]);
const NO_OPTIONS: TaskOptions = Object.freeze({});
const DEFAULT_GRACE_PERIOD_MS = 500;

/**
 * A pool of worker processes that run tasks.
 *
 * The workers start when the pool is created. A worker that dies fails only the task that it was
 * running, and a new worker replaces it. A pool does not keep a program alive; its work does.
 *
 * A call never throws: its promise, or the first `next()` of its iterator, rejects for every
 * mistake in the arguments and after `close()` and `terminate()`.
 *
 * @typeParam I the arguments of the initializer
 *
 * @example Squares, in two processes
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
 * const pool = new Pool(2);
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
  /** The error that broke the pool. */
  #brokenReason: unknown;
  readonly #jobs: ActiveJobs;
  #joinWaiters: Array<() => void> = [];
  readonly #keepAlive: KeepAlive = new KeepAlive();
  readonly #traceContext: (() => string | undefined) | undefined;

  /**
   * Creates a pool and starts its workers.
   *
   * @param options the number of workers, or an object with options
   * @throws {TypeError} for an unknown option, or one of the wrong type
   * @throws {RangeError} for a number of workers or tasks that is not a whole number of at least 1
   * @throws {TargetError} if workers cannot find the initializer
   * @throws {SendError} if an argument of the initializer cannot be sent
   */
  constructor(options: number | PoolOptions<I> = {} as PoolOptions<I>) {
    const settings = (typeof options === "number" ? { processes: options } : options) as PoolOptions<I>;
    checkPoolOptions("new Pool()", settings);
    const { processes = cpuCount(), maxTasksPerChild, gracePeriod = DEFAULT_GRACE_PERIOD_MS } = settings;
    const { name = "PoolWorker", env, execArgv = host.debugFlags(), permissions, startMethod } = settings;
    const output = typeof settings.output === "function" ? host.bindAsyncContext(settings.output) : settings.output;
    const { initializer, initArgs = [], finalizer, maxMemoryPerChild: maxMemoryBytes } = settings;
    const init = { initializer, initArgs, finalizer, maxMemoryBytes };
    // Checks that the arguments can be sent. Each worker gets a message of its own.
    encodeMessage(init, "Pool");
    this.#workerCount = processes;
    this.#traceContext = settings.traceContext;
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
   * The arguments are serialized at the call. Binary arguments of 64 KiB and more are not copied:
   * do not change them before the result is there.
   *
   * @param fn a target: see `task()`, `fromModule()` and `inline()`
   * @param rest the arguments of the function, as an array, and options
   * @returns a promise of the result. It rejects with the error of the task, with `WorkerLostError`
   * if its worker dies, with `TargetError` if workers cannot find the function, with `SendError` if
   * an argument cannot be sent, and with {@link PoolClosedError} after `close()` or `terminate()`.
   * In a module that a worker is importing, it rejects with `ProcessError`.
   */
  apply<A extends unknown[] | [], R>(fn: (...args: A) => R, ...rest: CallArguments<A>): AsyncResult<Awaited<R>>;
  // biome-ignore lint/suspicious/noExplicitAny: the overload has the types
  apply(fn: AnyFunction, args: readonly unknown[] = NO_ARGS, options: TaskOptions = NO_OPTIONS): AsyncResult<any> {
    try {
      const known = this.#checkCall("apply()", fn, options);
      checkArguments(args);
      const job = new ApplyJob(known);
      known.encode(job, args);
      const traits = traitsOf(options, this.#traceContext);
      const { signal } = options;
      if (signal?.aborted) job.cancel(signal.reason);
      else {
        this.#jobs.count++;
        job.begin(signal ? this.#jobs.servicesWithSignal(job, signal) : this.#jobs.services, traits);
      }
      return job.promise;
    } catch (error) {
      return refusedResult(error);
    }
  }

  /**
   * Calls a function for each input, and reports for each whether it succeeded, in the order of the
   * inputs.
   *
   * @param fn a target that takes one input
   * @param inputs an iterable; it is read to its end before the work begins
   * @param options with `settle: true`; chunk size, timeout for each input, retries, signal,
   * progress
   * @returns a promise that rejects as that of {@link Pool.apply}, and with an error of the
   * iterable
   */
  map<T, R>(
    fn: (input: T) => R,
    inputs: Inputs<T>,
    options: MapOptions & { readonly settle: true },
  ): AsyncResult<PromiseSettledResult<Awaited<R>>[]>;
  /**
   * Calls a function for each input. The results are in the order of the inputs. The first error
   * rejects the result and cancels all inputs that have not begun.
   *
   * @param fn a target that takes one input
   * @param inputs an iterable; it is read to its end before the work begins
   * @param options chunk size, timeout for each input, retries, signal, progress
   * @returns a promise that rejects as that of {@link Pool.apply}, and with an error of the
   * iterable
   */
  map<T, R>(fn: (input: T) => R, inputs: Inputs<T>, options?: MapOptions): AsyncResult<Awaited<R>[]>;
  // biome-ignore lint/suspicious/noExplicitAny: the overloads have the types
  map(fn: AnyFunction, inputs: Inputs<unknown>, options: MapOptions = NO_OPTIONS): AsyncResult<any> {
    return this.#map("map()", fn, inputs, options);
  }

  /**
   * Calls a function for each input, a list of arguments, and reports for each whether it
   * succeeded. Otherwise like {@link Pool.map}.
   *
   * @param fn a target
   * @param inputs an iterable of lists of arguments
   * @param options with `settle: true`; chunk size, timeout for each input, retries, signal,
   * progress
   * @returns a promise as of {@link Pool.map}
   */
  starmap<A extends unknown[] | [], R, const X extends readonly unknown[]>(
    fn: (...args: A) => R,
    inputs: ArgumentLists<A, X>,
    options: MapOptions & { readonly settle: true },
  ): AsyncResult<PromiseSettledResult<Awaited<R>>[]>;
  /**
   * Calls a function for each input, which is a list of arguments. Otherwise like {@link Pool.map}.
   *
   * @param fn a target
   * @param inputs an iterable of lists of arguments
   * @param options chunk size, timeout for each input, retries, signal, progress
   * @returns a promise as of {@link Pool.map}
   */
  starmap<A extends unknown[] | [], R, const X extends readonly unknown[]>(
    fn: (...args: A) => R,
    inputs: ArgumentLists<A, X>,
    options?: MapOptions,
  ): AsyncResult<Awaited<R>[]>;
  // biome-ignore lint/suspicious/noExplicitAny: the overloads have the types
  starmap(fn: AnyFunction, inputs: Inputs<unknown>, options: MapOptions = NO_OPTIONS): AsyncResult<any> {
    return this.#map("starmap()", fn, inputs, options);
  }

  /**
   * Calls a function for each input, and yields the results in the order of the inputs, while
   * workers compute more. Back-pressure: inputs are read only as results are taken. Leaving the
   * loop cancels the remaining work. The first error ends the loop.
   *
   * @param fn a target that takes one input
   * @param inputs an iterable; it is read as results are taken
   * @param options chunk size, buffer size, timeout for each input, retries, signal
   * @returns an async iterator. Its `next()` rejects where the promise of {@link Pool.apply} would.
   */
  imap<T, R>(
    fn: (input: T) => R,
    inputs: Inputs<T>,
    options: ImapOptions = NO_OPTIONS,
  ): AsyncGenerator<Awaited<R>, void, undefined> {
    return this.#imap("imap()", fn, inputs, options);
  }

  /**
   * Calls a function for each input like {@link Pool.imap}, and yields each result as soon as it
   * arrives.
   *
   * @param fn a target that takes one input
   * @param inputs an iterable; it is read as results are taken
   * @param options chunk size, buffer size, timeout for each input, retries, signal
   * @returns an async iterator as of {@link Pool.imap}
   */
  imapUnordered<T, R>(
    fn: (input: T) => R,
    inputs: Inputs<T>,
    options: ImapOptions = NO_OPTIONS,
  ): AsyncGenerator<Awaited<R>, void, undefined> {
    return this.#imap("imapUnordered()", fn, inputs, options);
  }

  /** Closes the pool for new work. The workers end when the remaining work is done. */
  close(): void {
    if (this.#state === "open") this.#state = "closed";
    this.#update();
  }

  /**
   * Ends the workers now. Remaining work fails with {@link PoolClosedError}.
   *
   * @returns a promise that resolves when the workers have ended
   */
  async terminate(): Promise<void> {
    if (this.#state !== "broken") this.#state = "terminated";
    const reason = new PoolClosedError("The pool was terminated before the task was done");
    this.#jobs.cancelAll(reason);
    this.#workers.terminate(reason);
    await this.join();
  }

  /**
   * Waits until all work is done and the workers have ended. Inputs that `imap()` has not read yet
   * are processed as its results are taken.
   *
   * @param options limits of the wait
   * @throws {PoolClosedError} before `close()` or `terminate()`, since it would wait forever
   * @throws {TimeoutError} if the timeout expires
   */
  async join(options: WaitOptions = NO_OPTIONS): Promise<void> {
    checkWaitOptions("join()", options);
    if (this.#state === "open") throw openError();
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

  /** Returns counts of workers and tasks. */
  stats(): PoolStats {
    const { workers, running } = this.#workers.state;
    return { workers, waiting: this.#workers.queuedCount, running, ...this.#workers.counts };
  }

  /** Terminates the pool, as the end of Python's `with` block does. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.terminate();
  }

  /**
   * Creates the process, or the thread, of a worker.
   *
   * @internal
   */
  protected get workerFactory(): WorkerFactory {
    return (options) => new ProcessWorker(options);
  }

  #map(
    call: "map()" | "starmap()",
    fn: AnyFunction,
    inputs: Inputs<unknown>,
    options: MapOptions,
  ): AsyncResult<unknown[]> {
    try {
      const known = this.#checkCall(call, fn, options);
      checkInputs(call, inputs);
      const isStar = call === "starmap()";
      const { signal, settle = false, onProgress } = options;
      const services = this.#jobs.servicesOfListed(() => job);
      const settings = { isSettling: settle, onProgress: onProgress && host.bindAsyncContext(onProgress) };
      const job: MapJob = new MapJob(call, services, settings);
      const traits = traitsOf(options, this.#traceContext);
      const list = readAll(inputs, () => job.isPending);
      this.#jobs.list(job, signal);
      job.beginWith(list, (inputs) => {
        this.#assertUsable(call);
        if (isStar) checkArgumentLists(inputs);
        const chunkSize = chunkSizeFor(inputs.length, this.#workerCount, known, options);
        return { fn: known, inputs, chunkSize, isStar, traits };
      });
      return job.promise;
    } catch (error) {
      return refusedResult(error);
    }
  }

  #imap<R>(
    call: "imap()" | "imapUnordered()",
    fn: AnyFunction,
    inputs: Inputs<unknown>,
    options: ImapOptions,
  ): AsyncGenerator<R, void, undefined> {
    try {
      const known = this.#checkCall(call, fn, options);
      checkInputs(call, inputs);
      const { chunkSize, bufferSize, signal } = options;
      const traits = traitsOf(options, this.#traceContext);
      const [isOrdered, workers] = [call === "imap()", this.#workerCount];
      const spec = { call, fn: known, inputs, isOrdered, workers, chunkSize, bufferSize, traits };
      const services = this.#jobs.servicesOfListed(() => job);
      const job: ImapJob<R> = new ImapJob<R>(spec, services);
      this.#jobs.list(job, signal);
      job.begin();
      return job;
    } catch (error) {
      return new RefusedImap(error);
    }
  }

  /**
   * Checks the parts that all calls have in common: the state of the pool, the options and the
   * function.
   */
  #checkCall(call: CallName, fn: AnyFunction, options: TaskOptions): KnownFunction {
    this.#assertUsable(call);
    if (this.#workers.size === 0) assertMayStart();
    if (this.#state === "closed") throw closedError(call);
    if (options !== NO_OPTIONS) checkCallOptions(call, options);
    return this.#functions.getOrAdd(fn, call);
  }

  #assertUsable(call: string): void {
    if (this.#state === "broken") throw this.#brokenReason;
    if (this.#state === "terminated") throw terminatedError(call);
  }

  /** Fails all work, now and later, because no worker can start. */
  #markBroken(reason: unknown): void {
    if (this.#state === "terminated") return;
    this.#state = "broken";
    this.#brokenReason = reason;
    this.#jobs.cancelAll(reason);
  }

  /**
   * Keeps the program alive while tasks or calls of `join()` are pending. Once a closed pool has no
   * jobs left, stops the workers, and then resolves `join()`.
   */
  #update(): void {
    this.#keepAlive.active = this.#workers.pendingCount > 0 || this.#joinWaiters.length > 0;
    if (this.#state === "open" || this.#jobs.count > 0) return;
    if (this.#state === "closed") this.#workers.finish();
    if (this.#workers.size === 0) for (const resolve of this.#joinWaiters.splice(0)) resolve();
  }
}
