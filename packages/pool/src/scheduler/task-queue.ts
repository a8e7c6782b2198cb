/**
 * The queue of tasks that wait for a worker: first in, first out. Tasks that come back from a
 * worker go first: retries of lost tasks, recalled tasks, and stolen parts of chunks.
 */
import { Fifo } from "@multiproc/core/internal";
import { type LazyTask, type Task, type TaskSource, takeNext } from "./task.ts";

/** A queue of tasks and of sources of tasks. */
export class TaskQueue<T extends Task> {
  readonly #returned: T[] = [];
  readonly #sources = new Fifo<TaskSource<T>>();

  /** The number of tasks that wait. It is counted at each call. */
  get size(): number {
    let size = 0;
    for (const task of this.#returned) size += task.remaining;
    for (const { remaining } of this.#sources.toArray()) size += remaining;
    return size;
  }

  push(source: TaskSource<T>): void {
    this.#sources.push(source);
  }

  /** Puts a task back that was sent before, in front of all that were never sent. */
  putBack(task: T): void {
    this.#returned.push(task);
  }

  /** Returns the source of the next task, without removing it. */
  peek(): TaskSource<T> | undefined {
    for (let front = this.#front; front !== undefined; front = this.#front) {
      if (front.remaining > 0) return front;
      this.#removeFront(); // cancelled in the queue
    }
    return undefined;
  }

  /** Removes and returns the next task. The queue must not be empty. */
  take(): T | LazyTask<T> {
    return this.#takeFront(this.#front as TaskSource<T>, takeNext);
  }

  /** All sources that still have tasks. */
  get all(): TaskSource<T>[] {
    const all = [...this.#returned, ...this.#sources.toArray()] as TaskSource<T>[];
    return all.filter(({ remaining }) => remaining > 0);
  }

  /** Removes and returns all tasks. */
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

  #removeFront(): void {
    if (this.#returned.length > 0) this.#returned.shift();
    else this.#sources.shift();
  }
}
