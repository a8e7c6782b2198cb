/**
 * The workers of a scheduler: when to start and to replace one, which one gets the next task, and
 * which one has work to steal.
 *
 * *Prefetch*: short tasks are sent ahead, so that a worker has its next tasks before it reports a
 * result. The limits below keep the work that is queued at a worker small.
 */
import type { SchedulerCommands, SchedulerOptions } from "./scheduler-commands.ts";
import { Task, type TaskSource } from "./task.ts";
import { WorkerSlot } from "./worker-slot.ts";

/**
 * Prefetch limit: tasks in flight at a worker. Tasks that leave in one batch cost one system call.
 */
const MAX_IN_FLIGHT = 1024;
/** Prefetch limit: expected work at a worker, in milliseconds. */
const MAX_QUEUED_MS = 1;
/** Prefetch limit: payload at a worker, in bytes. */
const MAX_QUEUED_BYTES = 1024 * 1024;
/** The least expected work that is worth stealing, in milliseconds. */
export const MIN_SPLIT_MS = 2;
/**
 * How many workers may end in a row before they are sent a task. Then the scheduler waits before it
 * starts another. A completed task resets the count.
 */
const MAX_START_FAILURES = 8;
const START_RETRY_DELAY_MS = 5000;

/** A set of slots, one for each worker that has not ended. */
export class WorkerSet<T extends Task, L> {
  readonly slots: Set<WorkerSlot<T, L>> = new Set();
  /** Whether no more workers are started. */
  isClosed = false;
  readonly #options: SchedulerOptions;
  readonly #commands: SchedulerCommands<T, L>;
  readonly #now: () => number;
  /** The count for MAX_START_FAILURES, and the time at which the next start may be tried. */
  #startFailures = 0;
  #retryAt = 0;
  #wasEverReady = false;

  constructor(options: SchedulerOptions, commands: SchedulerCommands<T, L>, now: () => number) {
    this.#options = options;
    this.#commands = commands;
    this.#now = now;
  }

  /** The number of workers that run or start. */
  get activeCount(): number {
    let count = 0;
    for (const slot of this.slots) if (slot.state !== "stopping") count++;
    return count;
  }

  /** Starts the workers that are missing. */
  startMissing(): void {
    // Before any worker was ready, one failure is enough: others would fail too.
    if (this.isClosed || this.#startFailures >= (this.#wasEverReady ? MAX_START_FAILURES : 1)) return;
    for (let count = this.activeCount; count < this.#options.processes; count++) {
      const slot = new WorkerSlot<T, L>();
      this.slots.add(slot);
      this.#commands.start(slot);
    }
  }

  /** Retries a start after failures, because there is new work. */
  retryStart(): void {
    if (this.slots.size >= this.#options.processes) return;
    const mayTry = this.activeCount === 0 || this.#now() >= this.#retryAt;
    if (this.#startFailures >= MAX_START_FAILURES && mayTry) this.#startFailures = MAX_START_FAILURES - 1;
    this.startMissing();
  }

  /** Records that a worker has started. */
  ready(slot: WorkerSlot<T, L>): void {
    slot.state = "ready";
    this.#wasEverReady = true;
  }

  /** Records that a worker has completed `count` tasks. */
  recordDone(slot: WorkerSlot<T, L>, count: number): void {
    if (slot.doneCount === 0) this.#startFailures = 0;
    slot.doneCount += count;
  }

  /** Records that a worker has ended. Its slot stays in the set until its tasks are settled. */
  markGone(slot: WorkerSlot<T, L>): void {
    const isStartFailure = slot.state !== "stopping" && slot.sentCount === 0;
    slot.state = "gone";
    if (isStartFailure && ++this.#startFailures >= MAX_START_FAILURES)
      this.#retryAt = this.#now() + START_RETRY_DELAY_MS;
  }

  /** Returns whether there is no worker, and starting another would fail again. */
  cannotStart(hasWork: boolean): boolean {
    if (this.activeCount > 0) return false;
    return this.#wasEverReady ? this.#startFailures >= MAX_START_FAILURES && hasWork : this.#startFailures > 0;
  }

  /** Stops a worker that has reached its limit, and starts another. */
  replace(slot: WorkerSlot<T, L>): void {
    this.stop(slot);
    this.startMissing();
  }

  stop(slot: WorkerSlot<T, L>): void {
    if (slot.state === "stopping") return;
    slot.state = "stopping";
    this.#commands.stop(slot);
  }

  /** Returns whether a worker gets no more tasks before it is replaced. */
  hasReachedLimit(slot: WorkerSlot<T, L>): boolean {
    const { maxTasksPerChild = Number.POSITIVE_INFINITY } = this.#options;
    return slot.isOverLimit || slot.sentCount - slot.returnedCount >= maxTasksPerChild;
  }

  /** Returns whether a worker gets the next task: it is idle, or the prefetch limits allow it. */
  hasRoom(slot: WorkerSlot<T, L>, source: TaskSource<T>): boolean {
    if (slot.state !== "ready" || this.hasReachedLimit(slot)) return false;
    const { head } = slot;
    if (head === undefined) return true;
    if (slot.isStalled || (head instanceof Task && head.state !== "sent")) return false;
    if (slot.count >= MAX_IN_FLIGHT || slot.queuedBytes + source.size > MAX_QUEUED_BYTES) return false;
    // An unknown duration is NaN, so the comparison is false and the task is not prefetched.
    return slot.queuedMs + source.expectedMs <= MAX_QUEUED_MS;
  }

  /** Returns the worker with the fewest tasks, if it has room for another. */
  leastLoaded(source: TaskSource<T>): WorkerSlot<T, L> | undefined {
    let best: WorkerSlot<T, L> | undefined;
    for (const slot of this.slots) {
      if (best !== undefined && slot.count >= best.count) continue;
      if (this.hasRoom(slot, source)) best = slot;
      if (best?.count === 0) break;
    }
    return best;
  }

  /**
   * Returns the worker with the most stealable work in its running task. A worker that has been
   * silent for MIN_SPLIT_MS counts as infinitely loaded, because its progress is unknown.
   *
   * @param requestRetry called with the time at which a worker will count as silent
   */
  mostStealable(requestRetry: (at: number) => void): WorkerSlot<T, L> | undefined {
    const now = this.#now();
    let best: WorkerSlot<T, L> | undefined;
    let mostMs = MIN_SPLIT_MS;
    for (const slot of this.slots) {
      const { head: task } = slot;
      if (
        !(task instanceof Task) ||
        task.state !== "sent" ||
        task.isOnLastItem ||
        task.itemCount - task.answeredCount < 2 ||
        slot.isSplitting
      )
        continue;
      const isSilent = now >= slot.itemStartedAt + MIN_SPLIT_MS;
      if (!isSilent) requestRetry(slot.itemStartedAt + MIN_SPLIT_MS);
      const stealableMs = isSilent ? Number.POSITIVE_INFINITY : task.expectedMs;
      if (!(stealableMs >= mostMs)) continue;
      mostMs = stealableMs;
      best = slot;
    }
    return best;
  }
}
