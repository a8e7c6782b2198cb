/** Tasks with what they do and for whom; and the calls whose whole result is wanted: `apply()`, `map()` and `starmap()`. */
import type { EncodedMessage } from "@multiproc/core/internal";
import type { KnownFunction } from "./functions.ts";
import { Task, type TaskTraits } from "./ledger.ts";
import { CALL, CHUNK, STAR_CHUNK } from "./protocol.ts";
import { Outcome, type Progress, progressOf } from "./result.ts";

/** What those who watch are told about a task; see `events.ts`. */
export interface TaskEvent {
  readonly pool: string;
  readonly task: string;
  readonly worker: number;
  readonly items: number;
  readonly trace: string | undefined;
  readonly from: number;
  ms?: number;
  error?: unknown;
}

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
  /** Some items of a task have become a task of their own. */
  divided(part: WorkTask): void;
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

/** What a user may ask for a task, and what surrounds the call. */
export interface WorkTraits extends TaskTraits {
  readonly context?: EncodedMessage | undefined;
  readonly trace?: string | undefined;
}

/** A task of a pool. */
export class WorkTask extends Task {
  readonly job: Job;
  readonly fn: KnownFunction;
  /** What the message is, see `protocol.ts`. */
  readonly kind: number;
  readonly message: EncodedMessage;
  /** The index of the first item in its message. */
  readonly at: number;
  /** How many items are in its message. */
  readonly total: number;
  /** What surrounds the call. */
  readonly context: EncodedMessage | undefined;
  /** Where the call stands in a trace. */
  readonly trace: string | undefined;
  /** Whether an item that throws is an answer like others. */
  isSettling = false;
  /** What those who watch are told about it, if there are any. */
  event: TaskEvent | undefined;
  /** Why nobody wants its answer any more. */
  dropReason: unknown;

  constructor(
    job: Job,
    fn: KnownFunction,
    kind: number,
    message: EncodedMessage,
    at: number,
    items: number,
    traits: WorkTraits,
  ) {
    super(fn.estimate, items, message.frame.size, traits);
    this.job = job;
    this.fn = fn;
    this.kind = kind;
    this.message = message;
    this.at = at;
    this.total = items;
    this.context = traits.context;
    this.trace = traits.trace;
  }

  /** Whether only some of the items in its message are to be done. */
  get isPart(): boolean {
    return this.answered > 0 || this.items < this.total;
  }

  /** A new task with the same message, for the same job. */
  again(): WorkTask {
    const task = new WorkTask(this.job, this.fn, this.kind, this.message, this.at, this.total, this);
    task.isSettling = this.isSettling;
    this.job.divided(task);
    return task;
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
  traits: WorkTraits,
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

  divided(): void {} // a call is one item

  cancel(reason: unknown): void {
    if (!this.isPending) return;
    this.reject(reason);
    if (this.#task !== undefined) this.#ends.office.drop(this.#task, { reason });
    this.#ends.over();
  }
}

/** How a map is done, beyond its tasks. */
export interface MapWays {
  /** Whether every input has an outcome of its own. */
  readonly isSettling: boolean;
  readonly onProgress: ((progress: Progress) => void) | undefined;
}

/** A call for each of many inputs: some tasks, one list of results. */
export class MapJob extends Outcome<unknown[]> implements Job {
  readonly call: string;
  readonly #ends: JobEnds;
  readonly #ways: MapWays;
  #tasks: WorkTask[] = [];
  #results: unknown[] = [];
  #total = 0;
  #done = 0;
  #since: number = performance.now();

  constructor(call: string, ends: JobEnds, ways: MapWays) {
    super();
    this.call = call;
    this.#ends = ends;
    this.#ways = ways;
  }

  begin(tasks: readonly WorkTask[], total: number): void {
    if (!this.isPending) return; // cancelled while its inputs were read
    this.#tasks = [...tasks];
    this.#total = total;
    this.#results = new Array(total);
    this.#since = performance.now();
    if (total === 0) this.#end();
    for (const task of tasks) {
      task.isSettling = this.#ways.isSettling;
      if (this.isPending) this.#ends.office.submit(task);
    }
  }

  result(task: WorkTask, value: unknown, at: number): void {
    if (!this.isPending) return;
    // In a chunk, the worker has said how each item ended.
    const isBare = this.#ways.isSettling && task.kind === CALL;
    this.#results[at] = isBare ? { status: "fulfilled", value } : value;
    this.#advance(1);
  }

  results(_: WorkTask, values: readonly unknown[], at: number): void {
    if (!this.isPending) return;
    const results = this.#results;
    for (let i = 0; i < values.length; i++) results[at + i] = values[i];
    this.#advance(values.length);
  }

  failed(task: WorkTask, error: unknown, at: number): void {
    if (!this.isPending) return;
    if (!this.#ways.isSettling) return this.#fail(error, undefined, task);
    const end = task.at + task.items;
    // A worker that goes on with what follows, though nobody understands its answers, may not be joined in that by another.
    const to = task.state === "dropped" ? end : at + 1;
    for (let i = at; i < to; i++) this.#results[i] = { status: "rejected", reason: error };
    this.#advance(to - at);
    if (to < end && this.isPending) this.#goOn(task, to);
  }

  divided(part: WorkTask): void {
    this.#tasks.push(part);
  }

  cancel(reason: unknown): void {
    this.#fail(reason, { reason });
  }

  override progress(): Progress {
    return progressOf(this.#done, this.#total, this.#since);
  }

  /** What comes after an item that took its task with it. */
  #goOn(task: WorkTask, from: number): void {
    const rest = task.again();
    task.handOver(rest, from - task.at);
    this.#ends.office.submit(rest);
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
      this.#ways.onProgress?.(this.progress());
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
}
