import { handleOf, makeShareable, type SharedHandle } from "@multiproc/core/internal";
import { MODULE, Queue } from "./queue.ts";

/**
 * A queue with the least that a queue can do.
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

  /**
   * Makes an empty queue, whose home is this process.
   *
   * @param queue where the items are; a new queue that holds any number of them when missing
   */
  constructor(queue: Queue<T> = new Queue<T>()) {
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
   * Takes the next item; waits while there is none.
   *
   * @throws as {@link Queue.get}
   */
  get(): Promise<T> {
    return this.#queue.get();
  }

  /** Whether the queue is empty at this moment. */
  empty(): Promise<boolean> {
    return this.#queue.empty();
  }

  /** Releases the queue in this process. */
  close(): void {
    this.#queue.close();
  }

  static {
    makeShareable(this, (queue) => queue.#toHandle());
  }

  #toHandle(): SharedHandle {
    const handle = handleOf(this.#queue);
    return { ...handle, module: MODULE, data: (handle.data as unknown[]).with(4, "SimpleQueue") };
  }
}
