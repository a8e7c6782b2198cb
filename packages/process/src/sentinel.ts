/** Sentinels: the end of a process as something to wait for. */
import type { ExitStatus } from "@multiproc/core/internal";

/**
 * The end of a process, as an argument of `wait()`.
 *
 * @example Wait for the end of a child or for a message
 * ```ts
 * import { inline } from "@multiproc/core";
 * import { pipe, wait } from "@multiproc/pipe";
 * import { Process, type Sentinel } from "@multiproc/process";
 *
 * const [here] = pipe<string>();
 * const child = new Process({ target: inline(() => {}) });
 * await child.start();
 * const sentinel: Sentinel = child.sentinel;
 * console.log((await wait([here, sentinel])).includes(sentinel)); // true: the child has ended first
 * ```
 */
export class Sentinel {
  /** The pid of the process. */
  readonly pid: number;
  /** Resolves when the process has ended. */
  readonly ended: Promise<unknown>;

  /**
   * Creates a sentinel.
   *
   * @param pid the pid of the process
   * @param ended resolves when the process has ended
   * @internal
   */
  constructor(pid: number, ended: Promise<ExitStatus>) {
    this.pid = pid;
    this.ended = ended;
  }
}
