import { ProcessError } from "@multiproc/core";
import { registerErrors } from "@multiproc/core/internal";

/**
 * The previous owner of a lock died without releasing it, and the call has the option
 * `onOwnerDeath: "throw"`.
 *
 * @example Leave the lock of a killed process to others
 * ```ts
 * import { inline } from "@multiproc/core";
 * import { Process } from "@multiproc/process";
 * import { Lock, OwnerDiedError } from "@multiproc/sync";
 *
 * const lock = new Lock();
 * const hold = inline(async (lock: Lock) => {
 *   await lock.acquire();
 *   globalThis.process.kill(globalThis.process.pid, "SIGKILL");
 * });
 * const child = new Process({ target: hold, args: [lock] });
 * await child.start().catch(() => {});
 * await child.join();
 * const error = await lock.acquire({ onOwnerDeath: "throw" }).catch((reason: unknown) => reason);
 * console.log(error instanceof OwnerDiedError); // true
 * ```
 */
export class OwnerDiedError extends ProcessError {
  /**
   * Creates the error.
   *
   * @param call the call as the user writes it
   */
  constructor(call: string) {
    super(
      `${call} found that the owner of the lock died: the guarded data may be inconsistent. The lock is free again. To acquire it in this state, use onOwnerDeath: "report"`,
      { code: "ERR_OWNER_DIED" },
    );
  }
}

/**
 * A barrier is broken: a wait timed out, a waiting process died, the action failed, or the barrier
 * was aborted or reset.
 *
 * @example A party that does not arrive
 * ```ts
 * import { Barrier, BrokenBarrierError } from "@multiproc/sync";
 *
 * const barrier = new Barrier(2);
 * const error = await barrier.wait({ timeout: 5 }).catch((reason: unknown) => reason);
 * console.log(error instanceof BrokenBarrierError); // true
 * ```
 */
export class BrokenBarrierError extends ProcessError {
  /**
   * Creates the error.
   *
   * @param call the call as the user writes it
   * @param why the reason why the barrier is broken
   */
  constructor(call: string, why: string) {
    super(`${call} found the barrier broken: ${why}`, { code: "ERR_BROKEN_BARRIER" });
  }
}

/**
 * The caller does not hold the lock that the call needs. Such calls release the lock, wait for its
 * condition, or notify the waiters.
 *
 * @example Release a lock that is not held
 * ```ts
 * import { NotHeldError, RLock } from "@multiproc/sync";
 *
 * const lock = new RLock();
 * try {
 *   await lock.release();
 * } catch (error) {
 *   console.log(error instanceof NotHeldError); // true
 * }
 * ```
 */
export class NotHeldError extends ProcessError {
  /**
   * Creates the error.
   *
   * @param message the call, and the lock that it needs
   */
  constructor(message: string) {
    super(message, { code: "ERR_NOT_HELD" });
  }
}

/**
 * A call would block this thread forever, because another async flow of the thread holds the lock.
 *
 * @example A thread that would wait for itself
 * ```ts
 * import { CapabilityError } from "@multiproc/core";
 * import { DeadlockError, Lock } from "@multiproc/sync";
 *
 * const lock = new Lock();
 * await lock.acquire();
 * try {
 *   lock.acquireSync();
 * } catch (error) {
 *   console.log(error instanceof DeadlockError || error instanceof CapabilityError); // true
 * }
 * ```
 */
export class DeadlockError extends ProcessError {
  /**
   * Creates the error.
   *
   * @param message the call, and the reason why its wait would never end
   */
  constructor(message: string) {
    super(message, { code: "ERR_DEADLOCK" });
  }
}

/**
 * A lock, semaphore, condition, event or barrier is closed in this process, or its owner process is
 * gone.
 *
 * @example Use a closed lock
 * ```ts
 * import { Lock, SyncClosedError } from "@multiproc/sync";
 *
 * const lock = new Lock();
 * lock.close();
 * try {
 *   await lock.acquire();
 * } catch (error) {
 *   console.log(error instanceof SyncClosedError); // true
 * }
 * ```
 */
export class SyncClosedError extends ProcessError {
  /**
   * Creates the error.
   *
   * @param message the call, and the reason
   * @param options the `cause`
   */
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { code: "ERR_SYNC_CLOSED", ...options });
  }
}

registerErrors({ OwnerDiedError, BrokenBarrierError, NotHeldError, DeadlockError, SyncClosedError });
