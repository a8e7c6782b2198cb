import { ProcessError } from "@multiproc/core";
import { registerErrors } from "@multiproc/core/internal";

/** The process that held the lock has died without giving it back, and the call had asked to be told so by an error. */
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

/** A barrier is broken: a wait ran out of time, a process died at it, or it was aborted or reset. */
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

/** Something was released, waited for or notified by who does not hold it. */
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

/** A call that blocks this thread would wait for something that only this thread can do. */
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

/** A lock, semaphore, condition, event or barrier is closed here, or the process that serves it is gone. */
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
