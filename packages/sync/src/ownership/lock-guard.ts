import { type MaybePromise, RESOLVED } from "../primitive.ts";

/**
 * The part of a lock or semaphore that its guards call.
 *
 * @internal
 */
export interface Releaser {
  release(): MaybePromise<void>;
  /** Makes the code that disposes of the guard part of the async flow that holds the lock. */
  enterFlow?(): void;
}

/**
 * A guard: it holds a lock, or a unit of a semaphore, and releases it at the end of a `using`
 * block.
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
 * console.log(await lock.state()); // { isLocked: false }
 * ```
 */
export class Guard {
  /**
   * Whether the previous holder of the lock died without releasing it. The data that the lock
   * guards may then be inconsistent. It is always false for a semaphore.
   */
  readonly previousOwnerDied: boolean;
  #releaser: Releaser | undefined;

  /**
   * For `acquire()`.
   *
   * @param previousOwnerDied whether the previous holder died
   * @param releaser the lock or semaphore
   * @internal
   */
  constructor(previousOwnerDied: boolean, releaser: Releaser) {
    this.previousOwnerDied = previousOwnerDied;
    this.#releaser = releaser;
  }

  /**
   * Releases the lock or unit. A second call does nothing. In shared memory, the lock is free when
   * the call returns, so code that blocks its thread need not await the promise. Otherwise it is
   * free when the promise settles.
   *
   * @throws {NotHeldError} if nothing holds the `Lock`, because another call released it
   * @throws {SyncClosedError} if the owner process is gone
   */
  release(): Promise<void> {
    try {
      return this.#release() ?? RESOLVED;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Releases the lock or unit.
   *
   * `using` reads this property right after the wait, in the flow that waited. An `RLock` thereby
   * recognizes its flow.
   */
  get [Symbol.dispose](): () => void {
    this.#releaser?.enterFlow?.();
    return this.#dispose;
  }

  /** Releases the lock or unit. The promise settles when it is free. */
  get [Symbol.asyncDispose](): () => Promise<void> {
    this.#releaser?.enterFlow?.();
    return this.release;
  }

  #release(): MaybePromise<void> {
    const releaser = this.#releaser;
    if (releaser === undefined) return;
    this.#releaser = undefined;
    return releaser.release();
  }

  #dispose(): void {
    // `using` cannot await the reply of the owner process, so an error in it is ignored. If the
    // owner process is gone, nothing is left to release.
    this.#release()?.catch(() => {});
  }
}
