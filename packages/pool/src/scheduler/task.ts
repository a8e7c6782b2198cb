/** What the scheduler keeps book of: tasks, and those that wait; and what it has done by others. */

import { Fifo } from "@multiproc/core/internal";
import { type Care, HOLD_MS } from "../protocol.ts";
import type { Seat } from "./worker-slot.ts";

/** Saying that a task begins costs about a fifth of this, in milliseconds. */
const LOOSE_BELOW = 0.02;

/** A single measurement counts for no more than so many times what was typical: the system may just have been busy. */
const OUTLIER = 8;
/** The average is that of about so many items. */
const MEMORY = 64;

/** How long a function takes for one item, in milliseconds; NaN before the first measurement. */
export class Estimate {
  /** What most calls take. */
  typical: number = Number.NaN;
  /** What they take on average, slow ones among them. */
  average: number = Number.NaN;
  #count = 0;

  /** Takes a measurement: what one of so many items took on average, in milliseconds. */
  learn(ms: number, items = 1): void {
    if (this.#count === 0) {
      this.typical = this.average = ms;
    } else {
      this.typical += (Math.min(ms, this.typical * OUTLIER) - this.typical) / 4;
      this.average += ((ms - this.average) * items) / (this.#count + items - 1);
    }
    this.#count = Math.min(MEMORY, this.#count + items);
  }
}

/** What a user may ask for a task. */
export interface TaskTraits {
  readonly retries?: number | undefined;
  readonly timeout?: number | undefined;
}

/** What waits for a worker: a task, or what makes one when it can be sent. What is not made does not have to be kept. */
export interface Waiting<T> {
  /** How many tasks somebody waits for that are still in it. */
  readonly left: number;
  /** How many bytes the message of the next one holds. */
  readonly size: number;
  /** What the next one is expected to take, in milliseconds; NaN if nobody knows. */
  readonly expected: number;
  /** The next task; what is not a task itself has one less from then on. */
  next(): T;
  /** Has nothing left from now on. */
  clear(): void;
  /** Itself, if it is one short task that can be sent as it waits. */
  readonly brief?: Brief<T> | undefined;
}

/**
 * A short task that is sent, and answered, as it waited. A task is made of it only when something out of the ordinary happens
 * to it or to its worker: most of what many short calls cost would be that object.
 */
export interface Brief<T> extends Waiting<T> {
  readonly estimate: Estimate;
  /** It has been sent, and waits no more. */
  depart(): void;
}

/** The next task of what waits, to be sent; it is made if it has to be. */
export function nextOf<T>(waiting: Waiting<T>): T | Brief<T> {
  const { brief } = waiting;
  brief?.depart();
  return brief ?? waiting.next();
}

/** Whether its worker may be quiet about a task of one item. */
export function isLoose(estimate: Estimate, timeout: number | undefined): boolean {
  return estimate.typical < LOOSE_BELOW && timeout === undefined;
}

/** One call, or a chunk of items that travel together. */
export class Task {
  /** How long its function takes for one item. */
  readonly estimate: Estimate;
  /** How many answers it gets; fewer than there are items in its message, if another task has the rest. */
  items: number;
  /** How many bytes its message holds. */
  readonly size: number;
  /** How often it goes to another worker when one was lost while running it. */
  readonly retries: number;
  /** How long one item may run, in milliseconds. */
  readonly timeout: number | undefined;

  /** How many of its items have been answered, and how many had been when it was sent. */
  answered = 0;
  from = 0;
  /** `dropped`: nobody wants its answer any more, though a worker may still have it. */
  state: "new" | "queued" | "sent" | "dropped" | "done" = "new";
  seat: Seat | undefined;
  care: Care = "careful";
  /** Its worker has said that it begins. */
  hasBegun = false;
  /** Workers that were lost while they ran it. */
  losses = 0;
  /** Workers that were lost before they began it. */
  misses = 0;
  /** A worker was lost while it ran this task or one beside it: now it must be known which. */
  isSuspect = false;
  /** Whether a worker that does not stop it in time is killed. */
  isHardDrop = false;
  /** Its worker has begun with its last item: there is nothing left to share. */
  isOnLast = false;
  /** The how-manieth task of its worker it is. */
  ordinal = 0;

  constructor(estimate: Estimate, items: number, size: number, traits: TaskTraits) {
    this.estimate = estimate;
    this.items = items;
    this.size = size;
    this.retries = traits.retries ?? 0;
    this.timeout = traits.timeout;
  }

  /** Whether it waits, as a number. */
  get left(): number {
    return this.state === "queued" ? 1 : 0;
  }

  /** A task is all that is in it. */
  next(): this {
    return this;
  }

  clear(): void {
    this.state = "done";
  }

  /** What it is expected to take from now on, in milliseconds; NaN if nobody knows. */
  get expected(): number {
    return this.estimate.average * (this.items - this.answered);
  }

  /** Has a new task for the same message take over what stands from an item on. */
  handOver(rest: Task, from: number): void {
    rest.items = this.items;
    rest.answered = from;
    this.items = from;
  }

