/** What the scheduler keeps book of: tasks, and those that wait; and what it has done by others. */

import { Fifo } from "@multiproc/core/internal";
import { type AckMode, MAX_BATCH_DELAY_MS } from "../protocol.ts";
import type { WorkerSlot } from "./worker-slot.ts";

/** Saying that a task begins costs about a fifth of this, in milliseconds. */
const BATCHED_ACK_BELOW_MS = 0.02;

/** A single measurement counts for no more than so many times what was typical: the system may just have been busy. */
const OUTLIER_FACTOR = 8;
/** The average is that of about so many items. */
const AVERAGE_WINDOW_ITEMS = 64;

/** How long a function takes for one item, in milliseconds; NaN before the first measurement. */
export class DurationEstimate {
  /** What most calls take. */
  typicalMs: number = Number.NaN;
  /** What they take on average, slow ones among them. */
  averageMs: number = Number.NaN;
  #itemCount = 0;

  /** Takes a measurement: what one of so many items took on average, in milliseconds. */
  record(ms: number, itemCount = 1): void {
    if (this.#itemCount === 0) {
      this.typicalMs = this.averageMs = ms;
    } else {
      this.typicalMs += (Math.min(ms, this.typicalMs * OUTLIER_FACTOR) - this.typicalMs) / 4;
      this.averageMs += ((ms - this.averageMs) * itemCount) / (this.#itemCount + itemCount - 1);
    }
    this.#itemCount = Math.min(AVERAGE_WINDOW_ITEMS, this.#itemCount + itemCount);
  }
}

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
  state: "new" | "queued" | "sent" | "dropped" | "done" = "new";
  slot: WorkerSlot | undefined;
  ackMode: AckMode = "careful";
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
    if (this.isSuspect) return "careful";
    if (this.itemCount > 1) return "loose";
    return canBatchAcks(this.estimate, this.timeout) ? "loose" : "careful";
  }

  /**
   * Whether its worker, which is lost, was running its first item without an answer.
   *
   * @param told whether all that the worker answered has arrived for certain
   */
  wasRunning(complete: boolean): boolean {
    if (this.itemCount === 1) return this.ackMode === "careful" ? this.hasBegun : complete;
    // The answer to the first item of a chunk leaves before the second begins, and what takes long leaves by itself.
    const isAlone =
      this.ackMode === "careful" ||
      this.answeredCount === this.answeredWhenSent ||
      this.estimate.averageMs >= MAX_BATCH_DELAY_MS;
    return this.hasBegun && (complete || isAlone);
  }
}

/** First in, first out; tasks that come back from a lost worker go before all that were never sent. */
export class TaskQueue<T extends Task> {
  readonly #returned: T[] = [];
  readonly #sources = new Fifo<TaskSource<T>>();

  /** How many tasks wait; it counts them. */
  get size(): number {
    let size = 0;
    for (const task of this.#returned) size += task.remaining;
    for (const { remaining } of this.#sources.toArray()) size += remaining;
    return size;
  }

  push(source: TaskSource<T>): void {
    this.#sources.push(source);
  }

  /** Puts a task back that was sent before. */
  putBack(task: T): void {
    this.#returned.push(task);
  }

  /** Where the next task is that is still to be done; it stays there. */
  peek(): TaskSource<T> | undefined {
    for (let front = this.#front; front !== undefined; front = this.#front) {
      if (front.remaining > 0) return front;
      this.#removeFront(); // dropped while it waited
    }
    return undefined;
  }

  /** Takes the next task away, which must be there; it becomes a task if it has to be one. */
  take(): T | LazyTask<T> {
    return this.#takeFront(this.#front as TaskSource<T>, takeNext);
  }

  /** All that waits, as far as it is still to be done. */
  get all(): TaskSource<T>[] {
    const all = [...this.#returned, ...this.#sources.toArray()] as TaskSource<T>[];
    return all.filter(({ remaining }) => remaining > 0);
  }

  /** Empties it, and answers what was there. */
  drain(): T[] {
    const all: T[] = [];
    while (this.peek() !== undefined) all.push(this.#takeFront(this.#front as TaskSource<T>, (front) => front.take()));
    return all;
  }

  #takeFront<N extends T | LazyTask<T>>(front: TaskSource<T>, next: (front: TaskSource<T>) => N): N {
    const task = next(front);
    if (front.remaining === 0 || (front as unknown) === task) this.#removeFront();
    return task;
  }

  get #front(): TaskSource<T> | undefined {
    return this.#returned.length > 0 ? this.#returned[0] : this.#sources.first;
  }

  /** Takes the front away. */
  #removeFront(): void {
    if (this.#returned.length > 0) this.#returned.shift();
    else this.#sources.shift();
  }
}

/** What the scheduler has done by others. */
export interface SchedulerCommands<T extends Task, L> {
  /** Starts a worker; the answer is `ready()` or `lost()`. */
  start(slot: WorkerSlot<T, L>): void;
  /** Sends a task as its `care` says; the answers are `began()` and `answered()`. */
  send(slot: WorkerSlot<T, L>, task: T): void;
  /** Sends a task as it waited, a loose one. */
  sendLazyTask(slot: WorkerSlot<T, L>, lazyTask: LazyTask<T>): void;
  /** Tells a worker that nobody wants a task any more; it is answered all the same. */
  cancel(slot: WorkerSlot<T, L>, task: T): void;
  /** Asks a worker for tasks that it has not begun; the answers are `returned()`, or as to any task. */
  recall(slot: WorkerSlot<T, L>, tasks: readonly T[]): void;
  /** Asks a worker to leave some of its running task to others; the answer is `shared()`, or that to the task. */
  split(slot: WorkerSlot<T, L>, task: T): void;
  /** A new task with the same message as this one. */
  cloneForRest(task: T): T;
  /** Ends a worker when it has answered what it has. */
  stop(slot: WorkerSlot<T, L>): void;
  /** Ends a worker that did not stop in time. */
  kill(slot: WorkerSlot<T, L>): void;
  /** Ends a worker, whatever it does. */
  terminate(slot: WorkerSlot<T, L>): void;
  /** The task fails, because its worker was lost. */
  fail(task: T, slot: WorkerSlot<T, L>): void;
  /** The task fails, because its time ran out. */
  timeOut(task: T, slot: WorkerSlot<T, L>): void;
  /** The task will not be run: the pool has ended. */
  reject(task: T): void;
  /** No worker can be had: the pool has ended. */
  failPool(): void;
  /** `tick()` is to be called at that time. */
  setTimer(at: number): void;
}

/** How a scheduler works. */
export interface SchedulerOptions {
  /** How many workers there are. */
  readonly processes: number;
  /** After how many tasks a worker is replaced. */
  readonly maxTasksPerChild?: number | undefined;
  /** How long a worker may go on with a dropped task before it is killed, in milliseconds. */
  readonly gracePeriod: number;
}
