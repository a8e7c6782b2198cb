/**
 * The backend of locks: one holder at a time among all processes. It does not distinguish the async
 * flows of a process. That is the task of `ownership/lock-ownership.ts`.
 */
import {
  type AcquireResult,
  OWNER_DIED,
  RobustMutex,
  type SharedSegment,
  TIMED_OUT,
  type WaitOptions,
  type WaitQueueOptions,
  WOULD_BLOCK,
} from "@multiproc/core/internal";
import { DeadlockError, NotHeldError } from "../errors.ts";
import { type MaybePromise, type PrimitiveKind, requireSharedMemory } from "../primitive.ts";
import type { PrimitiveClient } from "../remote/primitive-client.ts";
import type { Client, RequestHandler } from "../remote/primitive-server.ts";

/**
 * The state of a lock at one moment, as `lock.state()` reports it.
 *
 * @example
 * ```ts
 * import { Lock, type LockState } from "@multiproc/sync";
 *
 * const lock = new Lock();
 * await lock.acquire();
 * const state: LockState = await lock.state();
 * console.log(state); // { isLocked: true }
 * ```
 */
export interface LockState {
  /** Whether any process holds the lock. */
  readonly isLocked: boolean;
}

/** The operations of a lock between processes. */
export interface LockBackend {
  acquire(call: string, options: WaitOptions): Promise<AcquireResult>;
  acquireSync(call: string, timeout: number | undefined): AcquireResult;
  tryAcquire(call: string): AcquireResult;
  /** The fast path: acquires the lock if it is free and its previous owner did not die. */
  tryLockFast(): boolean;
  /** Frees the lock, whichever process holds it. @throws {NotHeldError} if it is free */
  release(call: string): MaybePromise<void>;
  /** Frees the lock. The next acquisition results in `OWNER_DIED`. */
  passOnOwnerDied(): void;
  /** Whether this thread holds the lock, and not on behalf of a client. */
  readonly isHeldHere: boolean;
  /** Reads the lock at once. @throws {CapabilityError} if only the owner process can read it */
  locked(call: string): boolean;
  state(call: string): MaybePromise<LockState>;
}

const WAITER_SLOT_COUNT = 64;
/**
 * 1 if the next holder must learn of a death that the mutex does not detect: the dead owner was a
 * client of this process, or a later holder passed the death on.
 */
const OWNER_DIED_WORD = RobustMutex.wordCount(WAITER_SLOT_COUNT);
const SEGMENT_BYTES = 4096;

class SharedLock implements LockBackend, RequestHandler {
  readonly #mutex: RobustMutex;
  readonly #words: Int32Array;
  readonly #isShared: boolean;
  /** The client on whose behalf this process holds the mutex. */
  #holdingClient: Client | undefined;

