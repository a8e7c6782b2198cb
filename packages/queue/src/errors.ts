import { ProcessError } from "@multiproc/core";
import { registerErrors } from "@multiproc/core/internal";

/**
 * The queue is empty, and the call does not wait any longer.
 *
 * @example Take an item if there is one
 * ```ts
 * import { Queue, QueueEmptyError } from "@multiproc/queue";
 *
 * const queue = new Queue<string>();
 * const error = await queue.get({ timeout: 5 }).catch((reason: unknown) => reason);
 * console.log(error instanceof QueueEmptyError); // true
 * ```
 */
export class QueueEmptyError extends ProcessError {
  /**
   * Creates the error.
   *
   * @param call the call as the user wrote it
   */
  constructor(call: string) {
    super(`${call} found the queue empty`, { code: "ERR_QUEUE_EMPTY" });
  }
}

/**
 * The queue is full, and the call does not wait any longer. An unbounded queue is full while its
 * shared memory is.
 *
 * @example The error has the item
 * ```ts
 * import { Queue, QueueFullError } from "@multiproc/queue";
 *
 * const queue = new Queue<string>(1);
 * await queue.put("first");
 * const error = await queue.put("second", { block: false }).catch((reason: unknown) => reason);
 * console.log(error instanceof QueueFullError && error.item); // second
 * ```
 */
export class QueueFullError extends ProcessError {
  /** The item that was not put. */
  readonly item: unknown;

  /**
   * Creates the error.
   *
   * @param call the call as the user wrote it
   * @param maxSize the number of items that the queue holds
   * @param item the item that was not put
   */
  constructor(call: string, maxSize: number, item: unknown) {
    const reason =
      maxSize === 0
        ? "found no space in time: the shared memory of the queue is full, or its owner process does not respond"
        : `found the queue full: it holds at most ${maxSize} ${maxSize === 1 ? "item" : "items"}`;
    super(`${call} ${reason}`, { code: "ERR_QUEUE_FULL" });
    this.item = item;
  }
}

/**
 * The queue was closed in this process, or its owner process is gone.
 *
 * @example A queue that was closed in this process
 * ```ts
 * import { Queue, QueueClosedError } from "@multiproc/queue";
 *
 * const queue = new Queue<string>();
 * queue.close();
 * try {
 *   await queue.get();
 * } catch (error) {
 *   console.log(error instanceof QueueClosedError); // true
 * }
 * ```
 */
export class QueueClosedError extends ProcessError {
  /**
   * Creates the error.
   *
   * @param message the call, and why the queue is closed
   * @param options the `cause`
   */
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { code: "ERR_QUEUE_CLOSED", ...options });
  }
}

/**
 * The queue was shut down: it accepts no more items, or has none left.
 *
 * @example Items that were put before the shutdown arrive first
 * ```ts
 * import { Queue, QueueShutDownError } from "@multiproc/queue";
 *
 * const queue = new Queue<string>();
 * await queue.put("last");
 * await queue.shutdown();
 * console.log(await queue.get()); // last
 * console.log((await queue.get().catch((reason: unknown) => reason)) instanceof QueueShutDownError); // true
 * ```
 */
export class QueueShutDownError extends ProcessError {
  /**
   * Creates the error.
   *
   * @param call the call as the user wrote it
   */
  constructor(call: string) {
    super(`${call} found the queue shut down`, { code: "ERR_QUEUE_SHUT_DOWN" });
  }
}

/**
 * A process ended with tasks that it had taken and not reported as done, so `join()` cannot
 * succeed.
 *
 * @example A consumer that ends with an unfinished task
 * ```ts
 * import { inline } from "@multiproc/core";
 * import { Process } from "@multiproc/process";
 * import { JoinableQueue, TasksLostError } from "@multiproc/queue";
 *
 * const queue = new JoinableQueue<string>();
 * await queue.put("task");
 * const child = new Process({ target: inline(async (queue: JoinableQueue<string>) => void (await queue.get())), args: [queue] });
 * await child.start();
 * await child.join();
 * const error = await queue.join().catch((reason: unknown) => reason);
 * if (error instanceof TasksLostError) console.log(error.count, error.pid === child.pid); // 1 true
 * ```
 */
export class TasksLostError extends ProcessError {
  /** The process that took the tasks. */
  readonly pid: number;
  /** The number of lost tasks. */
  readonly count: number;

  /**
   * Creates the error.
   *
   * @param pid the process that took the tasks
   * @param count the number of lost tasks
   */
  constructor(pid: number, count: number) {
    super(
      `join() failed because process ${pid} ended, or closed the queue, with ${count} unfinished ${count === 1 ? "task" : "tasks"}: create the queue with { lostTasks: "requeue" } to have other consumers do such tasks`,
      { code: "ERR_TASKS_LOST" },
    );
    this.pid = pid;
    this.count = count;
  }
}

/** Creates the error of a wait that ended because its process has closed the queue. */
export function closedInThisProcess(): QueueClosedError {
  return new QueueClosedError("The wait ended because the queue was closed in this process");
}

/** Creates the error of a call or wait on a queue whose owner process has ended. */
export function ownerGone(ownerPid: number, cause?: unknown): QueueClosedError {
  return new QueueClosedError(
    `The owner of the queue, process ${ownerPid}, is gone, and the items with it: keep the process that created a queue alive while others use it`,
    cause === undefined ? {} : { cause },
  );
}

registerErrors({ QueueEmptyError, QueueFullError, QueueClosedError, QueueShutDownError, TasksLostError });
