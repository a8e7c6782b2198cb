import { ProcessError } from "@multiproc/core";
import { registerErrors } from "@multiproc/core/internal";

/**
 * There is no item in the queue, and the call was not to wait for one any longer.
 *
 * @example Take something if there is something
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
   * Makes the error.
   *
   * @param call the call as the user wrote it, and how long it waited
   */
  constructor(call: string) {
    super(`${call} found the queue empty`, { code: "ERR_QUEUE_EMPTY" });
  }
}

/**
 * There is no room in the queue, and the call was not to wait for some any longer.
 *
 * @example What found no room is in the error
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
   * Makes the error.
   *
   * @param call the call as the user wrote it
   * @param maxSize how many items the queue holds
   * @param item what was not put
   */
  constructor(call: string, maxSize: number, item: unknown) {
    const why =
      maxSize === 0
        ? "found no way to the queue in time: its home process does not answer"
        : `found the queue full: it holds at most ${maxSize} ${maxSize === 1 ? "item" : "items"}`;
    super(`${call} ${why}`, { code: "ERR_QUEUE_FULL" });
    this.item = item;
  }
}

/**
 * The queue is closed here, or the process that keeps it is gone.
 *
 * @example A queue that was closed here
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
   * Makes the error.
   *
   * @param message which call, and why the queue is closed
   * @param options the `cause`
   */
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { code: "ERR_QUEUE_CLOSED", ...options });
  }
}

/**
 * The queue was shut down: it takes no items any more, and has none left.
 *
 * @example What was put before comes, and then the end
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
   * Makes the error.
   *
   * @param call the call as the user wrote it
   */
  constructor(call: string) {
    super(`${call} found the queue shut down`, { code: "ERR_QUEUE_SHUT_DOWN" });
  }
}

/**
 * A process ended with tasks that it had taken and not reported as done, so that `join()` cannot say that all are.
 *
 * @example A consumer that ends with a task in its hands
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
  /** The process that took them. */
  readonly pid: number;
  /** How many there were. */
  readonly count: number;

  /**
   * Makes the error.
   *
   * @param pid the process that took them
   * @param count how many there were
   */
  constructor(pid: number, count: number) {
    super(
      `join() cannot succeed: process ${pid} ended, or closed the queue, with ${count} ${count === 1 ? "task" : "tasks"} taken and not done`,
      { code: "ERR_TASKS_LOST" },
    );
    this.pid = pid;
    this.count = count;
  }
}

/** What a wait gets when the queue is closed in its own process. */
export function closedInThisProcess(): QueueClosedError {
  return new QueueClosedError("The queue was closed in this process while it was waited for");
}

/** What a call, or a wait, gets when the queue's home process has ended. */
export function ownerGone(ownerPid: number, cause?: unknown): QueueClosedError {
  return new QueueClosedError(
    `The queue's home, process ${ownerPid}, is gone, and its items with it: keep the process that made a queue alive while others use it`,
    cause === undefined ? {} : { cause },
  );
}

registerErrors({ QueueEmptyError, QueueFullError, QueueClosedError, QueueShutDownError, TasksLostError });
