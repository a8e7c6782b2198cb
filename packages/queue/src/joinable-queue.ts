import { TimeoutError } from "@multiproc/core";
import { checkOptions, makeShareable, TIMED_OUT, type WaitOptions } from "@multiproc/core/internal";
import type { TasksLostError } from "./errors.ts";
import { LocalBackend } from "./local-backend.ts";
import { askBackend, Queue, toHandle } from "./queue.ts";

/**
 * Options of a {@link JoinableQueue}.
 *
 * @example Requeue the tasks of a consumer that ends
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
   * What happens to unfinished tasks of a process that ends, or closes the queue. A task is
   * unfinished if the process took it and did not report it by `taskDone()`.
   *
   * `"throw"`: the tasks are lost, and `join()` rejects with a {@link TasksLostError}. How far each
   * task had come is unknown.
   *
   * `"requeue"`: the tasks return to their old place in the queue, and other consumers get them. A
   * call of `taskDone()` finishes the task that its process took first. The queue keeps a copy of
   * each task until it is done. After `shutdown()`, consumers wait until all tasks are done, because
   * a task may still return.
   *
   * @default "throw"
   */
  readonly lostTasks?: "throw" | "requeue";
}

/**
 * A queue of tasks: consumers report each task that is done, and `join()` waits until all are done.
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
  static {
    makeShareable(this, (queue) => toHandle(queue, "JoinableQueue"));
  }

  /**
   * Creates an empty queue that this process owns.
   *
   * @param maxSize the number of items that it holds before `put()` waits; 0 for any number
   * @param options what happens to lost tasks
   * @default maxSize 0
   * @throws {RangeError} if `maxSize` is not a whole number, 0 or more
   * @throws {TypeError} if an option is unknown, or its value is
   */
  constructor(maxSize: number = 0, options: JoinableQueueOptions = {}) {
    checkOptions("new JoinableQueue()", options, ["lostTasks"], { onLoss: "lostTasks", requeue: "lostTasks" });
    const { lostTasks = "throw" } = options;
    if (lostTasks !== "throw" && lostTasks !== "requeue")
      throw new TypeError(
        `new JoinableQueue() takes "throw" or "requeue" as lostTasks, not ${JSON.stringify(lostTasks)}`,
      );
    // The reviver of a queue that was received passes a backend instead of a size.
    super(typeof maxSize === "number" ? (new LocalBackend(maxSize, lostTasks) as never) : maxSize);
  }

  /**
   * Reports that a task is done. Any process may report a task, not only the process that took it.
   *
   * @throws {RangeError} if there are more reports than items that were put
   * @throws {QueueClosedError} as {@link Queue.get}
   */
  async taskDone(): Promise<void> {
    await askBackend(this, "taskDone()", "taskDone");
  }

  /**
   * Waits until every item that was put has been reported as done.
   *
   * @throws {TasksLostError} if a process ended with unfinished tasks, during this wait or before
   * the first; see {@link JoinableQueueOptions.lostTasks}
   * @throws {TimeoutError} if the timeout expired
   * @throws {QueueClosedError} as {@link Queue.get}
   */
  async join(options: WaitOptions = {}): Promise<void> {
    if ((await askBackend(this, "join()", "join", undefined, options)) === TIMED_OUT)
      throw new TimeoutError("join()", options.timeout as number);
  }
}
