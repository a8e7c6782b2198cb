/**
 * The commands of the scheduler: its only effects. The worker manager carries them out, and reports
 * the results as events, by calling methods of the scheduler.
 */
import type { LazyTask, Task } from "./task.ts";
import type { WorkerSlot } from "./worker-slot.ts";

/** Effects of the scheduler on workers and tasks. */
export interface SchedulerCommands<T extends Task, L> {
  /** Starts a worker. The next event is `ready()` or `lost()`. */
  start(slot: WorkerSlot<T, L>): void;
  /** Sends a task in its acknowledgement mode. The next events are `began()` and `answered()`. */
  send(slot: WorkerSlot<T, L>, task: T): void;
  /** Sends a lazy task, which is always batched. The next event is `answeredAll()`. */
  sendLazyTask(slot: WorkerSlot<T, L>, lazyTask: LazyTask<T>): void;
  /** Asks a worker to cancel a task. The worker still replies to it. */
  cancel(slot: WorkerSlot<T, L>, task: T): void;
  /**
   * Recalls tasks that a worker has not begun. The next event for each is `returned()`, or a
   * result.
   */
  recall(slot: WorkerSlot<T, L>, tasks: readonly T[]): void;
  /**
   * Asks a worker to split its running task, so that others can steal the rest. The next event is
   * `split()`, or a result.
   */
  split(slot: WorkerSlot<T, L>, task: T): void;
  /** Creates a task with the same payload, for the items that are split off. */
  cloneForRest(task: T): T;
  /** Stops a worker after its tasks. */
  stop(slot: WorkerSlot<T, L>): void;
  /** Kills a worker that did not stop a cancelled task in time. */
  kill(slot: WorkerSlot<T, L>): void;
  /** Ends a worker now: by SIGTERM, and after the grace period by SIGKILL. */
  terminate(slot: WorkerSlot<T, L>): void;
  /** Fails a task, because its worker was lost. */
  fail(task: T, slot: WorkerSlot<T, L>): void;
  /** Fails a task, because its timeout expired. */
  timeOut(task: T, slot: WorkerSlot<T, L>): void;
  /** Fails a task that will not run, because the pool has ended. */
  reject(task: T): void;
  /** Fails the pool, because no worker can start. */
  failPool(): void;
  /** Asks for a call of `tick()` at the time `at`, instead of the time that was set before. */
  setTimer(at: number): void;
}

/** Options of a scheduler. */
export interface SchedulerOptions {
  /** The number of workers. */
  readonly processes: number;
  /** The number of tasks after which a worker is replaced. */
  readonly maxTasksPerChild?: number | undefined;
  /** How long a worker may continue with a cancelled task before it is killed, in milliseconds. */
  readonly gracePeriod: number;
}
