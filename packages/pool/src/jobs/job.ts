/** Tasks with what they do and for whom. */

import { type EncodedPayload, toPayload } from "../functions/encoded-payload.ts";
import type { KnownFunction } from "../functions/function-table.ts";
import { CALL, CHUNK, STAR_CHUNK } from "../protocol.ts";
import { type LazyTask, Task, type TaskSource, type TaskTraits } from "../scheduler/task.ts";

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
  /** The answers to some items of a task, of which the first has that index; the list is the job's from then on. */
  results(task: WorkTask, values: unknown[], at: number): void;
  /** The item with that index has failed, and with it its task. */
  failed(task: WorkTask, error: unknown, at: number): void;
  /** Some items of a task have become a task of their own. */
  split(part: WorkTask): void;
}

/** Who has tasks done. */
export interface Dispatcher {
  /** A task, or what makes tasks when they can be sent. */
  submit(source: TaskSource<WorkTask>): void;
  /** Nobody wants what is left in something that waits; it has nothing left after that. */
  cancelQueued(source: TaskSource<WorkTask>): void;
  /** Has a task made of what was sent as it waited. */
  materialize(lazyTask: LazyTask<WorkTask>): void;
  /** Whether somebody wants to know of each task. */
  readonly hasSubscribers: boolean;
  /**
   * Nobody wants the answer any more.
   *
   * @param reason aborts `currentTask().signal` with it, and has the worker killed if that does not help; if it is missing,
   * a task that runs already may go on
   */
  cancel(task: WorkTask, reason?: { readonly reason: unknown }): void;
  /** The same for all of a job, whether it waits or was sent. */
  cancelJob(job: Job, reason?: { readonly reason: unknown }, except?: WorkTask): void;
}

/** What a user may ask for a task, and what surrounds the call. */
export interface WorkTraits extends TaskTraits {
  readonly context?: EncodedPayload | undefined;
  readonly trace?: string | undefined;
}

/** A task of a pool. */
export class WorkTask extends Task {
  readonly job: Job;
  readonly fn: KnownFunction;
  /** What its message is, see `protocol.ts`. */
  readonly kind: number;
  readonly payload: EncodedPayload;
  /** The index of the first item in its message. */
  readonly firstIndex: number;
  /** How many items are in its message. */
  readonly payloadItemCount: number;
  /** What surrounds the call. */
  readonly context: EncodedPayload | undefined;
  /** Where the call stands in a trace. */
  readonly trace: string | undefined;
  /** Whether an item that throws is an answer like others. */
  isSettling = false;
  /** What those who watch are told about it, if there are any. */
  event: TaskEvent | undefined;
  /** Why nobody wants its answer any more. */
  cancelReason: unknown;

  constructor(
    job: Job,
    fn: KnownFunction,
    kind: number,
    payload: EncodedPayload,
    firstIndex: number,
    itemCount: number,
    traits: WorkTraits,
  ) {
    super(fn.estimate, itemCount, payload.size, traits);
    this.job = job;
    this.fn = fn;
    this.kind = kind;
    this.payload = payload;
    this.firstIndex = firstIndex;
    this.payloadItemCount = itemCount;
    this.context = traits.context;
    this.trace = traits.trace;
  }

  /** Whether only some of the items in its message are to be done. */
  get isPart(): boolean {
    return this.answeredCount > 0 || this.itemCount < this.payloadItemCount;
  }

  /** A new task with the same message, for the same job. */
  cloneForRest(): WorkTask {
    const task = new WorkTask(this.job, this.fn, this.kind, this.payload, this.firstIndex, this.payloadItemCount, this);
    task.isSettling = this.isSettling;
    this.job.split(task);
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
  firstIndex: number,
  isStar: boolean,
  traits: WorkTraits,
): WorkTask {
  if (inputs.length === 1) {
    return new WorkTask(job, fn, CALL, fn.encodeInput(toPayload, inputs[0], firstIndex, isStar), firstIndex, 1, traits);
  }
  const payload = fn.encode(toPayload, inputs, (path) =>
    path.replace(/^args\[(\d+)\]/, (_, index: string) => `inputs[${Number(index) + firstIndex}]`),
  );
  return new WorkTask(job, fn, isStar ? STAR_CHUNK : CHUNK, payload, firstIndex, inputs.length, traits);
}

/** Who does the work of a job, and what is to be done when it is over. */
export interface JobServices {
  readonly dispatcher: Dispatcher;
  /** Runs once, when there is an outcome. */
  done(): void;
}
