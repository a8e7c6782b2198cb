import type { MaybePromise } from "./primitive.ts";

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
  readonly #release: () => MaybePromise<void>;
  readonly #enter: (() => void) | undefined;
  #isReleased = false;

  /**
   * Made by `acquire()`.
   *
   * @param previousOwnerDied whether the holder before has died
   * @param release releases what is held
   * @param enter makes the code that asks for the guard's disposal the flow that holds it
   * @internal
   */
  constructor(previousOwnerDied: boolean, release: () => MaybePromise<void>, enter?: () => void) {
    this.previousOwnerDied = previousOwnerDied;
    this.#release = release;
    this.#enter = enter;
  }

  /** Releases it; does nothing the second time. */
  release(): MaybePromise<void> {
    if (this.#isReleased) return;
    this.#isReleased = true;
    return this.#release();
  }

  /** Releases it. `using` asks for this right after the wait, in the flow that has waited: that is how a flow is known. */
  get [Symbol.dispose](): () => void {
    if (!this.#isReleased) this.#enter?.();
    return this.#dispose;
  }

  /** Releases it; settles when it is free. */
  get [Symbol.asyncDispose](): () => Promise<void> {
    if (!this.#isReleased) this.#enter?.();
    return this.#disposeLater;
  }

  #dispose(): void {
    const released = this.release();
    // Where a home process serves it and is gone, there is nothing left to release.
    if (released instanceof Promise) released.catch(() => {});
  }

  async #disposeLater(): Promise<void> {
    await this.release();
  }
}
