import {
  checkTimeout,
  makeShareable,
  registerReviver,
  type SharedHandle,
  type WaitOptions,
} from "@multiproc/core/internal";
import { CONDITION_KIND, type ConditionBackend } from "./backends/condition-backend.ts";
import { type Lock, ownershipOf, RLock } from "./lock.ts";
import { MODULE } from "./module-id.ts";
import type { Guard } from "./ownership/lock-guard.ts";
import type { AcquireOptions, AcquireSyncOptions } from "./ownership/lock-ownership.ts";
import {
  addressOf,
  assertSharedMemory,
  attachAt,
  backendOf,
  type MaybePromise,
  Primitive,
  type PrimitiveAddress,
} from "./primitive.ts";

/**
 * A lock with a waiting room: who holds the lock can wait until another process, or another flow, says that something changed.
 *
 * `wait()` frees the lock, however often it was taken, and has it back when it returns. A process that is killed while it
 * waits takes no notification from others.
 *
 * @example
 * ```ts
 * // file: tasks.ts
 * import { task } from "@multiproc/core";
 * import type { Condition } from "@multiproc/sync";
 *
 * export const tell = task(import.meta.url, async function tell(changed: Condition) {
 *   using held = await changed.acquire();
 *   await changed.notify();
 * });
 * // file: main.ts
 * import { Process } from "@multiproc/process";
 * import { Condition } from "@multiproc/sync";
 * import { tell } from "./tasks.ts";
 *
 * const changed = new Condition();
 * const child = new Process({ target: tell, args: [changed] });
 * {
 *   using held = await changed.acquire();
 *   await child.start();
 *   console.log(await changed.wait()); // true
 * }
 * await child.join();
 * ```
 */
export class Condition extends Primitive {
  /** The lock. */
  readonly lock: Lock | RLock;

  /**
   * Makes a condition.
   *
   * @param lock the lock to hold; a new one when missing
   * @default lock new RLock()
   */
  constructor(lock: Lock | RLock = new RLock()) {
    super(CONDITION_KIND);
    this.lock = lock;
  }

  /**
   * Takes the lock.
   *
   * @throws as the lock's own method
   */
  acquire(options: AcquireOptions = {}): Promise<Guard | null> {
    return this.lock.acquire(options);
  }

  /**
   * Takes the lock; blocks this thread.
   *
   * @throws as the lock's own method
   */
  acquireSync(options: AcquireSyncOptions = {}): Guard | null {
    return this.lock.acquireSync(options);
  }

  /**
   * Gives the lock back.
   *
   * @throws as the lock's own method
   */
  release(): MaybePromise<void> {
    return this.lock.release();
  }

  /** Whether anybody has the lock at this moment. */
  locked(): MaybePromise<boolean> {
    return this.lock.locked();
  }

  /**
   * Frees the lock, waits until it is notified, and takes the lock again, also when the wait ends by its time or its signal.
   *
   * @returns false if the time ran out
   * @throws {NotHeldError} if the lock is not held by this flow
   * @throws {SyncClosedError} after `close()`, or if the process that serves it is gone
   * @throws the signal's reason
   */
  async wait(options: WaitOptions = {}): Promise<boolean> {
    const call = "wait()";
    const backend = backendOf<ConditionBackend>(this, call);
    const ownership = ownershipOf(this.lock, call);
    ownership.assertHeld(call);
    checkTimeout(call, options.timeout);
    options.signal?.throwIfAborted();
    const waitId = await backend.enroll(call);
    const state = await ownership.releaseAll(call);
    let isNotified = false;
    try {
      isNotified = await backend.wait(call, waitId, options);
    } catch (error) {
      await ownership.reacquire(call, state);
      // What it was notified of and does not take is for another.
      if (await backend.withdraw(call, waitId)) await backend.notify(call, 1);
      throw error;
    }
    await ownership.reacquire(call, state);
    return isNotified || (await backend.withdraw(call, waitId));
  }

  /**
   * The same, and blocks this thread.
   *
   * @returns false if the time ran out
   * @throws {NotHeldError} if the lock is not held by this flow
   * @throws {CapabilityError} where there is no shared memory
   */
  waitSync(options: Pick<WaitOptions, "timeout"> = {}): boolean {
    const call = "waitSync()";
    const backend = backendOf<ConditionBackend>(this, call);
    const ownership = ownershipOf(this.lock, call);
    checkTimeout(call, options.timeout);
    ownership.assertHeld(call);
    assertSharedMemory(this, call, "await wait()");
    const waitId = backend.enroll(call) as number;
    const state = ownership.releaseAll(call);
    const isNotified = backend.waitSync(call, options.timeout);
    ownership.reacquireSync(call, state);
    return isNotified || (backend.withdraw(call, waitId) as boolean);
  }

  /**
   * Waits until `predicate` gives something true; it is asked while the lock is held, at once and after each notification.
   *
   * @returns what it gave last, which is not true if the time ran out
   * @throws as {@link Condition.wait}
   */
  async waitFor<T>(predicate: () => T | Promise<T>, options: WaitOptions = {}): Promise<Awaited<T>> {
    checkTimeout("waitFor()", options.timeout);
    const deadline = options.timeout === undefined ? undefined : performance.now() + options.timeout;
    let result = await predicate();
    while (!result) {
      const timeout = deadline === undefined ? undefined : deadline - performance.now();
      if (timeout !== undefined && timeout <= 0) break;
      await this.wait({ ...options, timeout });
      result = await predicate();
    }
    return result;
  }

  /**
   * The same, and blocks this thread.
   *
   * @returns what it gave last, which is not true if the time ran out
   * @throws as {@link Condition.waitSync}
   */
  waitForSync<T>(predicate: () => T, options: Pick<WaitOptions, "timeout"> = {}): T {
    checkTimeout("waitForSync()", options.timeout);
    const deadline = options.timeout === undefined ? undefined : performance.now() + options.timeout;
    let result = predicate();
    while (!result) {
      const timeout = deadline === undefined ? undefined : deadline - performance.now();
      if (timeout !== undefined && timeout <= 0) break;
      this.waitSync({ timeout });
      result = predicate();
    }
    return result;
  }

  /**
   * Lets some go who wait; they come one by one, as they get the lock.
   *
   * @param count how many
   * @default count 1
   * @throws {NotHeldError} if the lock is not held by this flow
   * @throws {RangeError} for anything but a whole number from 0
   */
  notify(count: number = 1): MaybePromise<void> {
    if (!(Number.isInteger(count) && count >= 0))
      throw new RangeError(`notify() takes a number of waits, not ${String(count)}`);
    return this.#notify("notify()", count);
  }

  /**
   * Lets all go who wait; they come one by one, as they get the lock.
   *
   * @throws {NotHeldError} if the lock is not held by this flow
   */
  notifyAll(): MaybePromise<void> {
    return this.#notify("notifyAll()", Number.MAX_SAFE_INTEGER);
  }

  static {
    makeShareable(this, (condition) => condition.#toHandle());
  }

  #toHandle(): SharedHandle {
    return { kind: "sync.Condition", module: MODULE, data: [addressOf(this), this.lock] };
  }

  #notify(call: string, count: number): MaybePromise<void> {
    const backend = backendOf<ConditionBackend>(this, call);
    ownershipOf(this.lock, call).assertHeld(call);
    return backend.notify(call, count);
  }
}

registerReviver("sync.Condition", (data) => {
  const [address, lock] = data as [PrimitiveAddress, Lock | RLock];
  return attachAt(address, () => new Condition(lock));
});
