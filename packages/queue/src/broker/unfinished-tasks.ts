/**
 * The unfinished tasks of a `JoinableQueue`, and the waiting calls of `join()`. It is pure state.
 */
import { TasksLostError } from "../errors.ts";

/** The treatment of unfinished tasks whose process has ended; see `JoinableQueueOptions`. */
export type LostTasks = "throw" | "requeue";

/** A wait until all tasks are done. */
export interface Joiner {
  done(): void;
  lost(error: TasksLostError): void;
}

/** Counts the unfinished tasks, and ends the waits for them. */
export class UnfinishedTasks {
  readonly onLoss: LostTasks;
  #unfinishedCount = 0;
  /** Unfinished tasks that a process has taken. */
  #takenCount = 0;
  readonly #joiners = new Set<Joiner>();
  /** A loss that no `join()` has reported yet. */
  #unreportedLoss: TasksLostError | undefined;

  constructor(onLoss: LostTasks) {
    this.onLoss = onLoss;
  }

  /** Whether a task that was taken may be requeued. */
  get mayReturn(): boolean {
    return this.onLoss === "requeue" && this.#takenCount > 0;
  }

  added(): void {
    this.#unfinishedCount += 1;
  }

  taken(count: number): void {
    this.#takenCount += count;
  }

  /** Finishes tasks that were dropped by a shutdown. */
  dropped(count: number): void {
    this.#finish(count);
  }

  /** Finishes a task. Returns false if all were finished. */
  done(): boolean {
    if (this.#unfinishedCount === 0) return false;
    this.#takenCount = Math.max(0, this.#takenCount - 1);
    this.#finish(1);
    return true;
  }

  /** Notes that tasks were requeued. */
  returned(count: number): void {
    this.#takenCount -= count;
  }

  /**
   * Ends every `join()` because a process ended with unfinished tasks. If no `join()` waits, the next
   * one reports the loss.
   */
  lost(pid: number, count: number): void {
    const lostCount = Math.min(count, this.#unfinishedCount);
    if (lostCount === 0) return;
    this.#takenCount -= lostCount;
    this.#unfinishedCount -= lostCount;
    const error = new TasksLostError(pid, lostCount);
    if (this.#joiners.size === 0) this.#unreportedLoss ??= error;
    for (const joiner of this.#clearJoiners()) joiner.lost(error);
  }

  /** Waits until every task is finished. */
  join(joiner: Joiner): void {
    const loss = this.#unreportedLoss;
    this.#unreportedLoss = undefined;
    if (loss !== undefined) joiner.lost(loss);
    else if (this.#unfinishedCount === 0) joiner.done();
    else this.#joiners.add(joiner);
  }

  withdraw(joiner: Joiner): void {
    this.#joiners.delete(joiner);
  }

  #finish(count: number): void {
    this.#unfinishedCount -= count;
    if (this.#unfinishedCount === 0) for (const joiner of this.#clearJoiners()) joiner.done();
  }

  #clearJoiners(): Joiner[] {
    const joiners = [...this.#joiners];
    this.#joiners.clear();
    return joiners;
  }
}
