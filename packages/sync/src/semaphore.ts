import {
  checkWaitOptions,
  currentThreadId,
  makeShareable,
  registerReviver,
  type SharedHandle,
  type WaitOptions,
} from "@multiproc/core/internal";
import { MAX_UNITS, type SemaphoreBackend, type SemaphoreState, semaphoreKind } from "./backends/semaphore-backend.ts";
import { MODULE } from "./module-id.ts";
import { Guard } from "./ownership/lock-guard.ts";
import {
  addressOf,
  attachAt,
  backendOf,
  type MaybePromise,
  Primitive,
  type PrimitiveAddress,
  RESOLVED,
} from "./primitive.ts";

const SYNC_OPTIONS = ["timeout"];
/** The default options. A call with this object does not need to check them. */
const NO_OPTIONS: WaitOptions = {};

/**
 * A number of units for any number of processes: each `acquire()` takes one, and waits while none
 * is left.
 *
 * Any process may release units, also units that it did not take. If a process ends without
 * releasing the units that it took, they become available again.
 *
 * @example At most two at a time
 * ```ts
 * import { Semaphore } from "@multiproc/sync";
 *
 * const semaphore = new Semaphore(2);
 * {
 *   using one = await semaphore.acquire();
 *   using two = await semaphore.acquire();
 *   console.log(semaphore.getValue()); // 0
 *   console.log(await semaphore.acquire({ timeout: 10 })); // null
 * }
 * console.log(semaphore.getValue()); // 2
 * ```
 */
export class Semaphore extends Primitive {
  /** The number of units at the beginning. */
  readonly initialValue: number;
  readonly #maxUnits: number;

  /**
   * Creates a semaphore.
   *
   * @param value the number of units
   * @default value 1
   * @throws {RangeError} if `value` is not a whole number, 0 or more
   */
  constructor(value: number = 1) {
    super(semaphoreKind("Semaphore", checkedValue(value)));
    this.initialValue = value;
    this.#maxUnits = this instanceof BoundedSemaphore ? value : MAX_UNITS;
  }

  /**
   * Takes a unit; waits in the event loop while none is left.
   *
   * @returns the unit, for `using`; null if the timeout expired
   * @throws {SyncClosedError} after `close()`, or if the owner process is gone
   * @throws the signal's reason
   */
  async acquire(options: WaitOptions = NO_OPTIONS): Promise<Guard | null> {
    if (options !== NO_OPTIONS) checkWaitOptions("acquire()", options);
    const backend = backendOf<SemaphoreBackend>(this, "acquire()");
    return this.#createGuard(await backend.acquire("acquire()", options));
  }

  /**
   * Takes a unit; blocks this thread while none is left.
   *
   * @returns the unit, for `using`; null if the timeout expired
   * @throws {CapabilityError} if the call would wait and there is no shared memory
   */
  acquireSync(options: Pick<WaitOptions, "timeout"> = NO_OPTIONS): Guard | null {
    if (options !== NO_OPTIONS) checkWaitOptions("acquireSync()", options, SYNC_OPTIONS);
    return this.#createGuard(
      backendOf<SemaphoreBackend>(this, "acquireSync()").acquireSync("acquireSync()", options.timeout),
    );
  }

  /**
   * Takes a unit if one is left at this moment.
   *
   * @returns the unit, for `using`; null if none is left
   * @throws {CapabilityError} in a process without shared memory that does not own the semaphore:
   * use `acquire({ timeout: 0 })`
   */
  tryAcquire(): Guard | null {
    return this.#createGuard(backendOf<SemaphoreBackend>(this, "tryAcquire()").tryAcquire("tryAcquire()"));
  }

  /**
   * Releases units, or adds new ones. In shared memory, they are available when the call returns,
   * so code that blocks its thread need not await the promise. Otherwise they are available when
   * the promise settles.
   *
   * @param units the number of units
   * @default units 1
   * @throws {RangeError} if `units` is not a whole number, 1 or more, or if too many units would be
   * left
   * @throws {SyncClosedError} after `close()`, or if the owner process is gone
   */
  release(units: number = 1): Promise<void> {
    try {
      return this.#release(units) ?? RESOLVED;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Returns the number of units that are left at this moment.
   *
   * @throws {CapabilityError} in a process without shared memory that does not own the semaphore:
   * use {@link Semaphore.state}
   * @throws {SyncClosedError} after `close()`
   */
  getValue(): number {
    return backendOf<SemaphoreBackend>(this, "getValue()").value("getValue()", "value");
  }

  /**
   * Whether no unit is left at this moment.
   *
   * @throws as {@link Semaphore.getValue}
   */
  locked(): boolean {
    return backendOf<SemaphoreBackend>(this, "locked()").value("locked()", "isLocked") === 0;
  }

  /**
   * Reports the state of the semaphore at this moment. It works in every process: where
   * `getValue()` and `locked()` cannot read the state at once, this method asks the owner process.
   *
   * @throws {SyncClosedError} after `close()`, or if the owner process is gone
   */
  async state(): Promise<SemaphoreState> {
    return backendOf<SemaphoreBackend>(this, "state()").state("state()");
  }

  static {
    makeShareable(this, (semaphore) => semaphore.#toHandle());
  }

  #toHandle(): SharedHandle {
    const data = [addressOf(this), this.initialValue];
    return {
      kind: this instanceof BoundedSemaphore ? "sync.BoundedSemaphore" : "sync.Semaphore",
      module: MODULE,
      data,
    };
  }

  #release(units: number): MaybePromise<void> {
    if (!Number.isInteger(units) || units < 1)
      throw new RangeError(`release() takes a whole number of units, 1 or more, not ${String(units)}`);
    return backendOf<SemaphoreBackend>(this, "release()").release("release()", units, this.#maxUnits);
  }

  #createGuard(isTaken: boolean): Guard | null {
    if (!isTaken) return null;
    const thread = currentThreadId();
    // In a forked child, the unit of the guard belongs to the parent.
    return new Guard(false, { release: () => (currentThreadId() === thread ? this.#release(1) : undefined) });
  }
}

/**
 * A semaphore that never has more units left than at the beginning. A release beyond that is an
 * error.
 *
 * @example
 * ```ts
 * import { BoundedSemaphore } from "@multiproc/sync";
 *
 * const semaphore = new BoundedSemaphore(1);
 * try {
 *   await semaphore.release();
 * } catch (error) {
 *   console.log((error as Error).name); // RangeError
 * }
 * ```
 */
export class BoundedSemaphore extends Semaphore {}

registerReviver("sync.Semaphore", (data) => {
  const [address, value] = data as [PrimitiveAddress, number];
  return attachAt(address, () => new Semaphore(value));
});
registerReviver("sync.BoundedSemaphore", (data) => {
  const [address, value] = data as [PrimitiveAddress, number];
  return attachAt(address, () => new BoundedSemaphore(value));
});

function checkedValue(value: number): number {
  if (!Number.isInteger(value) || value < 0 || value > MAX_UNITS)
    throw new RangeError(`A semaphore takes a whole number of units from 0 to ${MAX_UNITS}, not ${String(value)}`);
  return value;
}
