import type { ExitStatus } from "@multiproc/core/internal";

/**
 * Stands for the end of a process, in `wait()`.
 *
 * @example Wait for the end of a child, or for something else
 * ```ts
 * import { inline } from "@multiproc/core";
 * import { pipe, wait } from "@multiproc/pipe";
 * import { Process, type Sentinel } from "@multiproc/process";
 *
 * const [here] = pipe<string>();
 * const child = new Process({ target: inline(() => {}) });
 * await child.start();
 * const sentinel: Sentinel = child.sentinel;
 * console.log((await wait([here, sentinel])).includes(sentinel)); // true: it ended first
 * ```
 */
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
