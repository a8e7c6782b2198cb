import { makeShareable } from "@multiproc/core/internal";
import type { QueueState } from "./backend.ts";
import { Queue, toHandle } from "./queue.ts";

/**
 * An unbounded queue with the fewest methods.
 *
 * @typeParam T the items
 *
 * @example
 * ```ts
 * import { SimpleQueue } from "@multiproc/queue";
 *
 * const queue = new SimpleQueue<number>();
 * await queue.put(1);
 * console.log(await queue.get()); // 1
 * ```
 */
export class SimpleQueue<T = unknown> {
  readonly #queue: Queue<T>;

  static {
    makeShareable(this, (simple) => toHandle(simple.#queue, "SimpleQueue"));
  }

  /**
   * Creates an empty queue that this process owns.
   *
   * @param queue the queue that holds the items; by default a new one
   * @throws {TypeError} if `queue` is not a {@link Queue}
   */
  constructor(queue: Queue<T> = new Queue<T>()) {
    if (!(queue instanceof Queue))
      throw new TypeError("new SimpleQueue() takes no size: use new Queue(maxSize) for a bounded queue");
    this.#queue = queue;
  }

  /**
   * Puts an item.
   *
   * @throws as {@link Queue.put}
   */
  put(item: T): Promise<void> {
    return this.#queue.put(item);
  }

  /**
   * Takes the next item; waits while the queue is empty.
   *
   * @throws as {@link Queue.get}
   */
  get(): Promise<T> {
    return this.#queue.get();
  }

  /**
   * Whether the queue is empty at this moment.
   *
   * @throws as {@link Queue.qsize}
   */
  empty(): boolean {
    return this.#queue.empty();
  }

  /**
   * Reports the state of the queue at this moment, in every process.
   *
   * @throws as {@link Queue.state}
   */
  state(): Promise<QueueState> {
    return this.#queue.state();
  }

  /** Releases the queue in this process. */
  close(): void {
    this.#queue.close();
  }
}
