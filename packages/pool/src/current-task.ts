/** `currentTask()`: what a task can find out about itself. A worker sets it before each task. */
import { singleton } from "@multiproc/core/internal";
import type { TaskOptions } from "./options.ts";

/**
 * The task that a worker is running.
 *
 * @example Code that knows whether it runs in a task
 * ```ts
 * import { type CurrentTask, currentTask } from "@multiproc/pool";
 *
 * const nameOf = (task: CurrentTask | undefined) => task?.name ?? "no task";
 * console.log(nameOf(currentTask())); // no task: this is the program itself
 * ```
 */
export interface CurrentTask {
  /** The name of its function. */
  readonly name: string;
  /**
   * A signal that is aborted when the task is cancelled or its timeout expires. If the task
   * continues for longer than the pool's `gracePeriod`, its worker is killed.
   */
  readonly signal: AbortSignal;
  /**
   * The trace context of the call, if its caller or its pool has set one; see
   * {@link TaskOptions.traceContext}.
   */
  readonly traceContext: string | undefined;
}

/** A running task. Its signal is created at its first use. */
export class RunningTask implements CurrentTask {
  readonly name: string;
  /** The number of tasks that its worker has received before it. */
  readonly sequence: number;
  readonly traceContext: string | undefined;
  #isCancelled = false;
  #reason: unknown;
  #controller: AbortController | undefined;

  constructor(name: string, sequence: number, traceContext: string | undefined) {
    this.name = name;
    this.sequence = sequence;
    this.traceContext = traceContext;
  }

  get isCancelled(): boolean {
    return this.#isCancelled;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#isCancelled) this.#controller.abort(this.#reason);
    return this.#controller.signal;
  }

  /** Aborts the signal. */
  cancel(reason: unknown): void {
    this.#isCancelled = true;
    this.#reason = reason;
    this.#controller?.abort(reason);
  }
}

/** The running task of this process, shared by all copies of this package. */
export const running: { task: RunningTask | undefined } = singleton("running task", () => ({ task: undefined }));

/**
 * Returns the task that this process is running as a worker of a pool, or undefined elsewhere.
 *
 * Call it before the first `await` of a task. Code that still runs after its task has returned
 * would get the next task of the worker.
 *
 * @example A task that can be cancelled
 * ```ts
 * // file: tasks.ts
 * import { task } from "@multiproc/core";
 * import { currentTask } from "@multiproc/pool";
 *
 * export const sleep = task(import.meta.url, async function sleep(ms: number) {
 *   const { signal } = currentTask()!;
 *   await new Promise<void>((resolve, reject) => {
 *     setTimeout(resolve, ms);
 *     signal.addEventListener("abort", () => reject(signal.reason));
 *   });
 * });
 * // file: main.ts
 * import { Pool } from "@multiproc/pool";
 * import { sleep } from "./tasks.ts";
 *
 * await using pool = new Pool({ processes: 1 });
 * const sleeping = pool.apply(sleep, [60_000], { timeout: 100 });
 * await sleeping.catch((error) => console.log(error.name)); // "TimeoutError"
 * ```
 */
export function currentTask(): CurrentTask | undefined {
  return running.task;
}
