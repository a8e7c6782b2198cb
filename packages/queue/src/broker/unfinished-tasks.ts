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
export class Tasks {
  readonly onLoss: LostTasks;
  #unfinished = 0;
  /** How many of them somebody has taken. */
  #taken = 0;
  readonly #joiners = new Set<Joiner>();
  /** A loss of which nobody has heard yet. */
  #loss: TasksLostError | undefined;

  constructor(onLoss: LostTasks) {
    this.onLoss = onLoss;
  }

  /** Whether a task that was taken may come back into the queue. */
  get mayReturn(): boolean {
    return this.onLoss === "requeue" && this.#taken > 0;
  }

  added(): void {
    this.#unfinished += 1;
  }

  taken(count: number): void {
    this.#taken += count;
  }

  /** Items that nobody will take. */
  dropped(count: number): void {
    this.#finish(count);
  }

  /** A task is done; false if none was open. */
  done(): boolean {
    if (this.#unfinished === 0) return false;
    this.#taken = Math.max(0, this.#taken - 1);
    this.#finish(1);
    return true;
  }

  /** Tasks that were taken go back into the queue. */
  returned(count: number): void {
    this.#taken -= count;
  }

  /** A process ended with tasks taken and not done: those who wait for them hear of it, or the next who does. */
  lost(pid: number, count: number): void {
    const lost = Math.min(count, this.#unfinished);
    if (lost === 0) return;
    this.#taken -= lost;
    this.#unfinished -= lost;
    const error = new TasksLostError(pid, lost);
    if (this.#joiners.size === 0) this.#loss ??= error;
    for (const joiner of this.#clearJoiners()) joiner.lost(error);
  }

  /** Waits until every item that was put has been reported as done. */
  join(joiner: Joiner): void {
    const loss = this.#loss;
    this.#loss = undefined;
    if (loss !== undefined) joiner.lost(loss);
    else if (this.#unfinished === 0) joiner.done();
    else this.#joiners.add(joiner);
  }

  withdraw(joiner: Joiner): void {
    this.#joiners.delete(joiner);
  }

  #finish(count: number): void {
    this.#unfinished -= count;
    if (this.#unfinished === 0) for (const joiner of this.#clearJoiners()) joiner.done();
  }

  #clearJoiners(): Joiner[] {
    const joiners = [...this.#joiners];
    this.#joiners.clear();
    return joiners;
  }
}
