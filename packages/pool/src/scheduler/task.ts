/** What the scheduler keeps book of: tasks. */

import { type AckMode, MAX_BATCH_DELAY_MS } from "../protocol.ts";
import type { DurationEstimate } from "./duration-estimate.ts";

/** Saying that a task begins costs about a fifth of this, in milliseconds. */
const BATCHED_ACK_BELOW_MS = 0.02;

/** What a user may ask for a task. */
export interface TaskTraits {
  readonly retries?: number | undefined;
  readonly timeout?: number | undefined;
}

/** What waits for a worker: a task, or what makes one when it can be sent. What is not made does not have to be kept. */
export interface TaskSource<T> {
  /** How many tasks somebody waits for that are still in it. */
  readonly remaining: number;
  /** How many bytes the message of the next one holds. */
  readonly size: number;
  /** What the next one is expected to take, in milliseconds; NaN if nobody knows. */
  readonly expectedMs: number;
  /** The next task; what is not a task itself has one less from then on. */
  take(): T;
  /** Has nothing left from now on. */
  clear(): void;
  /** Itself, if it is one short task that can be sent as it waits. */
  readonly lazyTask?: LazyTask<T> | undefined;
}

/**
 * A short task that is sent, and answered, as it waited. A task is made of it only when something out of the ordinary happens
 * to it or to its worker: most of what many short calls cost would be that object.
 */
export interface LazyTask<T> extends TaskSource<T> {
  readonly estimate: DurationEstimate;
  /** It has been sent, and waits no more. */
  markSent(): void;
}

/** The next task of what waits, to be sent; it is made if it has to be. */
export function takeNext<T>(source: TaskSource<T>): T | LazyTask<T> {
  const { lazyTask } = source;
  lazyTask?.markSent();
  return lazyTask ?? source.take();
}

/** Whether its worker may be quiet about a task of one item. */
export function canBatchAcks(estimate: DurationEstimate, timeout: number | undefined): boolean {
  return estimate.typicalMs < BATCHED_ACK_BELOW_MS && timeout === undefined;
}

/** The slot of the worker that has a task, as far as the task knows it. */
export interface AssignedSlot {
  readonly head: unknown;
}

/** One call, or a chunk of items that travel together. */
export class Task {
  /** How long its function takes for one item. */
  readonly estimate: DurationEstimate;
  /** How many answers it gets; fewer than there are items in its message, if another task has the rest. */
  itemCount: number;
  /** How many bytes its message holds. */
  readonly size: number;
  /** How often it goes to another worker when one was lost while running it. */
  readonly retries: number;
  /** How long one item may run, in milliseconds. */
  readonly timeout: number | undefined;

  /** How many of its items have been answered, and how many had been when it was sent. */
  answeredCount = 0;
  answeredWhenSent = 0;
  /** `dropped`: nobody wants its answer any more, though a worker may still have it. */
  state: "new" | "queued" | "sent" | "cancelled" | "done" = "new";
  slot: AssignedSlot | undefined;
  ackMode: AckMode = "sync";
  /** Its worker has said that it begins. */
  hasBegun = false;
  /** Workers that were lost while they ran it. */
  crashCount = 0;
  /** Workers that were lost before they began it. */
  notStartedCount = 0;
  /** A worker was lost while it ran this task or one beside it: now it must be known which. */
  isSuspect = false;
  /** Whether a worker that does not stop it in time is killed. */
  cancelRunning = false;
  /** Its worker has begun with its last item: there is nothing left to share. */
  isOnLastItem = false;
  /** The how-manieth task of its worker it is. */
  sequence = 0;

  constructor(estimate: DurationEstimate, itemCount: number, size: number, traits: TaskTraits) {
    this.estimate = estimate;
    this.itemCount = itemCount;
    this.size = size;
    this.retries = traits.retries ?? 0;
    this.timeout = traits.timeout;
  }

  /** Whether it waits, as a number. */
  get remaining(): number {
    return this.state === "queued" ? 1 : 0;
  }

  /** A task is all that is in it. */
  take(): this {
    return this;
  }

  clear(): void {
    this.state = "done";
  }

  /** What it is expected to take from now on, in milliseconds; NaN if nobody knows. */
  get expectedMs(): number {
    return this.estimate.averageMs * (this.itemCount - this.answeredCount);
  }

  /** Has a new task for the same message take over what stands from an item on. */
  splitInto(rest: Task, from: number): void {
    rest.itemCount = this.itemCount;
    rest.answeredCount = from;
    this.itemCount = from;
  }

  /** How much its worker is to say about it. */
  get requiredAckMode(): AckMode {
    if (this.isSuspect) return "sync";
    if (this.itemCount > 1) return "batched";
    return canBatchAcks(this.estimate, this.timeout) ? "batched" : "sync";
  }

  /**
   * Whether its worker, which is lost, was running its first item without an answer.
   *
   * @param told whether all that the worker answered has arrived for certain
   */
  wasRunning(complete: boolean): boolean {
    if (this.itemCount === 1) return this.ackMode === "sync" ? this.hasBegun : complete;
    // The answer to the first item of a chunk leaves before the second begins, and what takes long leaves by itself.
    const isAlone =
      this.ackMode === "sync" ||
      this.answeredCount === this.answeredWhenSent ||
      this.estimate.averageMs >= MAX_BATCH_DELAY_MS;
    return this.hasBegun && (complete || isAlone);
  }
}
