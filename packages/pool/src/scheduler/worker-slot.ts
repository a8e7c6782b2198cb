/** The place of a worker, and what that has to do. */
import { type LazyTask, Task } from "./task.ts";

/** What the scheduler knows of a worker. */
export class WorkerSlot<T extends Task = Task, L = unknown> {
  state: "starting" | "ready" | "stopping" | "gone" = "starting";
  /** How many tasks it was ever sent, and how many of them it gave back. */
  sentCount = 0;
  returnedCount = 0;
  /** How many tasks it had when it was last given some. */
  highWater = 0;
  /** The work and the bytes that wait there. */
  queuedMs = 0;
  queuedBytes = 0;
  /** How many tasks were answered, and how many at the last look. */
  replyCount = 0;
  repliesSeen = 0;
  /** It is to do no more than it has. */
  isOverLimit = false;
  /** Its running task takes longer than it should: nothing is sent behind it. */
  isStalled = false;
  /** When the running item began, as far as answers tell. */
  itemStartedAt = 0;
  /** It was asked to share its running task, and has not answered. */
  isSplitting = false;
  /** When it is killed unless it stops what it does. */
  killDeadline: number = Number.POSITIVE_INFINITY;
  /** The process itself; the scheduler has no use for it. */
  connection: L | undefined;
  /** What was sent and not answered, the running one first, and what each was expected to take, in milliseconds. */
  readonly #inFlight: (T | LazyTask<T>)[] = [];
  readonly #expectedMs: number[] = [];

  /** How many tasks it has. */
  get count(): number {
    return this.#inFlight.length;
  }

  /** How many of them somebody waits for. */
  get wantedCount(): number {
    let count = 0;
    for (const each of this.#inFlight) if (!(each instanceof Task) || each.state === "sent") count++;
    return count;
  }

  /** The running task as it was sent. */
  get head(): T | LazyTask<T> | undefined {
    return this.#inFlight[0];
  }

  /** The running task. */
  get running(): T | undefined {
    return this.#inFlight.length === 0 ? undefined : this.#taskAt(0);
  }

  /** All of its tasks, the running one first. */
  get tasks(): readonly T[] {
    return this.#inFlight.map((_, at) => this.#taskAt(at));
  }

  /** Has a task made of what was sent as it waited, if that was here; and of all others: where one is given up, more mostly are. */
  materialize(lazyTask: LazyTask<T>): void {
    if (this.#inFlight.includes(lazyTask)) void this.tasks;
  }

  /** It is sent one more. */
  add(task: T | LazyTask<T>, expectedMs: number): void {
    this.highWater = this.#inFlight.push(task);
    this.#expectedMs.push(expectedMs);
    this.sentCount++;
    this.queuedMs += expectedMs;
    this.queuedBytes += task.size;
  }

  /** Takes a task from the worker, which has answered it, or given it back. */
  remove(at: number): T {
    const task = this.#taskAt(at);
    this.#inFlight.splice(at, 1);
    this.#subtract(task, this.#expectedMs.splice(at, 1)[0] as number);
    return task;
  }

  /** Takes so many of the first tasks from the worker. */
  removeFirst(count: number): (T | LazyTask<T>)[] {
    const taken = this.#inFlight.splice(0, count);
    const expectedMs = this.#expectedMs.splice(0, count);
    for (let i = 0; i < taken.length; i++) this.#subtract(taken[i] as T | LazyTask<T>, expectedMs[i] as number);
    return taken;
  }

  /** Takes all tasks from the worker. */
  removeAll(): T[] {
    const all = [...this.tasks];
    this.removeFirst(all.length);
    return all;
  }

  #subtract(task: T | LazyTask<T>, expectedMs: number): void {
    this.queuedMs = this.#inFlight.length === 0 ? 0 : this.queuedMs - expectedMs;
    this.queuedBytes -= task.size;
  }

  /** One of them; it is made, if it has not been so far. */
  #taskAt(at: number): T {
    const entry = this.#inFlight[at] as T | LazyTask<T>;
    if (entry instanceof Task) return entry;
    const task = entry.take();
    task.state = "sent";
    task.slot = this;
    task.ackMode = "batched";
    // Nothing behind it has been taken out: for that, all would have been made.
    task.sequence = this.sentCount - (this.#inFlight.length - at);
    this.#inFlight[at] = task;
    return task;
  }
}
