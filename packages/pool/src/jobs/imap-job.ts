/**
 * The job of `imap()` and `imapUnordered()`: an async iterator of results with back-pressure.
 *
 * Inputs are prefetched, but never more than the buffer size ahead of the results that were taken.
 *
 * ```text
 *   inputs ── InputReader ──> chunks ──> workers ──> #buffered ── next() ──> the user's loop
 *                 ^                                                  │
 *                 └──── room while readCount - takenCount < limit ────┘
 * ```
 */
import { SendError } from "@multiproc/core";
import type { KnownFunction } from "../functions/function-table.ts";
import type { Inputs } from "../options.ts";
import { InputReader } from "./inputs.ts";
import { type Job, type JobServices, taskFor, type WorkTask, type WorkTraits } from "./job.ts";
import { continueTrace } from "./stack-trace.ts";

/** The work of an `imap()`. */
export interface ImapSpec {
  readonly call: string;
  readonly fn: KnownFunction;
  readonly inputs: Inputs<unknown>;
  readonly isOrdered: boolean;
  readonly workers: number;
  readonly chunkSize: number | undefined;
  readonly bufferSize: number | undefined;
  readonly traits: WorkTraits;
}

/**
 * The default buffer: chunks for each worker that are in flight or whose results wait to be taken.
 */
const CHUNKS_AHEAD_PER_WORKER = 4;
/** The work in a chunk of tiny items, in milliseconds. */
const TARGET_CHUNK_MS = 0.2;
const MAX_CHUNK_ITEMS = 256;

interface Waiter {
  resolve(step: IteratorResult<unknown, void>): void;
  reject(error: unknown): void;
}

interface Failure {
  readonly error: unknown;
  /** The index of the failed item. `imap()` yields the results of earlier items first. */
  readonly at: number;
}

/** A call of `imap()` or `imapUnordered()`. The first error ends it. */
export class ImapJob<R> implements Job, AsyncGenerator<R, void, undefined> {
  readonly call: string;
  readonly #spec: ImapSpec;
  readonly #services: JobServices;
  readonly #reader: InputReader;
  readonly #tasks: Set<WorkTask> = new Set();
  readonly #waiters: Waiter[] = [];
  /**
   * Results that were not taken, by their index. A `Map` iterates in the order of arrival, in which
   * `imapUnordered()` yields them.
   */
  readonly #buffered: Map<number, unknown> = new Map();
  #bufferedCount = 0;
  #takenCount = 0;
  #failure: Failure | undefined;
  /** Whether the iteration has ended. */
  #isDone = false;
  /** Whether the job has reported its end to the pool. */
  #isWorkDone = false;

