import { singleton } from "@multiproc/core/internal";

/** The task that this worker is running. */
export interface CurrentTask {
  /** Aborted when the task is no longer wanted: it should stop soon, since its worker is killed after a while. */
  readonly signal: AbortSignal;
}

/** Where a worker keeps what it runs. */
export const running: { task: CurrentTask | undefined } = singleton("current task", () => ({ task: undefined }));

/**
 * The task that this worker is running; undefined outside a pool's task.
 *
 * @example
 * ```ts
 * import { currentTask } from "@multiproc/pool";
 *
 * console.log(currentTask()); // undefined: this is no worker
 * ```
 */
export function currentTask(): CurrentTask | undefined {
  return running.task;
}
