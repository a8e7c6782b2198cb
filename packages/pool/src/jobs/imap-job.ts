/** Calls whose results are taken one by one, while inputs are read as that goes on: `imap()` and `imapUnordered()`. */
import { SendError } from "@multiproc/core";
import type { KnownFunction } from "../functions/function-table.ts";
import { InputReader, type Inputs } from "./inputs.ts";
import { type Job, type JobEnds, taskFor, type WorkTask, type WorkTraits } from "./job.ts";
import { continueTrace } from "./result.ts";

/** How a stream is made. */
export interface StreamPlan {
  readonly call: string;
  readonly fn: KnownFunction;
  readonly inputs: Inputs<unknown>;
  readonly isOrdered: boolean;
  readonly workers: number;
  readonly chunkSize: number | undefined;
  readonly bufferSize: number | undefined;
  readonly traits: WorkTraits;
}

/** So many chunks for each worker are under way, or wait to be taken, unless the user says otherwise. */
const CHUNKS_AHEAD = 4;
/** So much work makes a chunk of tiny tasks, in milliseconds, and so many tasks at most. */
const CHUNK_MS = 0.2;
const MAX_CHUNK = 256;

interface Waiter {
  resolve(step: IteratorResult<unknown, void>): void;
  reject(error: unknown): void;
}

interface Failure {
  readonly error: unknown;
  /** Results before this index come before it. */
  readonly at: number;
}

/**
 * Results as they are taken. At any time, no more than the buffer's size of inputs have been read whose results have not been
 * taken. The first error ends it.
 */
export class Stream<R> implements Job, AsyncGenerator<R, void, undefined> {
  readonly call: string;
  readonly #plan: StreamPlan;
  readonly #ends: JobEnds;
  readonly #reader: InputReader;
  readonly #tasks: Set<WorkTask> = new Set();
  readonly #waiters: Waiter[] = [];
  /** Results that have not been taken: by their index, or, where order does not matter, as they came. */
  readonly #ready: Map<number, unknown> = new Map();
  #readyCount = 0;
  #taken = 0;
  #failure: Failure | undefined;
  #isOver = false;
  #isWorkOver = false;