  constructor(spec: ImapSpec, services: JobServices) {
    this.call = spec.call;
    this.#spec = spec;
    this.#services = services;
    this.#reader = new InputReader(spec.inputs, {
      hasRoom: (count) => this.#reader.readCount - this.#takenCount + count <= this.#bufferLimit,
      chunkSize: () => this.#chunkSize,
      chunk: (items, at) => this.#submitChunk(items, at),
      done: () => this.#inputDone(),
      failed: (error) => this.#fail(error, this.#reader.readCount),
    });
  }

  /** Starts to read inputs. */
  begin(): void {
    this.#reader.readAhead();
  }

  async next(): Promise<IteratorResult<R, void>> {
    try {
      return (await this.#step()) as IteratorResult<R, void>;
    } catch (error) {
      throw continueTrace(error);
    }
  }

  async return(): Promise<IteratorResult<R, void>> {
    await this.#close(new DOMException("The loop over the results ended early", "AbortError"));
    return { done: true, value: undefined };
  }

  async throw(error: unknown): Promise<IteratorResult<R, void>> {
    await this.#close(error);
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  result(task: WorkTask, value: unknown, at: number): void {
    if (this.#isDone) return;
    this.#buffer(at, value);
    this.#itemsDone(task, at + 1);
  }

  results(task: WorkTask, values: readonly unknown[], at: number): void {
    if (this.#isDone) return;
    for (let i = 0; i < values.length; i++) this.#buffer(at + i, values[i]);
    this.#itemsDone(task, at + values.length);
  }

  failed(task: WorkTask, error: unknown, at: number): void {
    this.#tasks.delete(task);
    this.#fail(error, at);
  }

  split(part: WorkTask): void {
    this.#tasks.add(part);
  }

  /** Drops all results, and rejects the current or next `next()`. */
  cancel(reason: unknown): void {
    if (this.#isDone) return;
    this.#buffered.clear();
    this.#bufferedCount = 0;
    this.#failure = { error: reason, at: 0 };
    this.#finish(reason);
    this.#resolveWaiters();
  }

  #step(): Promise<IteratorResult<unknown, void>> | IteratorResult<unknown, void> {
    if (this.#waiters.length === 0) {
      if (this.#hasNext) return this.#take();
      if (this.#failure !== undefined && this.#isFailureDue) throw this.#takeFailure();
      if (this.#isAtEnd) return { done: true, value: undefined };
    }
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  get #hasNext(): boolean {
    return this.#spec.isOrdered ? this.#buffered.has(this.#takenCount) : this.#bufferedCount > 0;
  }

  get #isAtEnd(): boolean {
    return (
      this.#isDone ||
      (this.#reader.isDone && this.#takenCount === this.#reader.readCount && this.#failure === undefined)
    );
  }

  /** Whether all results before the failed item have been taken. */
  get #isFailureDue(): boolean {
    return this.#failure !== undefined && (!this.#spec.isOrdered || this.#takenCount >= this.#failure.at);
  }

  #take(): IteratorResult<unknown, void> {
    const key = this.#spec.isOrdered ? this.#takenCount : (this.#buffered.keys().next().value as number);
    const value = this.#buffered.get(key);
    this.#buffered.delete(key);
    this.#bufferedCount--;
    this.#takenCount++;
    this.#reader.readAhead();
    return { done: false, value };
  }

  #takeFailure(): unknown {
    const { error } = this.#failure as Failure;
    this.#failure = undefined;
    this.#finish(error);
    return error;
  }

  #buffer(at: number, value: unknown): void {
    this.#buffered.set(at, value);
    this.#bufferedCount++;
  }

  /** Records that the items of a task before the index `end` are done. */
  #itemsDone(task: WorkTask, end: number): void {
    if (task.firstIndex + task.itemCount === end) this.#tasks.delete(task);
    this.#resolveWaiters();
    this.#checkWork();
  }

  /**
   * Reports the end of the job when all tasks are done and all inputs are read. Results may still
   * wait to be taken: they do not delay `join()`.
   */
  #checkWork(): void {
    if (this.#isWorkDone || !this.#reader.isDone || this.#tasks.size > 0) return;
    this.#isWorkDone = true;
    this.#services.done();
  }

  /** Settles the calls of `next()` that wait. */
  #resolveWaiters(): void {
    const waiters = this.#waiters;
    while (waiters.length > 0 && this.#hasNext) waiters.shift()?.resolve(this.#take());
    if (waiters.length > 0 && this.#isFailureDue) waiters.shift()?.reject(this.#takeFailure());
    if (!this.#isAtEnd) return;
    for (const { resolve } of waiters.splice(0)) resolve({ done: true, value: undefined });
    this.#finish(undefined);
  }

  #fail(error: unknown, at: number): void {
    if (this.#isDone || (this.#failure !== undefined && this.#failure.at <= at)) return;
    this.#failure = { error, at };
    void this.#reader.close().catch(() => {});
    // The results after the failed item will not be taken.
    for (const task of this.#tasks) if (task.firstIndex >= at) this.#cancelTask(task, error);
    this.#checkWork();
    this.#resolveWaiters();
  }

  /** Cancels all tasks and closes the inputs. */
  #finish(reason: unknown): void {
    if (this.#isDone) return;
    this.#isDone = true;
    for (const task of this.#tasks) this.#cancelTask(task, reason);
    if (this.#failure === undefined) {
      for (const { resolve } of this.#waiters.splice(0)) resolve({ done: true, value: undefined });
    }
    void this.#reader.close().catch(() => {});
    this.#checkWork();
  }

  async #close(reason: unknown): Promise<void> {
    this.#failure = undefined;
    if (this.#isDone) return;
    const closing = this.#reader.close();
    this.#buffered.clear();
    this.#bufferedCount = 0;
    this.#finish(reason);
    await closing;
  }

  #cancelTask(task: WorkTask, reason: unknown): void {
    this.#tasks.delete(task);
    this.#services.dispatcher.cancel(task, { reason });
  }

  #inputDone(): void {
    this.#resolveWaiters();
    this.#checkWork();
  }

  #submitChunk(items: unknown[], at: number): void {
    const { fn, traits } = this.#spec;
    try {
      const task = taskFor(this, fn, items, at, false, traits);
      this.#tasks.add(task);
      this.#services.dispatcher.submit(task);
    } catch (error) {
      if (!(error instanceof SendError)) throw error;
      this.#fail(error, at);
    }
  }

  get #bufferLimit(): number {
    const { bufferSize, workers } = this.#spec;
    return Math.max(this.#chunkSize, bufferSize ?? this.#chunkSize * workers * CHUNKS_AHEAD_PER_WORKER);
  }

  get #chunkSize(): number {
    const { chunkSize, bufferSize, workers, fn } = this.#spec;
    if (chunkSize !== undefined) return chunkSize;
    // An async input must not wait for others to fill its chunk.
    if (this.#reader.isAsync || !(fn.estimate.averageMs < TARGET_CHUNK_MS)) return 1;
    const perWorker = bufferSize === undefined ? MAX_CHUNK_ITEMS : Math.max(1, Math.floor(bufferSize / workers / 2));
    return Math.min(perWorker, MAX_CHUNK_ITEMS, Math.floor(TARGET_CHUNK_MS / fn.estimate.averageMs));
  }
}

/**
 * The iterator of a call that was refused for a mistake of the caller: its first `next()` rejects.
 */
export class RefusedImap implements AsyncGenerator<never, void, undefined> {
  #refusal: { readonly error: unknown } | undefined;

  constructor(error: unknown) {
    this.#refusal = { error };
  }

  async next(): Promise<IteratorResult<never, void>> {
    const refusal = this.#refusal;
    this.#refusal = undefined;
    if (refusal !== undefined) throw refusal.error;
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<never, void>> {
    this.#refusal = undefined;
    return { done: true, value: undefined };
  }

  async throw(error: unknown): Promise<IteratorResult<never, void>> {
    this.#refusal = undefined;
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }
}
