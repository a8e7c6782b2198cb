/**
 * Tasks as the scheduler sees them: state, counts and estimates, without payload.
 *
 * Most short calls never need a task object. They are *lazy tasks*: the entry of the queue is sent
 * itself. A task object is created only if something unusual happens, such as a cancellation or the
 * death of the worker.
 */

import { type AckMode, MAX_BATCH_DELAY_MS } from "../protocol.ts";
import type { DurationEstimate } from "./duration-estimate.ts";

/** Shorter tasks are sent in batched mode. Sending BEGIN costs about a fifth of this time. */
const BATCHED_ACK_BELOW_MS = 0.02;

/** Options of a task. */
export interface TaskTraits {
  readonly retries?: number | undefined;
  readonly timeout?: number | undefined;
}

/**
 * An entry of the queue: a task, or an object that creates tasks when they can be sent, which saves
 * memory.
 */
export interface TaskSource<T> {
  /** The number of tasks left in it, without cancelled ones. */
  readonly remaining: number;
  /** The size of the next payload, in bytes. */
  readonly size: number;
  /** The expected duration of the next task, in milliseconds; NaN if it is unknown. */
  readonly expectedMs: number;
  /** Takes the next task out. A task returns itself. */
  take(): T;
  /** Drops all that is left. */
  clear(): void;
  /** The entry itself, if it is a single short task that can be sent without a task object. */
  readonly lazyTask?: LazyTask<T> | undefined;
}

/**
 * A short task that is sent and completed without a task object. That object would be the largest
 * part of the cost of a short call.
 */
export interface LazyTask<T> extends TaskSource<T> {
  readonly estimate: DurationEstimate;
  /** Records that the lazy task was sent, and is not in the queue any more. */
  markSent(): void;
}

/** Takes the next task out of a source, to be sent: as a lazy task if possible. */
export function takeNext<T>(source: TaskSource<T>): T | LazyTask<T> {
  const { lazyTask } = source;
  lazyTask?.markSent();
  return lazyTask ?? source.take();
}

/** Returns whether a task of one item may be sent in batched mode. */
export function canBatchAcks(estimate: DurationEstimate, timeout: number | undefined): boolean {
  return estimate.typicalMs < BATCHED_ACK_BELOW_MS && timeout === undefined;
}

/** The part of a `WorkerSlot` that a task knows. */
export interface AssignedSlot {
  readonly head: unknown;
}

/** One call, or a chunk of items. */
export class Task {
  /** The estimated duration of one item of its function. */
  readonly estimate: DurationEstimate;
  /**
   * The index after the last item of this task in the payload. The payload has more items if others
   * were split off.
   */
  itemCount: number;
  /** The size of its payload, in bytes. */
  readonly size: number;
  /** How often the task is retried after a worker was lost while running it. */
  readonly retries: number;
  /** Timeout of one item, in milliseconds. */
  readonly timeout: number | undefined;

  /** The index of the first item without a result: now, and when the task was sent. */
  answeredCount = 0;
  answeredWhenSent = 0;
  /** A worker may still have a task that is `cancelled`. Its result is ignored. */
  state: "new" | "queued" | "sent" | "cancelled" | "done" = "new";
  slot: AssignedSlot | undefined;
  ackMode: AckMode = "sync";
  /** Whether its worker has sent BEGIN. */
  hasBegun = false;
  /** The number of workers that were lost while they ran it. */
  crashCount = 0;
  /** The number of workers that were lost before they began it. */
  notStartedCount = 0;
  /**
   * A worker was lost while it ran this task or another of the same batch. A retry in sync mode
   * shows which.
   */
  isSuspect = false;
  /** Whether its worker is killed if it does not stop the cancelled task in time. */
  cancelRunning = false;
  /** Whether its worker runs its last item, so that there is nothing left to steal. */
  isOnLastItem = false;
  /** The number of tasks that were sent to its worker before it. */
  sequence = 0;

  constructor(estimate: DurationEstimate, itemCount: number, size: number, traits: TaskTraits) {
    this.estimate = estimate;
    this.itemCount = itemCount;
    this.size = size;
    this.retries = traits.retries ?? 0;
    this.timeout = traits.timeout;
  }

  /** 1 while the task is queued, 0 otherwise. */
  get remaining(): number {
    return this.state === "queued" ? 1 : 0;
  }

  take(): this {
    return this;
  }

  clear(): void {
    this.state = "done";
  }

  /** The expected duration of its remaining items, in milliseconds; NaN if it is unknown. */
  get expectedMs(): number {
    return this.estimate.averageMs * (this.itemCount - this.answeredCount);
  }

  /** Moves the items from `from` on to another task with the same payload. */
  splitInto(rest: Task, from: number): void {
    rest.itemCount = this.itemCount;
    rest.answeredCount = from;
    this.itemCount = from;
  }

  /** The acknowledgement mode in which it must be sent. */
  get requiredAckMode(): AckMode {
    if (this.isSuspect) return "sync";
    if (this.itemCount > 1) return "batched";
    return canBatchAcks(this.estimate, this.timeout) ? "batched" : "sync";
  }

  /**
   * Returns whether its lost worker was certainly running its first item without a result. Such a
   * task counts as crashed; any other goes back to the queue.
   *
   * @param complete whether all replies of the worker have arrived
   */
  wasRunning(complete: boolean): boolean {
    if (this.itemCount === 1) return this.ackMode === "sync" ? this.hasBegun : complete;
    // In a chunk, the results of the first item and of slow items leave before the next item
    // begins.
    const isCertain =
      this.ackMode === "sync" ||
      this.answeredCount === this.answeredWhenSent ||
      this.estimate.averageMs >= MAX_BATCH_DELAY_MS;
    return this.hasBegun && (complete || isCertain);
  }
}
