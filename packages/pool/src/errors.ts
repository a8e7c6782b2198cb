import { ProcessError } from "@multiproc/core";

/** A worker died; it fails the task that it was running, and no other. */
export class WorkerLostError extends ProcessError {
  /** The worker's process id. */
  readonly pid: number;
  /** Its exit code, or the negative number of the signal that ended it. */
  readonly exitCode: number | null;
  /** The signal that ended it; null if it exited. */
  readonly signal: string | null;
  /** The function that it was running. */
  readonly task: string;

  /**
   * Makes the error.
   *
   * @param pid the worker's process id
   * @param how its exit code and the signal that ended it
   * @param task the function that it was running
   */
  constructor(pid: number, how: { readonly exitCode: number | null; readonly signal: string | null }, task: string) {
    const end = how.signal === null ? `exit code ${how.exitCode}` : `signal ${how.signal}`;
    const cause = how.signal === "SIGKILL" ? ": the system may be out of memory" : "";
    super(`Worker ${pid} ended with ${end} while running "${task}"${cause}`, { code: "ERR_WORKER_LOST" });
    this.pid = pid;
    this.exitCode = how.exitCode;
    this.signal = how.signal;
    this.task = task;
  }
}

/** Work was given to a pool that takes none any more, or that was terminated before the work was done. */
export class PoolClosedError extends ProcessError {
  /**
   * Makes the error.
   *
   * @param message which call, and why the pool takes no work
   * @param options the `cause`
   */
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { code: "ERR_POOL_CLOSED", ...options });
  }
}
