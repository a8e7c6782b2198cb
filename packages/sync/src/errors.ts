import { ProcessError } from "@multiproc/core";
import { registerErrors } from "@multiproc/core/internal";

/**
 * The process that held the lock has died without giving it back, and the call had asked to be told so by an error.
 *
 * @example Leave a lock whose holder was killed to others
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
   * Makes the error.
   *
   * @param call the call as the user wrote it
   */
  constructor(call: string) {
    super(
      `${call} found that the process which held the lock has died: what the lock guards may be half done. The lock is free; without onOwnerDeath: "throw" it is handed on`,
      { code: "ERR_OWNER_DIED" },
    );
  }
}

/**
 * A barrier is broken: a wait ran out of time, a process died at it, or it was aborted or reset.
 *
 * @example Somebody does not come
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
   * Makes the error.
   *
   * @param call the call as the user wrote it
   * @param why what broke the barrier
   */
  constructor(call: string, why: string) {
    super(`${call} found the barrier broken: ${why}`, { code: "ERR_BROKEN_BARRIER" });
  }
}

/**
 * Something was released, waited for or notified by who does not hold it.
 *
 * @example What is not held cannot be released
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
   * Makes the error.
   *
   * @param message which call, and what must be held
   */
  constructor(message: string) {
    super(message, { code: "ERR_NOT_HELD" });
  }
}

/**
 * A call that blocks this thread would wait for something that only this thread can do.
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
   * Makes the error.
   *
   * @param message which call, and what it would wait for
   */
  constructor(message: string) {
    super(message, { code: "ERR_DEADLOCK" });
  }
}

/**
 * A lock, semaphore, condition, event or barrier is closed here, or the process that serves it is gone.
 *
 * @example A lock that was closed here
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
   * Makes the error.
   *
   * @param message which call, and why
   * @param options the `cause`
   */
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { code: "ERR_SYNC_CLOSED", ...options });
  }
}

registerErrors({ OwnerDiedError, BrokenBarrierError, NotHeldError, DeadlockError, SyncClosedError });
