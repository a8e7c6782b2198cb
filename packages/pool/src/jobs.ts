/** Tasks with what they do and for whom; and the calls whose whole result is wanted: `apply()`, `map()` and `starmap()`. */
import type { EncodedMessage } from "@multiproc/core/internal";
import type { KnownFunction } from "./functions.ts";
import { Task, type TaskTraits } from "./ledger.ts";
import { CALL, CHUNK, STAR_CHUNK } from "./protocol.ts";
import { Outcome } from "./result.ts";

/** Who gets the answers to tasks. */
export interface Job {
  /** The call as the user wrote it. */
  readonly call: string;
  /** The answer to an item of a task, which has that index. */
  result(task: WorkTask, value: unknown, at: number): void;
  /** The answers to some items of a task, of which the first has that index. */
  results(task: WorkTask, values: readonly unknown[], at: number): void;
  /** The item with that index has failed, and with it its task. */
  failed(task: WorkTask, error: unknown, at: number): void;
}

/** Who has tasks done. */
export interface Office {
  submit(task: WorkTask): void;
  /**
   * Nobody wants the answer any more.
   *
   * @param reason aborts `currentTask().signal` with it, and has the worker killed if that does not help; if it is missing,
   * a task that runs already may go on
   */
  drop(task: WorkTask, reason?: { readonly reason: unknown }): void;
}

/** A task of a pool. */
export class WorkTask extends Task {
  readonly job: Job;
  readonly fn: KnownFunction;
  /** What the message is, see `protocol.ts`. */
  readonly kind: number;
  readonly message: EncodedMessage;
  /** The index of its first item. */
  readonly at: number;
  /** Why nobody wants its answer any more. */
  dropReason: unknown;

  constructor(
    job: Job,
    fn: KnownFunction,
    kind: number,
    message: EncodedMessage,
    at: number,
    items: number,
    traits: TaskTraits,
  ) {
    super(fn.estimate, items, message.frame.size, traits);
    this.job = job;
    this.fn = fn;
    this.kind = kind;
    this.message = message;
    this.at = at;
  }
}

/**
 * The task for some inputs; a single one is a plain call, of which more can travel together.
 *
 * @param at the index of the first of them
 * @param isStar whether inputs are lists of arguments
 * @throws {SendError} if one of them cannot be sent
 */
export function taskFor(
  job: Job,
  fn: KnownFunction,
  inputs: readonly unknown[],
  at: number,
  isStar: boolean,
  traits: TaskTraits,
): WorkTask {
  if (inputs.length === 1) {
    const place = isStar ? /^args/ : /^args\[0\]/;
    const args = isStar ? (inputs[0] as readonly unknown[]) : inputs;
    const message = fn.encode(args, (path) => path.replace(place, `inputs[${at}]`));
    return new WorkTask(job, fn, CALL, message, at, 1, traits);
  }
  const message = fn.encode(inputs, (path) =>
    path.replace(/^args\[(\d+)\]/, (_, index: string) => `inputs[${Number(index) + at}]`),
  );
  return new WorkTask(job, fn, isStar ? STAR_CHUNK : CHUNK, message, at, inputs.length, traits);
}

/** How far a map is. */
export interface Progress {
  /** How many inputs are done. */
  readonly done: number;
  /** How many there are. */
  readonly total: number;
  /** How long the map has been under way, in milliseconds. */
  readonly elapsed: number;
  /** How many inputs are done in a second, on average. */
  readonly rate: number;
  /** How long the rest will take at that rate, in milliseconds. */
  readonly timeLeft: number;
}

/** Who does the work of a job, and what is to be done when it is over. */
export interface JobEnds {
  readonly office: Office;
  /** Runs once, when there is an outcome. */
  over(): void;
}

/** One call: one task, one result. */
export class CallJob extends Outcome<unknown> implements Job {
  readonly call: string;
  readonly #ends: JobEnds;
  #task: WorkTask | undefined;

  constructor(call: string, ends: JobEnds) {
    super();
    this.call = call;
    this.#ends = ends;
  }

  begin(task: WorkTask): void {
    this.#task = task;
    this.#ends.office.submit(task);
  }

  result(_: WorkTask, value: unknown): void {
    if (!this.isPending) return;
    this.resolve(value);
    this.#ends.over();
  }

  results(task: WorkTask, values: readonly unknown[]): void {
    this.result(task, values[0]);
  }

  failed(_: WorkTask, error: unknown): void {
    if (!this.isPending) return;
    this.reject(error);
    this.#ends.over();
  }

  cancel(reason: unknown): void {
    if (!this.isPending) return;
    this.reject(reason);
    if (this.#task !== undefined) this.#ends.office.drop(this.#task, { reason });
    this.#ends.over();
  }
}

/** A call for each of many inputs: some tasks, one list of results. */
export class MapJob extends Outcome<unknown[]> implements Job {
  readonly call: string;
  readonly #ends: JobEnds;
  readonly #onProgress: ((progress: Progress) => void) | undefined;
  #tasks: readonly WorkTask[] = [];
  #results: unknown[] = [];
  #total = 0;
  #done = 0;
  #since = 0;

  constructor(call: string, ends: JobEnds, onProgress: ((progress: Progress) => void) | undefined) {
    super();
    this.call = call;
    this.#ends = ends;
    this.#onProgress = onProgress;
  }

  begin(tasks: readonly WorkTask[], total: number): void {
    if (!this.isPending) return; // cancelled while its inputs were read
    this.#tasks = tasks;
    this.#total = total;
    this.#results = new Array(total);
    this.#since = performance.now();
    if (total === 0) this.#end();
    for (const task of tasks) if (this.isPending) this.#ends.office.submit(task);
  }

  result(_: WorkTask, value: unknown, at: number): void {
    if (!this.isPending) return;
    this.#results[at] = value;
    this.#advance(1);
  }

  results(_: WorkTask, values: readonly unknown[], at: number): void {
    if (!this.isPending) return;
    const results = this.#results;
    for (let i = 0; i < values.length; i++) results[at + i] = values[i];
    this.#advance(values.length);
  }

  failed(task: WorkTask, error: unknown): void {
    this.#fail(error, undefined, task);
  }

  cancel(reason: unknown): void {
    this.#fail(reason, { reason });
  }

  /** Fails as a whole; what runs goes on unless there is a reason to stop it. */
  #fail(error: unknown, stop?: { readonly reason: unknown }, failed?: WorkTask): void {
    if (!this.isPending) return;
    this.reject(error);
    for (const task of this.#tasks) if (task !== failed) this.#ends.office.drop(task, stop);
    this.#end();
  }

  #advance(count: number): void {
    this.#done += count;
    try {
      this.#onProgress?.(this.#progress());
    } catch (error) {
      return this.#fail(error);
    }
    if (this.#done === this.#total) this.#end();
  }

  #end(): void {
    this.resolve(this.#results);
    this.#tasks = this.#results = [];
    this.#ends.over();
  }

  #progress(): Progress {
    const elapsed = performance.now() - this.#since;
    const rate = this.#done / elapsed;
    return {
      done: this.#done,
      total: this.#total,
      elapsed,
      rate: rate * 1000,
      timeLeft: (this.#total - this.#done) / rate,
    };
  }
}
