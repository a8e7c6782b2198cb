/** The tasks that wait for a worker. */
import { Fifo } from "@multiproc/core/internal";
import { type LazyTask, type Task, type TaskSource, takeNext } from "./task.ts";

/** First in, first out; tasks that come back from a lost worker go before all that were never sent. */
export class TaskQueue<T extends Task> {
  readonly #returned: T[] = [];
  readonly #sources = new Fifo<TaskSource<T>>();

  /** How many tasks wait; it counts them. */
  get size(): number {
    let size = 0;
    for (const task of this.#returned) size += task.remaining;
    for (const { remaining } of this.#sources.toArray()) size += remaining;
    return size;
  }

  push(source: TaskSource<T>): void {
    this.#sources.push(source);
  }

  /** Puts a task back that was sent before. */
  putBack(task: T): void {
    this.#returned.push(task);
  }

  /** Where the next task is that is still to be done; it stays there. */
  peek(): TaskSource<T> | undefined {
    for (let front = this.#front; front !== undefined; front = this.#front) {
      if (front.remaining > 0) return front;
      this.#removeFront(); // dropped while it waited
    }
    return undefined;
  }

  /** Takes the next task away, which must be there; it becomes a task if it has to be one. */
  take(): T | LazyTask<T> {
    return this.#takeFront(this.#front as TaskSource<T>, takeNext);
  }

  /** All that waits, as far as it is still to be done. */
  get all(): TaskSource<T>[] {
    const all = [...this.#returned, ...this.#sources.toArray()] as TaskSource<T>[];
    return all.filter(({ remaining }) => remaining > 0);
  }

  /** Empties it, and answers what was there. */
  drain(): T[] {
    const all: T[] = [];
    while (this.peek() !== undefined) all.push(this.#takeFront(this.#front as TaskSource<T>, (front) => front.take()));
    return all;
  }

  #takeFront<N extends T | LazyTask<T>>(front: TaskSource<T>, next: (front: TaskSource<T>) => N): N {
    const task = next(front);
    if (front.remaining === 0 || (front as unknown) === task) this.#removeFront();
    return task;
  }

  get #front(): TaskSource<T> | undefined {
    return this.#returned.length > 0 ? this.#returned[0] : this.#sources.first;
  }

  /** Takes the front away. */
  #removeFront(): void {
    if (this.#returned.length > 0) this.#returned.shift();
    else this.#sources.shift();
  }
}