  /** How much its worker is to say about it. */
  get neededCare(): Care {
    if (this.isSuspect) return "careful";
    if (this.items > 1) return "loose";
    return isLoose(this.estimate, this.timeout) ? "loose" : "careful";
  }

  /**
   * Whether its worker, which is lost, was running its first item without an answer.
   *
   * @param told whether all that the worker answered has arrived for certain
   */
  wasRunning(told: boolean): boolean {
    if (this.items === 1) return this.care === "careful" ? this.hasBegun : told;
    // The answer to the first item of a chunk leaves before the second begins, and what takes long leaves by itself.
    const isAlone = this.care === "careful" || this.answered === this.from || this.estimate.average >= HOLD_MS;
    return this.hasBegun && (told || isAlone);
  }
}

/** First in, first out; tasks that come back from a lost worker go before all that were never sent. */
export class Backlog<T extends Task> {
  readonly #returned: T[] = [];
  readonly #waiting = new Fifo<Waiting<T>>();

  /** How many tasks wait; it counts them. */
  get size(): number {
    let size = 0;
    for (const task of this.#returned) size += task.left;
    for (const { left } of this.#waiting.toArray()) size += left;
    return size;
  }

  push(waiting: Waiting<T>): void {
    this.#waiting.push(waiting);
  }

  /** Puts a task back that was sent before. */
  putBack(task: T): void {
    this.#returned.push(task);
  }

  /** Where the next task is that is still to be done; it stays there. */
  peek(): Waiting<T> | undefined {
    for (let front = this.#front; front !== undefined; front = this.#front) {
      if (front.left > 0) return front;
      this.#cut(); // dropped while it waited
    }
    return undefined;
  }

  /** Takes the next task away, which must be there; it becomes a task if it has to be one. */
  take(): T | Brief<T> {
    return this.#taken(this.#front as Waiting<T>, nextOf);
  }

  /** All that waits, as far as it is still to be done. */
  get all(): Waiting<T>[] {
    const all = [...this.#returned, ...this.#waiting.toArray()] as Waiting<T>[];
    return all.filter(({ left }) => left > 0);
  }

  /** Empties it, and answers what was there. */
  drain(): T[] {
    const all: T[] = [];
    while (this.peek() !== undefined) all.push(this.#taken(this.#front as Waiting<T>, (front) => front.next()));
    return all;
  }

  #taken<N extends T | Brief<T>>(front: Waiting<T>, next: (front: Waiting<T>) => N): N {
    const task = next(front);
    if (front.left === 0 || (front as unknown) === task) this.#cut();
    return task;
  }

  get #front(): Waiting<T> | undefined {
    return this.#returned.length > 0 ? this.#returned[0] : this.#waiting.first;
  }

  /** Takes the front away. */
  #cut(): void {
    if (this.#returned.length > 0) this.#returned.shift();
    else this.#waiting.shift();
  }
}

/** What the scheduler has done by others. */
export interface Commands<T extends Task, L> {
  /** Starts a worker; the answer is `ready()` or `lost()`. */
  start(seat: Seat<T, L>): void;
  /** Sends a task as its `care` says; the answers are `began()` and `answered()`. */
  send(seat: Seat<T, L>, task: T): void;
  /** Sends a task as it waited, a loose one. */
  sendBrief(seat: Seat<T, L>, brief: Brief<T>): void;
  /** Tells a worker that nobody wants a task any more; it is answered all the same. */
  tell(seat: Seat<T, L>, task: T): void;
  /** Asks a worker for tasks that it has not begun; the answers are `returned()`, or as to any task. */
  recall(seat: Seat<T, L>, tasks: readonly T[]): void;
  /** Asks a worker to leave some of its running task to others; the answer is `shared()`, or that to the task. */
  share(seat: Seat<T, L>, task: T): void;
  /** A new task with the same message as this one. */
  again(task: T): T;
  /** Ends a worker when it has answered what it has. */
  stop(seat: Seat<T, L>): void;
  /** Ends a worker that did not stop in time. */
  kill(seat: Seat<T, L>): void;
  /** Ends a worker, whatever it does. */
  terminate(seat: Seat<T, L>): void;
  /** The task fails, because its worker was lost. */
  fail(task: T, seat: Seat<T, L>): void;
  /** The task fails, because its time ran out. */
  expire(task: T, seat: Seat<T, L>): void;
  /** The task will not be run: the pool has ended. */
  abandon(task: T): void;
  /** No worker can be had: the pool has ended. */
  giveUp(): void;
  /** `tick()` is to be called at that time. */
  alarm(at: number): void;
}

/** How a scheduler works. */
export interface SchedulerOptions {
  /** How many workers there are. */
  readonly processes: number;
  /** After how many tasks a worker is replaced. */
  readonly maxTasksPerChild?: number | undefined;
  /** How long a worker may go on with a dropped task before it is killed, in milliseconds. */
  readonly graceMs: number;
}
