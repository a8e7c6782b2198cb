/** The workers as the scheduler sees them: when another is started, which one has room, and which one could share. */
import type { SchedulerCommands, SchedulerOptions } from "./scheduler-commands.ts";
import { Task, type TaskSource } from "./task.ts";
import { WorkerSlot } from "./worker-slot.ts";

/** How many tasks a worker has at most, the running one among them. What leaves and arrives together costs one call of the system. */
const MAX_IN_FLIGHT = 1024;
/** How much work waits at a worker, in milliseconds. */
const MAX_QUEUED_MS = 1;
/** How many bytes wait at a worker. */
const MAX_QUEUED_BYTES = 1024 * 1024;
/** What takes less than this is not worth sharing, in milliseconds. */
export const MIN_SPLIT_MS = 2;
/** How many workers in a row may be lost without having done anything; then no more are started for a while. */
const MAX_START_FAILURES = 8;
const START_RETRY_DELAY_MS = 5000;

/** Workers that come and go. */
export class WorkerSet<T extends Task, L> {
  readonly slots: Set<WorkerSlot<T, L>> = new Set();
  /** No more are started. */
  isClosed = false;
  readonly #options: SchedulerOptions;
  readonly #commands: SchedulerCommands<T, L>;
  readonly #now: () => number;
  /** Workers in a row that were lost without having done anything, and when another may be tried. */
  #startFailures = 0;
  #retryAt = 0;
  #wasEverReady = false;

  constructor(options: SchedulerOptions, commands: SchedulerCommands<T, L>, now: () => number) {
    this.#options = options;
    this.#commands = commands;
    this.#now = now;
  }

  /** How many workers there are, or are about to be. */
  get activeCount(): number {
    let count = 0;
    for (const slot of this.slots) if (slot.state !== "stopping") count++;
    return count;
  }

  /** Starts the workers that are missing. */
  startMissing(): void {
    if (this.isClosed || this.#startFailures >= (this.#wasEverReady ? MAX_START_FAILURES : 1)) return;
    for (let count = this.activeCount; count < this.#options.processes; count++) {
      const slot = new WorkerSlot<T, L>();
      this.slots.add(slot);
      this.#commands.start(slot);
    }
  }

  /** There is work, for which a worker may be missing: one more try. */
  retryStart(): void {
    if (this.slots.size >= this.#options.processes) return;
    const mayTry = this.activeCount === 0 || this.#now() >= this.#retryAt;
    if (this.#startFailures >= MAX_START_FAILURES && mayTry) this.#startFailures = MAX_START_FAILURES - 1;
    this.startMissing();
  }

  /** A worker is there. */
  ready(slot: WorkerSlot<T, L>): void {
    slot.state = "ready";
    this.#wasEverReady = true;
  }

  /** A worker has done so many tasks. */
  recordDone(slot: WorkerSlot<T, L>, count: number): void {
    if (slot.replyCount === 0) this.#startFailures = 0;
    slot.replyCount += count;
  }

  /** A worker is gone; it stays among the others until its tasks are settled. */
  markGone(slot: WorkerSlot<T, L>): void {
    const isStartFailure = slot.state !== "stopping" && slot.sentCount === 0;
    slot.state = "gone";
    if (isStartFailure && ++this.#startFailures >= MAX_START_FAILURES)
      this.#retryAt = this.#now() + START_RETRY_DELAY_MS;
  }

  /** Whether it makes no sense to start another worker, and there is none. */
  cannotStart(hasWork: boolean): boolean {
    if (this.activeCount > 0) return false;
    return this.#wasEverReady ? this.#startFailures >= MAX_START_FAILURES && hasWork : this.#startFailures > 0;
  }

  /** Ends a worker that has done all it may do; another takes its place. */
  replace(slot: WorkerSlot<T, L>): void {
    this.stop(slot);
    this.startMissing();
  }

  stop(slot: WorkerSlot<T, L>): void {
    if (slot.state === "stopping") return;
    slot.state = "stopping";
    this.#commands.stop(slot);
  }

  /** Whether a worker is to be given no more tasks. */
  hasReachedLimit(slot: WorkerSlot<T, L>): boolean {
    const { maxTasksPerChild = Number.POSITIVE_INFINITY } = this.#options;
    return slot.isOverLimit || slot.sentCount - slot.returnedCount >= maxTasksPerChild;
  }

  hasRoom(slot: WorkerSlot<T, L>, source: TaskSource<T>): boolean {
    if (slot.state !== "ready" || this.hasReachedLimit(slot)) return false;
    const { head } = slot;
    if (head === undefined) return true;
    if (slot.isStalled || (head instanceof Task && head.state !== "sent")) return false;
    if (slot.count >= MAX_IN_FLIGHT || slot.queuedBytes + source.size > MAX_QUEUED_BYTES) return false;
    // Where one of them is unknown, the sum is no number, and not below anything.
    return slot.queuedMs + source.expectedMs <= MAX_QUEUED_MS;
  }

  /** The worker with the fewest tasks, if it has room for another. */
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
   * The worker with the most work in its running task that could be shared. Of one that has long said nothing, nobody knows how
   * much it is.
   *
   * @param wake is told when to ask again
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
