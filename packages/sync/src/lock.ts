import { makeShareable, registerReviver, type SharedHandle } from "@multiproc/core/internal";
import { type LockBackend, type LockState, lockKind } from "./backends/lock-backend.ts";
import { MODULE } from "./module-id.ts";
import type { Guard } from "./ownership/lock-guard.ts";
import {
  type AcquireOptions,
  type AcquireSyncOptions,
  checkAcquireOptions,
  FlowOwnership,
  type LockOwnership,
  ProcessOwnership,
  SYNC_OPTIONS,
  TRY_OPTIONS,
} from "./ownership/lock-ownership.ts";
import {
  addressOf,
  attachAt,
  backendOf,
  Primitive,
  type PrimitiveAddress,
  type PrimitiveKind,
  RESOLVED,
} from "./primitive.ts";

const LOCK_KIND: PrimitiveKind<LockBackend> = lockKind("Lock");
const RLOCK_KIND: PrimitiveKind<LockBackend> = lockKind("RLock");
/** The default options. A call with this object does not need to check them. */
const NO_OPTIONS: AcquireOptions = {};

/** The ownership of each backend in this process. All objects of one lock share it. */
const ownerships = new WeakMap<LockBackend, LockOwnership>();

/**
 * Returns the ownership of a lock in this process. Set by the class below.
 *
 * @throws {SyncClosedError} after `close()`
 */
export let ownershipOf: (lock: BaseLock, call: string) => LockOwnership;
let forgetOwnership: (lock: BaseLock) => void;

/**
 * The base class of {@link Lock} and {@link RLock}.
 *
 * @internal
 */
export abstract class BaseLock extends Primitive {
  readonly #createOwnership: (backend: LockBackend) => LockOwnership;
  /**
   * The entry in `ownerships`, cached. Acquiring a free lock takes about 20 ns, so a look-up would
   * be noticeable.
   */
  #ownership: LockOwnership | undefined;

  /**
   * For the subclasses.
   *
   * @param kind a {@link PrimitiveKind}
   * @param createOwnership creates the {@link LockOwnership} of a backend
   * @internal
   */
  constructor(kind: object, createOwnership: (backend: never) => unknown) {
    super(kind, forgetOwnership);
    this.#createOwnership = createOwnership as (backend: LockBackend) => LockOwnership;
  }

