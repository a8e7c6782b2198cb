/** What must have happened before this process may end in an orderly way. */

import { singleton } from "../registry.ts";
import { afterForkInChild } from "./at-fork.ts";

class PendingWork {
  readonly #pending = new Set<Promise<unknown>>();

  /** Has the end of this process wait for `work`, which always settles. */
  add(work: Promise<unknown>): void {
    this.#pending.add(work);
    const done = (): void => void this.#pending.delete(work);
    work.then(done, done);
  }

  /** In a forked child: what its parent has to finish is not its business. */
  resetAfterFork(): void {
    this.#pending.clear();
  }

  /** Settles when nothing is left to wait for. */
  async settled(): Promise<void> {
    while (this.#pending.size > 0) await Promise.allSettled(this.#pending);
  }
}

/** What this process has to finish before it ends. */
export const pendingWork: PendingWork = singleton("pending work", () => new PendingWork());

afterForkInChild(() => pendingWork.resetAfterFork());
