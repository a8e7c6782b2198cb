import { TimeoutError } from "@multiproc/core";
import { TIMED_OUT, type WaitOptions } from "@multiproc/core/internal";
import { LocalBackend } from "./local-backend.ts";
import { Queue } from "./queue.ts";

/**
 * How a {@link JoinableQueue} is made.
 *
 * @example Tasks of a consumer that ends go to another
 * ```ts
 * import { JoinableQueue, type JoinableQueueOptions } from "@multiproc/queue";
 *
 * const options: JoinableQueueOptions = { lostTasks: "requeue" };
 * const queue = new JoinableQueue<string>(0, options);
 * await queue.put("task");
 * console.log(await queue.get()); // task
 * await queue.taskDone();
 * await queue.join();
 * ```
 */
export interface JoinableQueueOptions {
  /**
   * What becomes of the tasks that a process had taken and not reported as done when it ended, or closed the queue.
   *
   * `"throw"`: they are lost, and `join()` throws a {@link TasksLostError}: it may not be known how far they had come.
   *
   * `"requeue"`: they go back to where they were in the queue, for others to take; as in every queue, those that were taken
   * first count as done first. The queue keeps a copy of each until it is done, and after `shutdown()` its consumers wait
   * until all are, since one may yet come back.
   *
   * @default "throw"
   */
  readonly lostTasks?: "throw" | "requeue";
}

/**
 * A queue of tasks: each item that was taken is reported as done, and `join()` waits until all are.
 *
 * @typeParam T the items
 *
 * @example Wait until all tasks are done
 * ```ts
 * import { JoinableQueue } from "@multiproc/queue";
 *
 * const queue = new JoinableQueue<string>();
 * await queue.put("wash up");
 * console.log(await queue.get());
 * await queue.taskDone();
 * await queue.join();
 * ```
 */
export class JoinableQueue<T = unknown> extends Queue<T> {
  /**
   * Makes an empty queue, whose home is this process.
   *
   * @param maxSize how many items it holds before `put()` waits; 0 for any number
   * @param options what becomes of tasks that are lost
   * @default maxSize 0
   * @throws {RangeError} for a size that is no whole number from 0
   * @throws {TypeError} for an option that is none
   */
  constructor(maxSize: number = 0, options: JoinableQueueOptions = {}) {
    const { lostTasks = "throw" } = options;
    if (lostTasks !== "throw" && lostTasks !== "requeue")
      throw new TypeError(`JoinableQueue takes "throw" or "requeue" as lostTasks, not ${JSON.stringify(lostTasks)}`);
    // Whoever revives one gives the link to its items instead.
    super(typeof maxSize === "number" ? (new LocalBackend(maxSize, lostTasks) as never) : maxSize);
  }

  /** @internal */
  protected override kind(): string {
    return "JoinableQueue";
  }

  /**
   * Reports that an item that was taken is done. It need not be the process that took it which says so.
   *
   * @throws {RangeError} if that was called more often than items were put
   * @throws {QueueClosedError} as {@link Queue.get}
   */
  async taskDone(): Promise<void> {
    await this.ask("taskDone()", "taskDone");
  }

  /**
   * Waits until every item that was put has been reported as done.
   *
   * @throws {TasksLostError} if a process ended with items that it had taken and not reported, while this waited or before
   * anybody did; see {@link JoinableQueueOptions.lostTasks}
   * @throws {TimeoutError} if the time ran out
   * @throws {QueueClosedError} as {@link Queue.get}
   */
  async join(options: WaitOptions = {}): Promise<void> {
    if ((await this.ask("join()", "join", undefined, options)) === TIMED_OUT)
      throw new TimeoutError("join()", options.timeout as number);
  }
}
