import type { ExitStatus } from "@multiproc/core/internal";

/** Stands for the end of a process, in `wait()`. */
export class Sentinel {
  /** The process whose end it stands for. */
  readonly pid: number;
  /** Settles when that process has ended. */
  readonly ended: Promise<unknown>;

  /**
   * Makes it.
   *
   * @param pid the process
   * @param ended settles when it has ended
   * @internal
   */
  constructor(pid: number, ended: Promise<ExitStatus>) {
    this.pid = pid;
    this.ended = ended;
  }
}
