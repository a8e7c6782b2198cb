/**
 * Jobs, and tasks with their payload and their job.
 *
 * A *job* is one call by the user: `apply()`, `map()` or `imap()`. It becomes one or more tasks,
 * and it receives their results. A *dispatcher* (the worker manager) gets the tasks to workers.
 */

import { captureContext } from "../async-context.ts";
import { type EncodedPayload, toPayload } from "../functions/encoded-payload.ts";
import type { KnownFunction } from "../functions/function-table.ts";
import type { TaskOptions } from "../options.ts";
import { CALL, CHUNK, STAR_CHUNK } from "../protocol.ts";
import { type LazyTask, Task, type TaskSource, type TaskTraits } from "../scheduler/task.ts";

/** The message of a task on `node:diagnostics_channel`; see `diagnostics.ts`. */
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

/** The receiver of the results of tasks. */
export interface Job {
  /** The call as the user wrote it. */
  readonly call: string;
  /** Receives the result of the item at index `at`. */
  result(task: WorkTask, value: unknown, at: number): void;
  /** Receives the results of the items from index `at` on. The job may keep the list. */
  results(task: WorkTask, values: unknown[], at: number): void;
  /** Receives the error of the item at index `at`, which ends the task. */
  failed(task: WorkTask, error: unknown, at: number): void;
  /** Called with the new task that gets the items split off a task. */
  split(part: WorkTask): void;
}

/** The part of a pool that queues the tasks of jobs and sends them to workers. */
export interface Dispatcher {
  /** Queues a task, or a source of tasks. */
  submit(source: TaskSource<WorkTask>): void;
  /** Cancels the tasks left in a source that is queued, and empties the source. */
  cancelQueued(source: TaskSource<WorkTask>): void;
  /** Creates the task object of a lazy task that was sent. */
  materialize(lazyTask: LazyTask<WorkTask>): void;
  /** Whether a subscriber of the diagnostics channels wants an event for each task. */
  readonly hasSubscribers: boolean;
  /**
   * Cancels a task.
   *
   * @param stop aborts `currentTask().signal` with its reason, and kills the worker if that does
   * not help. Without it, a running task may continue.
   */
  cancel(task: WorkTask, stop?: { readonly reason: unknown }): void;
  /** Cancels all tasks of a job, queued or sent, but not the task `except`. */
  cancelJob(job: Job, stop?: { readonly reason: unknown }, except?: WorkTask): void;
}

/** The options of a task, and the async context of its call. */
export interface WorkTraits extends TaskTraits {
  readonly context?: EncodedPayload | undefined;
  readonly trace?: string | undefined;
}

/**
 * Returns the traits of a task from the options of its call, with the caller's async context.
 *
 * @param traceContext the option of the pool, which applies if the call has none
 * @throws {SendError} if a propagated store cannot be sent
 */
export function traitsOf(options: TaskOptions, traceContext: (() => string | undefined) | undefined): WorkTraits {
  const trace = options.traceContext ?? traceContext?.();
  const context = captureContext(trace);
  return context === undefined ? options : { ...options, context, trace };
}

/**
 * A task of a pool: with its function, its serialized arguments, and the job that wants the result.
 */
export class WorkTask extends Task {
  readonly job: Job;
  readonly fn: KnownFunction;
  /** The kind of its message: CALL, CHUNK or STAR_CHUNK of `protocol.ts`. */
  readonly kind: number;
  readonly payload: EncodedPayload;
  /** The index, among the inputs of the job, of the first item in the payload. */
  readonly firstIndex: number;
  /** The number of items in the payload. Other tasks may run some of them. */
  readonly payloadItemCount: number;
  readonly context: EncodedPayload | undefined;
  readonly trace: string | undefined;
  /** Whether an item that throws gets a rejected result, as in `Promise.allSettled()`. */
  isSettling = false;
  /** The event for subscribers, if there are any. */
  event: TaskEvent | undefined;
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

  /** Whether the task has only some of the items in its payload. */
  get isPart(): boolean {
    return this.answeredCount > 0 || this.itemCount < this.payloadItemCount;
  }

  /** Creates a task with the same payload for the items that are split off this one. */
  cloneForRest(): WorkTask {
    const task = new WorkTask(this.job, this.fn, this.kind, this.payload, this.firstIndex, this.payloadItemCount, this);
    task.isSettling = this.isSettling;
    this.job.split(task);
    return task;
  }
}

/**
 * Creates the task for some inputs of a map. A single input becomes a plain call, since calls can
 * be batched with others.
 *
 * @param firstIndex the index of the first input
 * @param isStar whether inputs are lists of arguments
 * @throws {SendError} if an input cannot be sent
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

/** The services of the pool for a job. */
export interface JobServices {
  readonly dispatcher: Dispatcher;
  /** Reports, once, that the job has ended. */
  done(): void;
}
