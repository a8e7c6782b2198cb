/** Work that must be finished before this process exits in an orderly way. */

import { singleton } from "../registry.ts";
import { afterForkInChild } from "./at-fork.ts";

class PendingWork {
  readonly #pending = new Set<Promise<unknown>>();

  /** Delays the exit of this process until `work` settles. It must settle. */
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