  constructor(memory: SharedSegment) {
    this.#mutex = new RobustMutex(memory, 0, WAITER_SLOT_COUNT);
    this.#words = new Int32Array(memory.buffer);
    this.#isShared = memory.isShared;
    memory.onClose(() => {
      if (this.#mutex.isOurs) this.#mutex.release();
    });
  }

  get isHeldHere(): boolean {
    return this.#holdingClient === undefined && this.#mutex.isOurs;
  }

  tryLockFast(): boolean {
    if (!this.#mutex.tryLockFast()) return false;
    this.#holdingClient = undefined;
    return true;
  }

  tryAcquire(): AcquireResult {
    return this.#withOwnerDeath(this.#mutex.tryAcquire());
  }

  async acquire(call: string, options: WaitQueueOptions): Promise<AcquireResult> {
    return this.#withOwnerDeath(await this.#mutex.acquire(call, options));
  }

  acquireSync(call: string, timeout: number | undefined): AcquireResult {
    const result = this.tryAcquire();
    if (result !== WOULD_BLOCK || timeout === 0) return result;
    if (!this.#isShared) requireSharedMemory(call);
    if (timeout === undefined && this.#mutex.isOurs) {
      throw new DeadlockError(
        `${call} would wait forever: another async flow of this thread holds the lock, and cannot continue while the thread is blocked. Use await acquire() instead`,
      );
    }
    return this.#withOwnerDeath(this.#mutex.acquireSync(timeout));
  }

  release(call: string): void {
    this.#holdingClient = undefined;
    if (!this.#mutex.releaseIfHeld())
      throw new NotHeldError(`${call} was called on a lock that is free: acquire it first`);
  }

  passOnOwnerDied(): void {
    this.#words[OWNER_DIED_WORD] = 1;
    this.#holdingClient = undefined;
    this.#mutex.release(true);
  }

  locked(): boolean {
    return this.#mutex.isHeld;
  }

  state(): LockState {
    return { isLocked: this.#mutex.isHeld };
  }

  handle(client: Client, operation: string, [call]: readonly unknown[], options: WaitQueueOptions): unknown {
    switch (operation) {
      case "acquire":
        return this.acquire(call as string, options).then((result) => this.#grantTo(client, result));
      case "try":
        return this.#grantTo(client, this.tryAcquire());
      case "release":
        return this.release(call as string);
      case "passOnOwnerDied":
        return this.passOnOwnerDied();
      default:
        return this.state();
    }
  }

  clientGone(client: Client): void {
    if (this.#holdingClient === client && this.#mutex.isOurs) this.passOnOwnerDied();
  }

  #grantTo(client: Client, result: AcquireResult): AcquireResult {
    if (result === WOULD_BLOCK) return WOULD_BLOCK;
    this.#holdingClient = client;
    if (client.isGone) this.passOnOwnerDied();
    return result;
  }

  /** Returns the result of the mutex, or `OWNER_DIED` if `OWNER_DIED_WORD` is set. */
  #withOwnerDeath(result: AcquireResult): AcquireResult {
    if (result === WOULD_BLOCK) return WOULD_BLOCK;
    this.#holdingClient = undefined;
    if (this.#words[OWNER_DIED_WORD] === 0) return result;
    this.#words[OWNER_DIED_WORD] = 0;
    return OWNER_DIED;
  }
}

class RemoteLock implements LockBackend {
  readonly #client: PrimitiveClient;
  isHeldHere = false;

  constructor(client: PrimitiveClient) {
    this.#client = client;
  }

  tryLockFast(): boolean {
    return false;
  }

  tryAcquire(call: string): AcquireResult {
    return requireSharedMemory(call, "await acquire({ timeout: 0 })");
  }

  acquireSync(call: string): AcquireResult {
    return requireSharedMemory(call);
  }

  async acquire(call: string, options: WaitOptions): Promise<AcquireResult> {
    const undo = (result: unknown): void => {
      if (result !== WOULD_BLOCK) this.#client.notify("release", ["release()"]);
    };
    const isTry = options.timeout === 0;
    const reply = isTry
      ? await this.#client.request(call, "try", [call], { signal: options.signal }, undo)
      : await this.#client.request(call, "acquire", [call], options, undo);
    if (reply === TIMED_OUT || reply === WOULD_BLOCK) return WOULD_BLOCK;
    this.isHeldHere = true;
    return reply as AcquireResult;
  }

  async release(call: string): Promise<void> {
    this.isHeldHere = false;
    await this.#client.request(call, "release", [call]);
  }

  passOnOwnerDied(): void {
    this.isHeldHere = false;
    this.#client.notify("passOnOwnerDied");
  }

  locked(call: string): boolean {
    return requireSharedMemory(call, "(await lock.state()).isLocked");
  }

  async state(call: string): Promise<LockState> {
    return (await this.#client.request(call, "state")) as LockState;
  }
}

/** Returns the kind of a lock. `name` is the name of its class. */
export function lockKind(name: string): PrimitiveKind<LockBackend> {
  return {
    name,
    size: SEGMENT_BYTES,
    open: (memory) => new SharedLock(memory),
    connect: (client) => new RemoteLock(client),
  };
}
