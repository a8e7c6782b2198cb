/**
 * Pending work: promises that a child awaits before it exits, such as messages that are not sent
 * yet. A crash, a signal or an explicit `exit()` of the program does not wait for them.
 */

import { singleton } from "../registry.ts";
import { afterForkInChild } from "./at-fork.ts";

class PendingWork {
  readonly #pending = new Set<Promise<unknown>>();

  /** Delays the exit of this child until `work` settles. A promise that never settles blocks it. */
  add(work: Promise<unknown>): void {
    this.#pending.add(work);
    const done = (): void => void this.#pending.delete(work);
    work.then(done, done);
  }

  /** Forgets the work of the parent in a forked child. */
  resetAfterFork(): void {
    this.#pending.clear();
  }

  /** Resolves when all work has settled, including work that was added in the meantime. */
  async settled(): Promise<void> {
    while (this.#pending.size > 0) await Promise.allSettled(this.#pending);
  }
}

/** The pending work of this process. */
export const pendingWork: PendingWork = singleton("pending work", () => new PendingWork());

afterForkInChild(() => pendingWork.resetAfterFork());
