import type { MaybePromise } from "../primitive.ts";

/**
 * Where what a guard holds was taken from.
 *
 * @internal
 */
export interface Releaser {
  release(): MaybePromise<void>;
  /** Makes the code that asks for the guard's disposal the flow that holds it. */
  enterFlow?(): void;
}

/**
 * What is held: a lock, or a unit of a semaphore. Leaving the block of `using` releases it.
 *
 * @example
 * ```ts
 * import { Lock } from "@multiproc/sync";
 *
 * const lock = new Lock();
 * {
 *   using held = await lock.acquire();
 *   console.log(held?.previousOwnerDied); // false
 * }
 * console.log(await lock.locked()); // false
 * ```
 */
export class Guard {
  /**
   * Whether the process that held it before has died without giving it back, so that what the lock guards may be half done.
   * Always false for a semaphore, whose units come back by themselves.
   */
  readonly previousOwnerDied: boolean;
  #releaser: Releaser | undefined;

  /**
   * Made by `acquire()`.
   *
   * @param previousOwnerDied whether the holder before has died
   * @param source where it was taken from
   * @internal
   */
  constructor(previousOwnerDied: boolean, releaser: Releaser) {
    this.previousOwnerDied = previousOwnerDied;
    this.#releaser = releaser;
  }

  /** Releases it; does nothing the second time. */
  release(): MaybePromise<void> {
    const releaser = this.#releaser;
    if (releaser === undefined) return;
    this.#releaser = undefined;
    return releaser.release();
  }

  /** Releases it. `using` asks for this right after the wait, in the flow that has waited: that is how a flow is known. */
  get [Symbol.dispose](): () => void {
    this.#releaser?.enterFlow?.();
    return this.#dispose;
  }

  /** Releases it; settles when it is free. */
  get [Symbol.asyncDispose](): () => Promise<void> {
    this.#releaser?.enterFlow?.();
    return this.#disposeAsync;
  }

  #dispose(): void {
    const released = this.release();
    // Where a home process serves it and is gone, there is nothing left to release.
    if (released instanceof Promise) released.catch(() => {});
  }

  async #disposeAsync(): Promise<void> {
    await this.release();
  }
}
