import {
  checkWaitOptions,
  describeValue,
  makeShareable,
  registerReviver,
  type SharedHandle,
  type WaitOptions,
} from "@multiproc/core/internal";
import { CONDITION_KIND, type ConditionBackend } from "./backends/condition-backend.ts";
import type { LockState } from "./backends/lock-backend.ts";
import { BaseLock, type Lock, ownershipOf, RLock } from "./lock.ts";
import { MODULE } from "./module-id.ts";
import type { Guard } from "./ownership/lock-guard.ts";
import type { AcquireOptions, AcquireSyncOptions } from "./ownership/lock-ownership.ts";
import {
  addressOf,
  assertSharedMemory,
  attachAt,
  backendOf,
  Primitive,
  type PrimitiveAddress,
  RESOLVED,
} from "./primitive.ts";

const SYNC_OPTIONS = ["timeout"];

/**
 * A lock whose holder can wait until another process, or another async flow, notifies it of a
 * change.
 *
 * `wait()` frees the lock, however often it was acquired, and reacquires it before it returns. If a
 * process is killed while it waits, its notification goes to another waiter.
 *
 * @example
 * ```ts
 * // file: tasks.ts
 * import { task } from "@multiproc/core";
 * import type { Condition } from "@multiproc/sync";
 *
 * export const change = task(import.meta.url, async function change(changed: Condition) {
 *   using held = await changed.acquire();
 *   await changed.notify();
 * });
 * // file: main.ts
 * import { Process } from "@multiproc/process";
 * import { Condition } from "@multiproc/sync";
 * import { change } from "./tasks.ts";
 *
 * const changed = new Condition();
 * const child = new Process({ target: change, args: [changed] });
 * {
 *   using held = await changed.acquire();
 *   await child.start();
 *   console.log(await changed.wait()); // true
 * }
 * await child.join();
 * ```
 */
export class Condition extends Primitive {
  /** The lock that callers hold. */
  readonly lock: Lock | RLock;

  /**
   * Creates a condition.
   *
   * @param lock the lock that callers hold; a new one if it is missing
   * @default lock new RLock()
   * @throws {TypeError} if `lock` is not a lock
   */
  constructor(lock: Lock | RLock = new RLock()) {
    if (!((lock as unknown) instanceof BaseLock))
      throw new TypeError(`new Condition() takes a Lock or an RLock, not ${describeValue(lock)}`);
    super(CONDITION_KIND);
    this.lock = lock;
  }

  /**
   * Acquires the lock.
   *
   * @throws as {@link Lock.acquire}
   */
  acquire(options?: AcquireOptions): Promise<Guard | null> {
    return this.lock.acquire(options);
  }

  /**
   * Acquires the lock; blocks this thread.
   *
   * @throws as {@link Lock.acquireSync}
   */
  acquireSync(options?: AcquireSyncOptions): Guard | null {
    return this.lock.acquireSync(options);
  }

  /**
   * Releases the lock.
   *
   * @throws as {@link Lock.release}
   */
  release(): Promise<void> {
    return this.lock.release();
  }

  /**
   * Whether any process holds the lock at this moment.
   *
   * @throws as {@link Lock.locked}
   */
  locked(): boolean {
    return this.lock.locked();
  }

  /**
   * Reports the state of the lock at this moment.
   *
   * @throws as {@link Lock.state}
   */
  state(): Promise<LockState> {
    return this.lock.state();
  }

  /**
   * Frees the lock, waits for a notification, and reacquires the lock. It also reacquires the lock
   * if the wait ends by its timeout or its signal.
   *
   * @returns false if the timeout expired
   * @throws {NotHeldError} if this flow does not hold the lock
   * @throws {SyncClosedError} after `close()`, or if the owner process is gone
   * @throws the signal's reason
   */
  async wait(options: WaitOptions = {}): Promise<boolean> {
    const call = "wait()";
    const backend = backendOf<ConditionBackend>(this, call);
    checkWaitOptions(call, options);
    const ownership = ownershipOf(this.lock, call);
    ownership.assertHeld(call);
    options.signal?.throwIfAborted();
    const waitId = await backend.enroll(call);
    const state = await ownership.releaseAll(call);
    let isNotified = false;
    try {
      isNotified = await backend.wait(call, waitId, options);
    } catch (error) {
      await ownership.reacquire(call, state);
      // This wait rejects, so a notification that it has received goes to another waiter.
      if (await backend.withdraw(call, waitId)) await backend.notify(call, 1);
      throw error;
    }
    await ownership.reacquire(call, state);
    return isNotified || (await backend.withdraw(call, waitId));
  }

