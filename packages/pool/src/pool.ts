import { type AnyFunction, cpuCount, TimeoutError } from "@multiproc/core";
import {
  checkTimeout,
  type EncodedMessage,
  encodeMessage,
  type Frame,
  host,
  requireTarget,
} from "@multiproc/core/internal";
import { PoolClosedError, WorkerLostError } from "./errors.ts";
import type { ImapOptions, MapOptions, PoolOptions, PoolStats } from "./options.ts";
import { DONE, type Way } from "./protocol.ts";
import { AsyncResult } from "./result.ts";
import { Scheduler } from "./scheduler.ts";
import { type Inputs, mapped, streamed, type TaskRunner } from "./spreading.ts";
import { Task, type TaskOptions } from "./task.ts";
import { continueStack, withCaller } from "./trace.ts";
import { WorkerLink } from "./worker-link.ts";

/** So many workers in a row that never were ready are enough to give up. */
const START_FAILURES = 3;
const FOREVER = 2 ** 30;
/** So many bytes take longer to decode than a write takes. */
const SLOW_TO_DECODE = 16 * 1024;

/**
 * Worker processes that do tasks.
 *
 * A worker that dies fails the one task that it was running; its other tasks go to others, and another worker takes its place.
 * A pool does not keep a program alive, its work does.
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
  readonly #options: PoolOptions<I>;
  readonly #size: number;
  readonly #init: EncodedMessage;
  readonly #scheduler = new Scheduler<WorkerLink, Task>();
  readonly #workers = new Set<WorkerLink>();
  readonly #outstanding = new Set<Task>();
  readonly #counts = { completed: 0, failed: 0, lost: 0 };
  #state: "open" | "closed" | "terminated" = "open";
  #broken: unknown;
  #isBroken = false;
  #startFailures = 0;
  #workerCount = 0;
  #release: (() => void) | undefined;
  #joiners: Array<() => void> = [];

  /**
   * Makes a pool, and begins to start its workers.
   *
   * @param options how many workers it has, and how they are started
   * @throws {RangeError} for a number of workers or tasks that is no whole number from 1
   * @throws {TargetError} if workers could not find the initializer
   * @throws {SendError} if an argument of the initializer cannot be sent
   */
  constructor(options: PoolOptions<I> = {}) {
    this.#options = options;
    this.#size = options.processes === undefined ? cpuCount() : wholeFromOne("processes", options.processes);
    if (options.maxTasksPerChild !== undefined) wholeFromOne("maxTasksPerChild", options.maxTasksPerChild);
    checkTimeout("Pool with graceMs", options.graceMs);
    if (options.initializer !== undefined) requireTarget(options.initializer, "Pool with an initializer");
    this.#init = encodeMessage([options.initializer, options.initArgs ?? []], "initializer");
    this.#init.commit(undefined);
    for (let i = 0; i < this.#size; i++) this.#startWorker();
  }

  /**
   * Calls a function in a worker.
   *
   * @param fn a target: see `task()`, `fromModule()` and `inline()`
   * @param args its arguments
   * @throws {TargetError} if a worker could not find the function
   * @throws {SendError} if an argument cannot be sent
   * @throws {PoolClosedError} after `close()` or `terminate()`
   */
  apply<A extends unknown[], R>(
    fn: (...args: A) => R,
    args: A = [] as unknown as A,
    options: TaskOptions = {},
  ): AsyncResult<Awaited<R>> {
    const call = "apply()";
    this.#assertOpen(call);
    if (!Array.isArray(args)) throw new TypeError(`apply() takes the arguments as an array, not ${typeof args}`);
    const task = this.#submit(new Task(call, fn, "apply", args, checked(call, options)), options);
    return new AsyncResult(withCaller(task.done, new Error()) as Promise<Awaited<R>>, (reason) =>
      this.#giveUp(task, reason),
    );
  }

  /**
   * Calls a function for each input; the results are in the order of the inputs. It fails with the first error.
   *
   * @param fn a target that takes one input
   * @param inputs read to their end at once
   * @throws as {@link Pool.apply}
   */
  map<T, R>(fn: (input: T) => R, inputs: Inputs<T>, options: MapOptions = {}): AsyncResult<Awaited<R>[]> {
    return this.#map("map()", fn, "map", inputs, options);
  }

  /**
   * Calls a function for each input, which is a list of arguments; the results are in the order of the inputs.
   *
   * @param fn a target
   * @param inputs lists of arguments
   * @throws as {@link Pool.apply}
   */
  starmap<A extends unknown[], R>(
    fn: (...args: A) => R,
    inputs: Inputs<A>,
    options: MapOptions = {},
  ): AsyncResult<Awaited<R>[]> {
    return this.#map("starmap()", fn, "starmap", inputs, options);
  }

  /**
   * Calls a function for each input, and gives the results in the order of the inputs while more are computed. Inputs are read
   * only as results are taken; leaving the loop gives up what is not done.
   *
   * @param fn a target that takes one input
   * @throws as {@link Pool.apply}
   */
  imap<T, R>(
    fn: (input: T) => R,
    inputs: Inputs<T>,
    options: ImapOptions = {},
  ): AsyncGenerator<Awaited<R>, void, undefined> {
    return this.#stream("imap()", fn, inputs, options, true);
  }

  /**
   * As {@link Pool.imap}, but gives each result as soon as it is there.
   *
   * @param fn a target that takes one input
   * @throws as {@link Pool.apply}
   */
  imapUnordered<T, R>(
    fn: (input: T) => R,
    inputs: Inputs<T>,
    options: ImapOptions = {},
  ): AsyncGenerator<Awaited<R>, void, undefined> {
    return this.#stream("imapUnordered()", fn, inputs, options, false);
  }

  /** Takes no more work; the workers end when what there is has been done. */
  close(): void {
    if (this.#state === "open") this.#state = "closed";
    this.#endIfDone();
  }

  /** Ends the workers at once; work that is not done fails with {@link PoolClosedError}. Settles when they are gone. */
  async terminate(): Promise<void> {
    this.#state = "terminated";
    this.#failAll(() => new PoolClosedError("The pool was terminated before the task was done"));
    for (const worker of this.#workers) {
      worker.terminate();
      host.timer(() => worker.kill(), this.#options.graceMs ?? 500, false);
    }
    await this.join();
  }

  /**
   * Waits until all work is done and the workers have ended.
   *
   * @throws {PoolClosedError} before `close()` or `terminate()`: it would wait forever
   */
  join(): Promise<void> {
    if (this.#state === "open")
      return Promise.reject(
        new PoolClosedError("join() was called on a pool that is open: call close() or terminate() first"),
      );
    if (this.#workers.size === 0) return Promise.resolve();
    this.#keepAlive();
    return new Promise((resolve) => this.#joiners.push(resolve));
  }

  /** What the pool is doing. */
  stats(): PoolStats {
    const workers = [...this.#workers].filter((worker) => worker.isReady).length;
    return { workers, waiting: this.#scheduler.waiting, running: this.#scheduler.assigned, ...this.#counts };
  }

  /** Terminates the pool, as leaving Python's `with` block does. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.terminate();
  }

  #map<T, R>(
    call: string,
    fn: AnyFunction,
    way: Way,
    inputs: Inputs<T>,
    options: MapOptions,
  ): AsyncResult<Awaited<R>[]> {
    this.#assertOpen(call);
    requireTarget(fn, call);
    if (options.chunkSize !== undefined) wholeFromOne("chunkSize", options.chunkSize);
    const { results, giveUp } = mapped(
      inputs,
      { ...options, workers: this.#size },
      this.#runner(call, fn, way, checked(call, options)),
    );
    return new AsyncResult(withCaller(results, new Error()) as Promise<Awaited<R>[]>, giveUp);
  }

  #stream<T, R>(
    call: string,
    fn: AnyFunction,
    inputs: Inputs<T>,
    options: ImapOptions,
    isOrdered: boolean,
  ): AsyncGenerator<Awaited<R>, void, undefined> {
    this.#assertOpen(call);
    requireTarget(fn, call);
    const chunkSize = options.chunkSize === undefined ? 1 : wholeFromOne("chunkSize", options.chunkSize);
    const bufferSize =
      options.bufferSize === undefined ? chunkSize * this.#size * 2 : wholeFromOne("bufferSize", options.bufferSize);
    const runner = this.#runner(call, fn, "map", checked(call, options));
    const caller = new Error();
    const continued = (error: unknown): unknown => continueStack(error, caller);
    return streamed(inputs, { chunkSize, bufferSize, isOrdered, continued }, runner) as AsyncGenerator<
      Awaited<R>,
      void,
      undefined
    >;
  }

  #runner(call: string, fn: AnyFunction, way: Way, options: TaskOptions): TaskRunner<Task> {
    return {
      run: (inputs) => {
        this.#assertOpen(call);
        return this.#submit(new Task(call, fn, way, inputs, options), options);
      },
      giveUp: (task, reason) => this.#giveUp(task, reason),
    };
  }

  #submit(task: Task, { signal }: TaskOptions): Task {
    if (signal?.aborted) {
      task.reject(signal.reason);
      return task;
    }
    this.#outstanding.add(task);
    this.#keepAlive();
    if (signal !== undefined) {
      const abort = (): void => this.#giveUp(task, signal.reason);
      signal.addEventListener("abort", abort, { once: true });
      const forget = (): void => signal.removeEventListener("abort", abort);
      task.done.then(forget, forget);
    }
    this.#scheduler.submit(task);
    this.#handOut();
    return task;
  }

  #handOut(): void {
    for (const [worker, task] of this.#scheduler.assign(performance.now())) {
      worker.send(task.message);
      if (task.timeout !== undefined) {
        const { timeout } = task;
        task.stopTimer = host.timer(() => this.#giveUp(task, new TimeoutError(task.call, timeout)), timeout, false);
      }
      if (worker.sent === this.#options.maxTasksPerChild) this.#scheduler.retire(worker);
    }
  }

  #startWorker(): void {
    const { env, execArgv, permissions, startMethod } = this.#options;
    const name = `PoolWorker-${++this.#workerCount}`;
    const worker: WorkerLink = new WorkerLink({ name, env, execArgv, permissions, startMethod }, this.#init, {
      ready: () => {
        this.#startFailures = 0;
        this.#scheduler.join(worker);
        this.#handOut();
        this.#endIfDone();
      },
      answer: (frame) => this.#answered(worker, frame),
      broken: (error) => this.#break(error),
      gone: (error) => this.#gone(worker, error),
    });
    this.#workers.add(worker);
  }

  #answered(worker: WorkerLink, frame: Frame): void {
    const task = this.#scheduler.finish(worker, performance.now());
    const { maxTasksPerChild } = this.#options;
    const isUsedUp = maxTasksPerChild !== undefined && worker.sent >= maxTasksPerChild;
    if (isUsedUp && this.#scheduler.load(worker) === 0) worker.leave();
    this.#handOut();
    // The worker goes on while its large results are decoded here.
    if (frame.size > SLOW_TO_DECODE) worker.flush();
    const value = worker.decode(frame);
    if (task !== undefined) this.#finish(task, frame.kind === DONE ? "completed" : "failed", value);
    this.#endIfDone();
  }

  #gone(worker: WorkerLink, error: unknown): void {
    this.#workers.delete(worker);
    const task = this.#scheduler.leave(worker);
    if (task !== undefined) this.#lost(worker, task);
    if (error !== undefined && this.#state !== "terminated" && ++this.#startFailures >= START_FAILURES)
      this.#break(error);
    const isWanted = this.#state === "open" || this.#outstanding.size > 0;
    if (isWanted && !this.#isBroken && this.#workers.size < this.#size) this.#startWorker();
    this.#handOut();
    if (this.#workers.size === 0 && (this.#state !== "open" || this.#isBroken)) this.#allGone();
  }

  #lost(worker: WorkerLink, task: Task): void {
    this.#counts.lost += 1;
    task.stopTimer?.();
    if (task.isOver) return;
    if (task.retries > 0) {
      task.retries -= 1;
      this.#scheduler.again(task);
      return;
    }
    this.#finish(task, "failed", new WorkerLostError(worker.pid, worker.process, task.name));
  }

  /** Nobody wants the task any more: it is dropped, or stopped, at last with its worker. */
  #giveUp(task: Task, reason: unknown): void {
    if (task.isOver) return;
    this.#finish(task, "failed", reason);
    if (this.#scheduler.drop((other) => other === task).length > 0) return this.#endIfDone();
    const holder = this.#scheduler.holder(task);
    if (holder?.isRunning !== true) return;
    holder.worker.cancel(reason);
    host.timer(
      () => {
        const now = this.#scheduler.holder(task);
        if (now?.isRunning) now.worker.kill();
      },
      this.#options.graceMs ?? 500,
      false,
    );
  }

  #finish(task: Task, how: "completed" | "failed", value: unknown): void {
    task.stopTimer?.();
    if (task.isOver) return;
    task.isOver = true;
    this.#counts[how] += 1;
    this.#outstanding.delete(task);
    if (this.#outstanding.size === 0 && this.#joiners.length === 0) this.#letGo();
    if (how === "completed") task.resolve(value);
    else task.reject(value);
  }

  /** The pool cannot work: all that it has fails with the reason, and so does all that comes. */
  #break(error: unknown): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#broken = error;
    this.#failAll(() => error);
    for (const worker of this.#workers) worker.kill();
  }

  #failAll(reason: () => unknown): void {
    this.#scheduler.drop(() => true);
    for (const task of [...this.#outstanding]) this.#finish(task, "failed", reason());
  }

  #endIfDone(): void {
    if (this.#state !== "closed" || this.#outstanding.size > 0) return;
    for (const worker of this.#workers) if (worker.isReady) worker.leave();
  }

  #allGone(): void {
    for (const resolve of this.#joiners.splice(0)) resolve();
    this.#letGo();
  }

  /** Work under way keeps the program alive, a pool alone does not. */
  #keepAlive(): void {
    this.#release ??= host.timer(() => {}, FOREVER, true);
  }

  #letGo(): void {
    this.#release?.();
    this.#release = undefined;
  }

  #assertOpen(call: string): void {
    if (this.#isBroken) throw this.#broken;
    if (this.#state !== "open")
      throw new PoolClosedError(
        `${call} was called on a pool after ${this.#state === "closed" ? "close()" : "terminate()"}`,
      );
  }
}

function checked(call: string, options: TaskOptions): TaskOptions {
  checkTimeout(call, options.timeout);
  const { retries = 0 } = options;
  if (!Number.isInteger(retries) || retries < 0)
    throw new RangeError(`${call} takes retries as a whole number from 0, not ${retries}`);
  return options;
}

function wholeFromOne(name: string, value: number): number {
  if (!Number.isInteger(value) || value < 1)
    throw new RangeError(`Pool takes ${name} as a whole number from 1, not ${value}`);
  return value;
}
