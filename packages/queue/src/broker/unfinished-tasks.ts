/** What a `JoinableQueue` knows of its tasks: pure state. */
import { TasksLostError } from "../errors.ts";

/** What becomes of tasks that a process had taken and not reported as done when it ended; see {@link JoinableQueueOptions}. */
export type LostTasks = "throw" | "requeue";

/** Someone who waits until all tasks are done. */
export interface Joiner {
  done(): void;
  lost(error: TasksLostError): void;
}

/** How many tasks are not done, and those who wait until all are. */
export class UnfinishedTasks {
  readonly onLoss: LostTasks;
  #unfinishedCount = 0;
  /** How many of them somebody has taken. */
  #takenCount = 0;
  readonly #joiners = new Set<Joiner>();
  /** A loss of which nobody has heard yet. */
  #unreportedLoss: TasksLostError | undefined;

  constructor(onLoss: LostTasks) {
    this.onLoss = onLoss;
  }

  /** Whether a task that was taken may come back into the queue. */
  get mayReturn(): boolean {
    return this.onLoss === "requeue" && this.#takenCount > 0;
  }

  added(): void {
    this.#unfinishedCount += 1;
  }

  taken(count: number): void {
    this.#takenCount += count;
  }

  /** Items that nobody will take. */
  dropped(count: number): void {
    this.#finish(count);
  }

  /** A task is done; false if none was open. */
  done(): boolean {
    if (this.#unfinishedCount === 0) return false;
    this.#takenCount = Math.max(0, this.#takenCount - 1);
    this.#finish(1);
    return true;
  }

  /** Tasks that were taken go back into the queue. */
  returned(count: number): void {
    this.#takenCount -= count;
  }

  /** A process ended with tasks taken and not done: those who wait for them hear of it, or the next who does. */
  lost(pid: number, count: number): void {
    const lostCount = Math.min(count, this.#unfinishedCount);
    if (lostCount === 0) return;
    this.#takenCount -= lostCount;
    this.#unfinishedCount -= lostCount;
    const error = new TasksLostError(pid, lostCount);
    if (this.#joiners.size === 0) this.#unreportedLoss ??= error;
    for (const joiner of this.#clearJoiners()) joiner.lost(error);
  }

  /** Waits until every item that was put has been reported as done. */
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
