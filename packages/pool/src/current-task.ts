/** What the code of a task can ask about it. */
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
  /** Aborted when the task is cancelled or its time has run out; what goes on after that is killed soon. */
  readonly signal: AbortSignal;
  /** Where the call stands in a trace, if its caller said: see {@link TaskOptions.traceContext}. */
  readonly traceContext: string | undefined;
}

/** A running task; its signal is made when somebody asks for it. */
export class RunningTask implements CurrentTask {
  readonly name: string;
  /** The how-manieth task of its worker it is. */
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

  /** Nobody wants its answer any more. */
  cancel(reason: unknown): void {
    this.#isCancelled = true;
    this.#reason = reason;
    this.#controller?.abort(reason);
  }
}

/** Where a worker notes what it runs; all copies of this package in the process see the same. */
export const running: { task: RunningTask | undefined } = singleton("running task", () => ({ task: undefined }));

/**
 * The task that this process is running as a worker of a pool; undefined elsewhere.
 *
 * Ask for it before the first `await`: a worker goes on to its next task when a task has returned, also if parts of it
 * are still under way.
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