  constructor(plan: StreamPlan, ends: JobEnds) {
    this.call = plan.call;
    this.#plan = plan;
    this.#ends = ends;
    this.#reader = new InputReader(plan.inputs, {
      hasRoom: (count) => this.#reader.read - this.#taken + count <= this.#room,
      chunkSize: () => this.#chunkSize,
      chunk: (items, at) => this.#send(items, at),
      over: () => this.#inputOver(),
      failed: (error) => this.#fail(error, this.#reader.read),
    });
  }

  /** Begins to read. */
  begin(): void {
    this.#reader.readOn();
  }

  async next(): Promise<IteratorResult<R, void>> {
    try {
      return (await this.#step()) as IteratorResult<R, void>;
    } catch (error) {
      throw continueTrace(error);
    }
  }

  async return(): Promise<IteratorResult<R, void>> {
    await this.#close(new DOMException("The loop over the results was left", "AbortError"));
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
    if (this.#isOver) return;
    this.#keep(at, value);
    this.#settle(task, at + 1);
  }

  results(task: WorkTask, values: readonly unknown[], at: number): void {
    if (this.#isOver) return;
    for (let i = 0; i < values.length; i++) this.#keep(at + i, values[i]);
    this.#settle(task, at + values.length);
  }

  failed(task: WorkTask, error: unknown, at: number): void {
    this.#tasks.delete(task);
    this.#fail(error, at);
  }

  divided(part: WorkTask): void {
    this.#tasks.add(part);
  }

  /** Ends it at once. */
  cancel(reason: unknown): void {
    if (this.#isOver) return;
    this.#ready.clear();
    this.#readyCount = 0;
    this.#failure = { error: reason, at: 0 };
    this.#release(reason);
    this.#serve();
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
    return this.#plan.isOrdered ? this.#ready.has(this.#taken) : this.#readyCount > 0;
  }

  get #isAtEnd(): boolean {
    return this.#isOver || (this.#reader.isOver && this.#taken === this.#reader.read && this.#failure === undefined);
  }

  /** Whether all results that come before the failure have been taken. */
  get #isFailureDue(): boolean {
    return this.#failure !== undefined && (!this.#plan.isOrdered || this.#taken >= this.#failure.at);
  }

  #take(): IteratorResult<unknown, void> {
    const key = this.#plan.isOrdered ? this.#taken : (this.#ready.keys().next().value as number);
    const value = this.#ready.get(key);
    this.#ready.delete(key);
    this.#readyCount--;
    this.#taken++;
    this.#reader.readOn();
    return { done: false, value };
  }

  #takeFailure(): unknown {
    const { error } = this.#failure as Failure;
    this.#failure = undefined;
    this.#release(error);
    return error;
  }

  #keep(at: number, value: unknown): void {
    this.#ready.set(at, value);
    this.#readyCount++;
  }

  /** All before `end` has been answered. */
  #settle(task: WorkTask, end: number): void {
    if (task.at + task.items === end) this.#tasks.delete(task);
    this.#serve();
    this.#checkWork();
  }

  /** When no task is left and none will come, the pool has done its part, also if results have not been taken. */
  #checkWork(): void {
    if (this.#isWorkOver || !this.#reader.isOver || this.#tasks.size > 0) return;
    this.#isWorkOver = true;
    this.#ends.over();
  }

  /** Gives those who wait what there is. */
  #serve(): void {
    const waiters = this.#waiters;
    while (waiters.length > 0 && this.#hasNext) waiters.shift()?.resolve(this.#take());
    if (waiters.length > 0 && this.#isFailureDue) waiters.shift()?.reject(this.#takeFailure());
    if (!this.#isAtEnd) return;
    for (const { resolve } of waiters.splice(0)) resolve({ done: true, value: undefined });
    this.#release(undefined);
  }

  #fail(error: unknown, at: number): void {
    if (this.#isOver || (this.#failure !== undefined && this.#failure.at <= at)) return;
    this.#failure = { error, at };
    void this.#reader.close().catch(() => {});
    // What comes after it will not be taken.
    for (const task of this.#tasks) if (task.at >= at) this.#drop(task, error);
    this.#checkWork();
    this.#serve();
  }

  /** Lets go of everything. */
  #release(reason: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const task of this.#tasks) this.#drop(task, reason);
    if (this.#failure === undefined) {
      for (const { resolve } of this.#waiters.splice(0)) resolve({ done: true, value: undefined });
    }
    void this.#reader.close().catch(() => {});
    this.#checkWork();
  }

  async #close(reason: unknown): Promise<void> {
    this.#failure = undefined;
    if (this.#isOver) return;
    const closing = this.#reader.close();
    this.#ready.clear();
    this.#readyCount = 0;
    this.#release(reason);
    await closing;
  }

  #drop(task: WorkTask, reason: unknown): void {
    this.#tasks.delete(task);
    this.#ends.office.drop(task, { reason });
  }

  #inputOver(): void {
    this.#serve();
    this.#checkWork();
  }

  #send(items: unknown[], at: number): void {
    const { fn, traits } = this.#plan;
    try {
      const task = taskFor(this, fn, items, at, false, traits);
      this.#tasks.add(task);
      this.#ends.office.submit(task);
    } catch (error) {
      if (!(error instanceof SendError)) throw error;
      this.#fail(error, at);
    }
  }

  get #room(): number {
    const { bufferSize, workers } = this.#plan;
    return Math.max(this.#chunkSize, bufferSize ?? this.#chunkSize * workers * CHUNKS_AHEAD);
  }

  get #chunkSize(): number {
    const { chunkSize, bufferSize, workers, fn } = this.#plan;
    if (chunkSize !== undefined) return chunkSize;
    // Inputs that come one by one are not kept waiting for others.
    if (this.#reader.isAsync || !(fn.estimate.average < CHUNK_MS)) return 1;
    const share = bufferSize === undefined ? MAX_CHUNK : Math.max(1, Math.floor(bufferSize / workers / 2));
    return Math.min(share, MAX_CHUNK, Math.floor(CHUNK_MS / fn.estimate.average));
  }
}
