import { makeShareable, registerReviver, type SharedHandle } from "@multiproc/core/internal";
import { type LockBackend, lockKind } from "./backends/lock-backend.ts";
import { MODULE } from "./module-id.ts";
import type { Guard } from "./ownership/lock-guard.ts";
import {
  type AcquireOptions,
  type AcquireSyncOptions,
  FlowOwnership,
  type LockOwnership,
  ProcessOwnership,
} from "./ownership/lock-ownership.ts";
import {
  addressOf,
  attachAt,
  backendOf,
  type MaybePromise,
  Primitive,
  type PrimitiveAddress,
  type PrimitiveKind,
} from "./primitive.ts";

const LOCK_KIND: PrimitiveKind<LockBackend> = lockKind("Lock");
const RLOCK_KIND: PrimitiveKind<LockBackend> = lockKind("RLock");

/**
 * What {@link Lock} and {@link RLock} have in common.
 *
 * @example Code that takes either kind
 * ```ts
 * import { type AnyLock, Lock, RLock } from "@multiproc/sync";
 *
 * const guarded = async (lock: AnyLock, work: () => void) => {
 *   using held = await lock.acquire();
 *   work();
 * };
 * await guarded(new Lock(), () => console.log("one")); // one
 * await guarded(new RLock(), () => console.log("two")); // two
 * ```
 */
export abstract class BaseLock extends Primitive {
  readonly #createOwnership: (backend: LockBackend) => LockOwnership;
  /** That of the link, near at hand: every call needs it, and a free lock is had in no more time than a few calls take. */
  #ownership: LockOwnership | undefined;

  /**
   * Made by the classes that extend it.
   *
   * @param kind how locks of the class are made
   * @param hold what knows their holder
   * @internal
   */
  constructor(kind: object, createOwnership: (backend: never) => unknown) {
    super(kind);
    this.#createOwnership = createOwnership as (backend: LockBackend) => LockOwnership;
  }

  /**
   * Takes the lock; waits in the event loop while others have it. Whoever waits gets it within 100 ms after its holder was
   * killed, and nobody is passed over for ever.
   *
   * @returns what is held, for `using`; null if the time ran out
   * @throws {OwnerDiedError} if that was asked for and the holder has died
   * @throws {SyncClosedError} after `close()`, or if the process that serves the lock is gone
   * @throws the signal's reason
   */
  acquire(options: AcquireOptions = {}): Promise<Guard | null> {
    try {
      return ownershipOf(this, "acquire()").acquire("acquire()", options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Takes the lock; blocks this thread while others have it.
   *
   * @returns what is held, for `using`; null if the time ran out
   * @throws {CapabilityError} where there is no shared memory
   * @throws {DeadlockError} if another flow of this thread has the lock and no time-out was given
   * @throws {OwnerDiedError} if that was asked for and the holder has died
   */
  acquireSync(options: AcquireSyncOptions = {}): Guard | null {
    return ownershipOf(this, "acquireSync()").acquireSync("acquireSync()", options);
  }

  /**
   * Takes the lock if it can be had at this moment.
   *
   * @returns what is held, for `using`; null if another has it
   * @throws {CapabilityError} where another process serves the lock: use `acquire({ timeout: 0 })`
   */
  tryAcquire(options: Pick<AcquireSyncOptions, "onOwnerDeath"> = {}): Guard | null {
    return ownershipOf(this, "tryAcquire()").tryAcquire("tryAcquire()", options);
  }

  /** Whether anybody has the lock at this moment. */
  locked(): MaybePromise<boolean> {
    return backendOf<LockBackend>(this, "locked()").locked("locked()");
  }

  /** What this process knows of its holder. @internal */
  "multiproc:holding"(call: string): object {
    if (this.#ownership !== undefined) return this.#ownership;
    const backend = backendOf<LockBackend>(this, call);
    backend.ownership ??= this.#createOwnership(backend);
    this.#ownership = backend.ownership;
    return backend.ownership;
  }

  /** @internal */
  override "multiproc:moved"(): void {
    this.#ownership = undefined;
  }

  static {
    makeShareable(this, (lock) => lock.#toHandle());
  }

  #toHandle(): SharedHandle {
    return { kind: this instanceof RLock ? "sync.RLock" : "sync.Lock", module: MODULE, data: addressOf(this) };
  }
}

/** What this process knows of a lock's holder. */
export function ownershipOf(lock: BaseLock, call: string): LockOwnership {
  return lock["multiproc:holding"](call) as LockOwnership;
}

/**
 * A lock for any number of processes: one holder at a time.
 *
 * It belongs to a process, not to a flow in it: taken twice by one flow, the second call waits; and any process may release it.
 *
 * @example A counter that two processes share
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
  /** Makes a lock that nobody holds. */
  constructor() {
    super(LOCK_KIND, (backend) => new ProcessOwnership(backend));
  }

  /**
   * Frees the lock, whoever has it.
   *
   * @throws {NotHeldError} if nobody has it
   */
  release(): MaybePromise<void> {
    return ownershipOf(this, "release()").release("release()");
  }
}

/**
 * A lock that its holder can take again, and has to give back as often. Its holder is one flow of work in one process: other
 * flows of that process wait like any other.
 *
 * A flow is known from the moment in which it takes the lock by `using held = await lock.acquire()`, or by a call on the lock
 * right after the wait; it extends to all that is called from then on.
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
 * console.log(await lock.locked()); // false
 * ```
 */
export class RLock extends BaseLock {
  /** Makes a lock that nobody holds. */
  constructor() {
    super(RLOCK_KIND, (backend) => new FlowOwnership(backend));
  }

  /**
   * Gives the lock back once.
   *
   * @throws {NotHeldError} if this flow does not hold it
   */
  release(): MaybePromise<void> {
    return ownershipOf(this, "release()").release("release()");
  }
}

registerReviver("sync.Lock", (address) => attachAt(address as PrimitiveAddress, () => new Lock()));
registerReviver("sync.RLock", (address) => attachAt(address as PrimitiveAddress, () => new RLock()));
