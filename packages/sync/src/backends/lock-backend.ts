/** What locks are built on: one holder at a time among all processes, in shared memory or at a home process. */
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
import type { LockOwnership } from "../ownership/lock-ownership.ts";
import { type MaybePromise, type PrimitiveKind, requireSharedMemory } from "../primitive.ts";
import type { PrimitiveClient } from "../remote/primitive-client.ts";
import type { Client, RequestHandler } from "../remote/primitive-server.ts";

/** A lock that knows processes, and nothing of flows. */
export interface LockBackend {
  /** What this process knows of its holder: one for all objects that stand for the same lock. */
  ownership: LockOwnership | undefined;
  acquire(call: string, options: WaitOptions): Promise<AcquireResult>;
  acquireSync(call: string, timeout: number | undefined): AcquireResult;
  tryAcquire(call: string): AcquireResult;
  /** Takes a lock that is free, if there is nothing to tell about it (see `decline()`): the shortest way there is. */
  tryLockFast(): boolean;
  /** Frees the lock, whoever has it. */
  release(call: string): MaybePromise<void>;
  /** Frees a lock that its holder did not want, since the one before has died; the next is told as well. */
  passOnOwnerDied(): void;
  /** Whether a flow of this process has it. */
  readonly isHeldHere: boolean;
  locked(call: string): MaybePromise<boolean>;
}

const WAITER_SLOT_COUNT = 64;
/** Whether the last holder died where others could not see it: as a guest, or before one who declined. */
const OWNER_DIED_FLAG = RobustMutex.wordCount(WAITER_SLOT_COUNT);

/** A lock in memory. */
class SharedLock implements LockBackend, RequestHandler {
  readonly #mutex: RobustMutex;
  readonly #words: Int32Array;
  readonly #isShared: boolean;
  ownership: LockOwnership | undefined;
  /** The guest for which this process has the lock. */
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
    if (!this.#isShared) requireSharedMemory(call, `await ${call.replace("Sync", "")}`);
    if (timeout === undefined && this.#mutex.isOurs) {
      throw new DeadlockError(
        `${call} would wait for ever: this thread has the lock in another flow, which cannot go on while the call blocks`,
      );
    }
    return this.#withOwnerDeath(this.#mutex.acquireSync(timeout));
  }

  release(call: string): void {
    this.#holdingClient = undefined;
    if (!this.#mutex.releaseIfHeld()) throw new NotHeldError(`${call} was called on a lock that nobody holds`);
  }

  passOnOwnerDied(): void {
    this.#words[OWNER_DIED_FLAG] = 1;
    this.#holdingClient = undefined;
    this.#mutex.release(true);
  }

  locked(): boolean {
    return this.#mutex.isHeld;
  }

  handle(client: Client, operation: string, [call]: readonly unknown[], options: WaitQueueOptions): unknown {
    switch (operation) {
      case "acquire":
        return this.acquire(call as string, options).then((result) => this.#grantTo(client, result));
      case "try":
        return this.#grantTo(client, this.tryAcquire());
      case "release":
        return this.release(call as string);
      case "decline":
        return this.passOnOwnerDied();
      default:
        return this.locked();
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

  /** The same, with what its last holder left behind. */
  #withOwnerDeath(result: AcquireResult): AcquireResult {
    if (result === WOULD_BLOCK) return WOULD_BLOCK;
    this.#holdingClient = undefined;
    if (this.#words[OWNER_DIED_FLAG] === 0) return result;
    this.#words[OWNER_DIED_FLAG] = 0;
    return OWNER_DIED;
  }
}

/** A lock that another process serves. */
class RemoteLock implements LockBackend {
  readonly #client: PrimitiveClient;
  ownership: LockOwnership | undefined;
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
    return requireSharedMemory(call, `await ${call.replace("Sync", "")}`);
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
    this.#client.notify("decline");
  }

  async locked(call: string): Promise<boolean> {
    return (await this.#client.request(call, "locked")) as boolean;
  }
}

/** How locks are made. */
export function lockKind(name: string): PrimitiveKind<LockBackend> {
  return {
    name,
    size: 4096,
    open: (memory) => new SharedLock(memory),
    connect: (client) => new RemoteLock(client),
  };
}
