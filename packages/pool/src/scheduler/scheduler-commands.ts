/** What the scheduler has done by others. */
import type { LazyTask, Task } from "./task.ts";
import type { WorkerSlot } from "./worker-slot.ts";

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
