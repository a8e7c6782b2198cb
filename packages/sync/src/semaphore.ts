import {
  checkTimeout,
  currentThreadId,
  makeShareable,
  registerReviver,
  type SharedHandle,
  type WaitOptions,
} from "@multiproc/core/internal";
import { MAX_UNITS, type SemaphoreBackend, semaphoreKind } from "./backends/semaphore-backend.ts";
import { MODULE } from "./module-id.ts";
import { Guard } from "./ownership/lock-guard.ts";
import { addressOf, attachAt, backendOf, type MaybePromise, Primitive, type PrimitiveAddress } from "./primitive.ts";

/**
 * A number of units for any number of processes: each `acquire()` takes one, and waits while there is none.
 *
 * Any process may release units, also ones that it has not taken. The units that a process has taken come back when it ends
 * without having released them.
 *
 * @example At most two at a time
 * ```ts
 * import { Semaphore } from "@multiproc/sync";
 *
 * const semaphore = new Semaphore(2);
 * {
 *   using one = await semaphore.acquire();
 *   using two = await semaphore.acquire();
 *   console.log(await semaphore.getValue()); // 0
 *   console.log(await semaphore.acquire({ timeout: 10 })); // null
 * }
 * console.log(await semaphore.getValue()); // 2
 * ```
 */
export class Semaphore extends Primitive {
  /** How many units there were at the beginning. */
  readonly initialValue: number;

  /**
   * Makes a semaphore.
   *
   * @param value how many units there are
   * @default value 1
   * @throws {RangeError} for anything but a whole number from 0
   */
  constructor(value: number = 1) {
    super(semaphoreKind("Semaphore", checkedValue(value)));
    this.initialValue = value;
  }

  /**
   * Takes a unit; waits in the event loop while there is none.
   *
   * @returns the unit, for `using`; null if the time ran out
   * @throws {SyncClosedError} after `close()`, or if the process that serves the semaphore is gone
   * @throws the signal's reason
   */
  async acquire(options: WaitOptions = {}): Promise<Guard | null> {
    const backend = backendOf<SemaphoreBackend>(this, "acquire()");
    return this.#guard(await backend.acquire("acquire()", options));
  }

  /**
   * Takes a unit; blocks this thread while there is none.
   *
   * @returns the unit, for `using`; null if the time ran out
   * @throws {CapabilityError} where there is no shared memory
   */
  acquireSync(options: Pick<WaitOptions, "timeout"> = {}): Guard | null {
    checkTimeout("acquireSync()", options.timeout);
    return this.#guard(
      backendOf<SemaphoreBackend>(this, "acquireSync()").acquireSync("acquireSync()", options.timeout),
    );
  }

  /**
   * Takes a unit if there is one at this moment.
   *
   * @returns the unit, for `using`; null if there is none
   * @throws {CapabilityError} where another process serves the semaphore: use `acquire({ timeout: 0 })`
   */
  tryAcquire(): Guard | null {
    return this.#guard(backendOf<SemaphoreBackend>(this, "tryAcquire()").tryAcquire("tryAcquire()"));
  }

  /**
   * Gives units back, or makes new ones.
   *
   * @param units how many
   * @default units 1
   * @throws {RangeError} for anything but a whole number from 1, and if there would be too many
   */
  release(units: number = 1): MaybePromise<void> {
    if (!Number.isInteger(units) || units < 1)
      throw new RangeError(`release() takes a number of units from 1, not ${String(units)}`);
    return backendOf<SemaphoreBackend>(this, "release()").release("release()", units, this.limit());
  }

  /** How many units are there at this moment. */
  getValue(): MaybePromise<number> {
    return backendOf<SemaphoreBackend>(this, "getValue()").value("getValue()");
  }

  /** Whether there is no unit at this moment. */
  locked(): MaybePromise<boolean> {
    const value = backendOf<SemaphoreBackend>(this, "locked()").value("locked()");
    return value instanceof Promise ? value.then((value) => value === 0) : value === 0;
  }

  /** How many units there may be. @internal */
  protected limit(): number {
    return MAX_UNITS;
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

  #guard(isTaken: boolean): Guard | null {
    if (!isTaken) return null;
    const thread = currentThreadId();
    // In a forked child, the guard is about what its parent has taken.
    return new Guard(false, { release: () => (currentThreadId() === thread ? this.release() : undefined) });
  }
}

/**
 * A semaphore that refuses to have more units than at the beginning: a release too many is an error.
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
export class BoundedSemaphore extends Semaphore {
  /** @internal */
  protected override limit(): number {
    return this.initialValue;
  }
}

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
    throw new RangeError(`A semaphore takes a value from 0 to ${MAX_UNITS}, not ${String(value)}`);
  return value;
}