  /**
   * Waits like {@link Condition.wait}, and blocks this thread.
   *
   * @returns false if the timeout expired
   * @throws {NotHeldError} if this flow does not hold the lock
   * @throws {CapabilityError} if there is no shared memory
   */
  waitSync(options: Pick<WaitOptions, "timeout"> = {}): boolean {
    const call = "waitSync()";
    const backend = backendOf<ConditionBackend>(this, call);
    checkWaitOptions(call, options, SYNC_OPTIONS);
    const ownership = ownershipOf(this.lock, call);
    ownership.assertHeld(call);
    assertSharedMemory(this, call);
    const waitId = backend.enroll(call) as number;
    const state = ownership.releaseAll(call);
    const isNotified = backend.waitSync(call, options.timeout);
    ownership.reacquireSync(call, state);
    return isNotified || (backend.withdraw(call, waitId) as boolean);
  }

  /**
   * Waits until `predicate` returns a truthy value. The predicate is called while the lock is held:
   * at once, after each notification, and when the timeout expires.
   *
   * @returns the last result of `predicate`, which is falsy if the timeout expired
   * @throws as {@link Condition.wait}
   */
  async waitFor<T>(predicate: () => T | Promise<T>, options: WaitOptions = {}): Promise<Awaited<T>> {
    checkPredicate("waitFor()", predicate);
    checkWaitOptions("waitFor()", options);
    const deadline = performance.now() + (options.timeout ?? Number.POSITIVE_INFINITY);
    let result = await predicate();
    while (!result) {
      const timeout = deadline - performance.now();
      if (timeout <= 0) break;
      await this.wait({ ...options, timeout });
      result = await predicate();
    }
    return result;
  }

  /**
   * Waits like {@link Condition.waitFor}, and blocks this thread.
   *
   * @returns the last result of `predicate`, which is falsy if the timeout expired
   * @throws as {@link Condition.waitSync}
   */
  waitForSync<T>(predicate: () => T, options: Pick<WaitOptions, "timeout"> = {}): T {
    checkPredicate("waitForSync()", predicate);
    checkWaitOptions("waitForSync()", options, SYNC_OPTIONS);
    const deadline = performance.now() + (options.timeout ?? Number.POSITIVE_INFINITY);
    let result = predicate();
    while (!result) {
      const timeout = deadline - performance.now();
      if (timeout <= 0) break;
      this.waitSync({ timeout });
      result = predicate();
    }
    return result;
  }

  /**
   * Notifies up to `count` waiters. They continue one by one, as they reacquire the lock. In shared
   * memory, the waiters are notified when the call returns; otherwise when the promise settles.
   *
   * @default count 1
   * @throws {NotHeldError} if this flow does not hold the lock
   * @throws {RangeError} if `count` is not a whole number, 0 or more
   */
  notify(count: number = 1): Promise<void> {
    return this.#notify("notify()", count);
  }

  /**
   * Notifies all waiters, like {@link Condition.notify}.
   *
   * @throws {NotHeldError} if this flow does not hold the lock
   */
  notifyAll(): Promise<void> {
    return this.#notify("notifyAll()", Number.MAX_SAFE_INTEGER);
  }

  static {
    makeShareable(this, (condition) => condition.#toHandle());
  }

  #toHandle(): SharedHandle {
    return { kind: "sync.Condition", module: MODULE, data: [addressOf(this), this.lock] };
  }

  #notify(call: string, count: number): Promise<void> {
    try {
      if (!(Number.isInteger(count) && count >= 0))
        throw new RangeError(`${call} takes a whole number of waiters, 0 or more, not ${String(count)}`);
      const backend = backendOf<ConditionBackend>(this, call);
      ownershipOf(this.lock, call).assertHeld(call);
      return backend.notify(call, count) ?? RESOLVED;
    } catch (error) {
      return Promise.reject(error);
    }
  }
}

registerReviver("sync.Condition", (data) => {
  const [address, lock] = data as [PrimitiveAddress, Lock | RLock];
  return attachAt(address, () => new Condition(lock));
});

function checkPredicate(call: string, predicate: unknown): void {
  if (typeof predicate !== "function")
    throw new TypeError(`${call} takes a function that returns whether to continue, not ${describeValue(predicate)}`);
}
