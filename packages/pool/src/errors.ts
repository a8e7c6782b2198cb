import { ProcessError } from "@multiproc/core";
import { registerErrors } from "@multiproc/core/internal";

/**
 * The error of a task whose worker died while running it. The task may have been done in part.
 * Other tasks are not affected.
 *
 * @example Find out how a task ended its worker
 * ```ts
 * // file: tasks.ts
 * import process from "node:process";
 * import { task } from "@multiproc/core";
 *
 * export const leave = task(import.meta.url, function leave(code: number) {
 *   process.exit(code);
 * });
 * // file: main.ts
 * import { Pool, WorkerLostError } from "@multiproc/pool";
 * import { leave } from "./tasks.ts";
 *
 * await using pool = new Pool({ processes: 1 });
 * const error = await pool.apply(leave, [3]).catch((error) => error);
 * console.log(error instanceof WorkerLostError, error.exitCode, error.task); // true 3 "leave"
 * ```
 */
export class WorkerLostError extends ProcessError {
  /** The worker's process id, or its thread id in a `ThreadPool`. */
  readonly pid: number;
  /** The exit code of the worker, or the negative number of the signal that ended it. */
  readonly exitCode: number | null;
  /** The signal that ended the worker; null if it exited. */
  readonly signal: string | null;
  /** The function that the worker was running. */
  readonly task: string;
  /**
   * The end of the worker's standard error, at most 4 KiB. It may be from before this task. It is
   * empty if the worker wrote nothing, or if the pool does not read it (`output: "inherit"`,
   * threads).
   */
  readonly stderr: string;

  /**
   * Creates the error.
   *
   * @param pid the worker's process id
   * @param exit its exit code, the signal that ended it, and the end of its standard error
   * @param task the function that it was running
   * @param options the `cause`
   */
  constructor(
    pid: number,
    exit: { readonly exitCode: number | null; readonly signal: string | null; readonly stderr?: string },
    task: string,
    options: { cause?: unknown } = {},
  ) {
    const how = exit.signal === null ? `exit code ${exit.exitCode}` : `signal ${exit.signal}`;
    const message = `Worker ${pid} ended with ${how} while running "${task}"${LIKELY_CAUSES[exit.signal ?? ""] ?? ""}`;
    super(message, { code: "ERR_WORKER_LOST", ...options });
    this.pid = pid;
    this.exitCode = exit.exitCode;
    this.signal = exit.signal;
    this.task = task;
    this.stderr = exit.stderr ?? "";
  }
}

/** The likely cause of the death of a worker, by the signal that ended it. */
const LIKELY_CAUSES: Readonly<Record<string, string>> = {
  SIGKILL: ": the system may be out of memory",
  SIGABRT: ": it may have run out of memory, see its standard error",
  SIGTRAP: ": it may have run out of memory, see its standard error",
  SIGSEGV: ": native code in the worker crashed",
  SIGBUS: ": native code in the worker crashed",
};

/**
 * The error of a call after `close()` or `terminate()`, and of work that was not done when the pool
 * was terminated.
 *
 * @example A call after close()
 * ```ts
 * import { inline } from "@multiproc/core";
 * import { Pool, PoolClosedError } from "@multiproc/pool";
 *
 * const pool = new Pool({ processes: 1 });
 * pool.close();
 * try {
 *   await pool.apply(inline(() => 1));
 * } catch (error) {
 *   console.log(error instanceof PoolClosedError); // true
 * }
 * await pool.join();
 * ```
 */
export class PoolClosedError extends ProcessError {
  /**
   * Creates the error.
   *
   * @param message the call, and why the pool does not accept it
   * @param options the `cause`
   */
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { code: "ERR_POOL_CLOSED", ...options });
  }
}

registerErrors({ WorkerLostError, PoolClosedError });

/** The error of a call on a pool after `close()`. */
export function closedError(call: string): PoolClosedError {
  return new PoolClosedError(`${call} was called on a pool after close(): create a new pool, or close this one later`);
}

/** The error of a call on a pool after `terminate()`. */
export function terminatedError(call: string): PoolClosedError {
  return new PoolClosedError(`${call} was called on a pool after terminate(): create a new pool`);
}

/** The error of `join()` on a pool that is open. */
export function openError(): PoolClosedError {
  return new PoolClosedError("join() was called on a pool that is open: call close() or terminate() first");
}