  static {
    makeShareable(this, (lock) => lock.#toHandle());
    ownershipOf = (lock, call) => lock.#ownership ?? lock.#findOwnership(call);
    forgetOwnership = (lock) => {
      lock.#ownership = undefined;
    };
  }

  /**
   * Acquires the lock; waits in the event loop while another holder has it. If its holder is
   * killed, the next waiter gets the lock within 100 ms. No waiter starves.
   *
   * @returns a guard for `using`; null if the timeout expired
   * @throws {OwnerDiedError} if the previous owner died and `onOwnerDeath` is `"throw"`
   * @throws {SyncClosedError} after `close()`, or if the owner process is gone
   * @throws the signal's reason
   */
  acquire(options: AcquireOptions = NO_OPTIONS): Promise<Guard | null> {
    try {
      if (options !== NO_OPTIONS) checkAcquireOptions("acquire()", options);
      return (this.#ownership ?? this.#findOwnership("acquire()")).acquire("acquire()", options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Acquires the lock; blocks this thread while another holder has it.
   *
   * @returns a guard for `using`; null if the timeout expired
   * @throws {CapabilityError} if the call would wait and there is no shared memory
   * @throws {DeadlockError} if another async flow of this thread holds the lock and the call has no
   * timeout
   * @throws {OwnerDiedError} if the previous owner died and `onOwnerDeath` is `"throw"`
   */
  acquireSync(options: AcquireSyncOptions = NO_OPTIONS): Guard | null {
    if (options !== NO_OPTIONS) checkAcquireOptions("acquireSync()", options, SYNC_OPTIONS);
    return (this.#ownership ?? this.#findOwnership("acquireSync()")).acquireSync("acquireSync()", options);
  }

  /**
   * Acquires the lock if it is free at this moment.
   *
   * @returns a guard for `using`; null if another holder has the lock
   * @throws {CapabilityError} in a process without shared memory that does not own the lock: use
   * `acquire({ timeout: 0 })`
   */
  tryAcquire(options: Pick<AcquireSyncOptions, "onOwnerDeath"> = NO_OPTIONS): Guard | null {
    if (options !== NO_OPTIONS) checkAcquireOptions("tryAcquire()", options, TRY_OPTIONS);
    return ownershipOf(this, "tryAcquire()").tryAcquire("tryAcquire()", options);
  }

  /**
   * Releases the lock. Any process may release a `Lock`, even if it did not acquire it. Only the
   * flow that holds an `RLock` may release it. An `RLock` is free after as many releases as
   * acquisitions.
   *
   * In shared memory, the lock is free when the call returns, so code that blocks its thread need
   * not await the promise. Otherwise it is free when the promise settles.
   *
   * @throws {NotHeldError} if nothing holds the `Lock`, or if this flow does not hold the `RLock`
   * @throws {SyncClosedError} after `close()`, or if the owner process is gone
   */
  release(): Promise<void> {
    try {
      return (this.#ownership ?? this.#findOwnership("release()")).release("release()") ?? RESOLVED;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Whether any process holds the lock at this moment.
   *
   * @throws {CapabilityError} in a process without shared memory that does not own the lock: use
   * {@link Lock.state}
   * @throws {SyncClosedError} after `close()`
   */
  locked(): boolean {
    return backendOf<LockBackend>(this, "locked()").locked("locked()");
  }

  /**
   * Reports the state of the lock at this moment. It works in every process: where `locked()`
   * cannot read the state at once, this method asks the owner process.
   *
   * @throws {SyncClosedError} after `close()`, or if the owner process is gone
   */
  async state(): Promise<LockState> {
    return backendOf<LockBackend>(this, "state()").state("state()");
  }

  #findOwnership(call: string): LockOwnership {
    const backend = backendOf<LockBackend>(this, call);
    let ownership = ownerships.get(backend);
    if (ownership === undefined) {
      ownership = this.#createOwnership(backend);
      ownerships.set(backend, ownership);
    }
    this.#ownership = ownership;
    return ownership;
  }

  #toHandle(): SharedHandle {
    return { kind: this instanceof RLock ? "sync.RLock" : "sync.Lock", module: MODULE, data: addressOf(this) };
  }
}

/**
 * A lock for any number of processes: one holder at a time (mutual exclusion).
 *
 * Its holder is a process, not an async flow in it. An async flow that acquires the lock twice
 * waits for itself. Any process may release the lock.
 *
 * @example A section that one process runs at a time
 * ```ts
 * // file: tasks.ts
 * import { task } from "@multiproc/core";
 * import type { Lock } from "@multiproc/sync";
 *
 * export const work = task(import.meta.url, async function work(lock: Lock) {
 *   using held = await lock.acquire();
 *   console.log("one at a time");
 * });
 * // file: main.ts
 * import { Process } from "@multiproc/process";
 * import { Lock } from "@multiproc/sync";
 * import { work } from "./tasks.ts";
 *
 * const lock = new Lock();
 * const children = [1, 2].map(() => new Process({ target: work, args: [lock] }));
 * for (const child of children) await child.start();
 * for (const child of children) await child.join();
 * ```
 */
export class Lock extends BaseLock {
  /** Creates a lock that is free. */
  constructor() {
    super(LOCK_KIND, (backend) => new ProcessOwnership(backend));
  }
}

/**
 * A reentrant lock: its holder can acquire it again, and must release it as often. The holder is
 * one async flow in one process. Other flows of that process wait like those of other processes.
 *
 * The lock recognizes its flow by `using held = await lock.acquire()`, or by a call on the lock
 * right after the wait. From then on, everything that the flow calls is part of the flow.
 *
 * @example
 * ```ts
 * import { RLock } from "@multiproc/sync";
 *
 * const lock = new RLock();
 *
 * async function outer() {
 *   using held = await lock.acquire();
 *   await inner();
 * }
 *
 * async function inner() {
 *   using held = await lock.acquire(); // at once: its caller holds the lock
 * }
 *
 * await outer();
 * console.log(await lock.state()); // { isLocked: false }
 * ```
 */
export class RLock extends BaseLock {
  /** Creates a lock that is free. */
  constructor() {
    super(RLOCK_KIND, (backend) => new FlowOwnership(backend));
  }
}

registerReviver("sync.Lock", (address) => attachAt(address as PrimitiveAddress, () => new Lock()));
registerReviver("sync.RLock", (address) => attachAt(address as PrimitiveAddress, () => new RLock()));
