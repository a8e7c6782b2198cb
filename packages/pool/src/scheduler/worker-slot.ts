/**
 * The slot of one worker: its state and the tasks in flight, that is, sent and without a result.
 *
 * A worker runs its tasks in order. So the first one, the head, is the running one.
 */
import { type LazyTask, Task } from "./task.ts";

/** A worker as the scheduler sees it. A replacement gets a new slot. */
export class WorkerSlot<T extends Task = Task, L = unknown> {
  state: "starting" | "ready" | "stopping" | "gone" = "starting";
  /** The number of tasks that were sent, and of recalled tasks that came back. */
  sentCount = 0;
  returnedCount = 0;
  /** The number of tasks in flight after the last one was sent. */
  highWater = 0;
  /** The expected duration and the payload size of all tasks in flight. */
  queuedMs = 0;
  queuedBytes = 0;
  /** The number of completed tasks: now, and when the scheduler last checked for a stall. */
  doneCount = 0;
  doneCountSeen = 0;
  /** Whether its memory is over the limit: it gets no more tasks. */
  isOverLimit = false;
  /** Whether its running task takes longer than expected: nothing is sent behind it. */
  isStalled = false;
  /** When the running item began, estimated from the last reply. */
  itemStartedAt = 0;
  /** Whether it was asked to split its running task, and has not replied. */
  isSplitting = false;
  /** The time at which the worker is killed, unless it stops its cancelled task before. */
  killDeadline: number = Number.POSITIVE_INFINITY;
  /** The connection to the process. The scheduler does not use it. */
  connection: L | undefined;
  /**
   * The tasks in flight, the running one first, and the expected duration of each, in milliseconds.
   */
  readonly #inFlight: (T | LazyTask<T>)[] = [];
  readonly #expectedMs: number[] = [];

  /** The number of tasks in flight. */
  get count(): number {
    return this.#inFlight.length;
  }

  /** The number of tasks in flight that are not cancelled. */
  get wantedCount(): number {
    let count = 0;
    for (const each of this.#inFlight) if (!(each instanceof Task) || each.state === "sent") count++;
    return count;
  }

  /** The running task, as it was sent: it may be a lazy task. */
  get head(): T | LazyTask<T> | undefined {
    return this.#inFlight[0];
  }

  /** The running task. A lazy task is materialized. */
  get running(): T | undefined {
    return this.#inFlight.length === 0 ? undefined : this.#taskAt(0);
  }

  /** All tasks in flight, the running one first. Lazy tasks are materialized. */
  get tasks(): readonly T[] {
    return this.#inFlight.map((_, at) => this.#taskAt(at));
  }

  /**
   * Materializes (creates the task objects of) all lazy tasks in this slot, if the given one is
   * among them. All, because cancellations usually come in groups.
   */
  materialize(lazyTask: LazyTask<T>): void {
    if (this.#inFlight.includes(lazyTask)) void this.tasks;
  }

  /** Adds a task that is sent. */
  add(task: T | LazyTask<T>, expectedMs: number): void {
    this.highWater = this.#inFlight.push(task);
    this.#expectedMs.push(expectedMs);
    this.sentCount++;
    this.queuedMs += expectedMs;
    this.queuedBytes += task.size;
  }

  /** Removes a task that has a result, or was given back. */
  remove(at: number): T {
    const task = this.#taskAt(at);
    this.#inFlight.splice(at, 1);
    this.#subtract(task, this.#expectedMs.splice(at, 1)[0] as number);
    return task;
  }

  /** Removes the first `count` tasks. */
  removeFirst(count: number): (T | LazyTask<T>)[] {
    const taken = this.#inFlight.splice(0, count);
    const expectedMs = this.#expectedMs.splice(0, count);
    for (let i = 0; i < taken.length; i++) this.#subtract(taken[i] as T | LazyTask<T>, expectedMs[i] as number);
    return taken;
  }

  /** Removes all tasks. */
  removeAll(): T[] {
    const all = [...this.tasks];
    this.removeFirst(all.length);
    return all;
  }

  #subtract(task: T | LazyTask<T>, expectedMs: number): void {
    this.queuedMs = this.#inFlight.length === 0 ? 0 : this.queuedMs - expectedMs;
    this.queuedBytes -= task.size;
  }

  /** Returns a task, and materializes it if it is lazy. */
  #taskAt(at: number): T {
    const entry = this.#inFlight[at] as T | LazyTask<T>;
    if (entry instanceof Task) return entry;
    const task = entry.take();
    task.state = "sent";
    task.slot = this;
    task.ackMode = "batched";
    // No later task is missing from the count: removing one materializes all lazy tasks first.
    task.sequence = this.sentCount - (this.#inFlight.length - at);
    this.#inFlight[at] = task;
    return task;
  }
}
