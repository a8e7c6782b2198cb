/** What must have happened before this process may end in an orderly way. */

import { singleton } from "../registry.ts";
import { afterFork } from "./at-fork.ts";

class Leaving {
  readonly #pending = new Set<Promise<unknown>>();

  /** Has the end of this process wait for `work`, which always settles. */
  wait(work: Promise<unknown>): void {
    this.#pending.add(work);
    const done = (): void => void this.#pending.delete(work);
    work.then(done, done);
  }

  /** In a forked child: what its parent has to finish is not its business. */
  begin(): void {
    this.#pending.clear();
  }

  /** Settles when nothing is left to wait for. */
  async finished(): Promise<void> {
    while (this.#pending.size > 0) await Promise.allSettled(this.#pending);
  }
}

/** What this process has to finish before it ends. */
export const leaving: Leaving = singleton("leaving", () => new Leaving());

afterFork(() => leaving.begin());
