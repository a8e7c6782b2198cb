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
import type { Holding } from "../ownership/lock-ownership.ts";
import { type Kind, type MaybePromise, requireMemory } from "../primitive.ts";
import type { RemoteLink } from "../remote/primitive-client.ts";
import type { Guest, Servant } from "../remote/primitive-server.ts";

/** A lock that knows processes, and nothing of flows. */
export interface LockLink {
  /** What this process knows of its holder: one for all objects that stand for the same lock. */
  holding: Holding | undefined;
  acquire(call: string, options: WaitOptions): Promise<AcquireResult>;
  acquireSync(call: string, timeout: number | undefined): AcquireResult;
  tryAcquire(call: string): AcquireResult;
  /** Takes a lock that is free, if there is nothing to tell about it (see `decline()`): the shortest way there is. */
  takeFree(): boolean;
  /** Frees the lock, whoever has it. */
  release(call: string): MaybePromise<void>;
  /** Frees a lock that its holder did not want, since the one before has died; the next is told as well. */
  decline(): void;
  /** Whether a flow of this process has it. */
  readonly isOurs: boolean;
  locked(call: string): MaybePromise<boolean>;
}

const SLOTS = 64;
/** Whether the last holder died where others could not see it: as a guest, or before one who declined. */
const DIED = RobustMutex.wordCount(SLOTS);

/** A lock in memory. */
class MemoryLock implements LockLink, Servant {
  readonly #lock: RobustMutex;
  readonly #words: Int32Array;
  readonly #isShared: boolean;
  holding: Holding | undefined;
  /** The guest for which this process has the lock. */
  #guest: Guest | undefined;

  constructor(memory: SharedSegment) {
    this.#lock = new RobustMutex(memory, 0, SLOTS);
    this.#words = new Int32Array(memory.buffer);
    this.#isShared = memory.isShared;
    memory.onClose(() => {
      if (this.#lock.isOurs) this.#lock.release();
    });
  }

  get isOurs(): boolean {
    return this.#guest === undefined && this.#lock.isOurs;
  }

  takeFree(): boolean {
    if (!this.#lock.tryLockFast()) return false;
    this.#guest = undefined;
    return true;
  }

  tryAcquire(): AcquireResult {
    return this.#taken(this.#lock.tryAcquire());
  }

  async acquire(call: string, options: WaitQueueOptions): Promise<AcquireResult> {
    return this.#taken(await this.#lock.acquire(call, options));
  }

  acquireSync(call: string, timeout: number | undefined): AcquireResult {
    const taken = this.tryAcquire();
    if (taken !== WOULD_BLOCK || timeout === 0) return taken;
    if (!this.#isShared) requireMemory(call, `await ${call.replace("Sync", "")}`);
    if (timeout === undefined && this.#lock.isOurs) {
      throw new DeadlockError(
        `${call} would wait for ever: this thread has the lock in another flow, which cannot go on while the call blocks`,
      );
    }
    return this.#taken(this.#lock.acquireSync(timeout));
  }

  release(call: string): void {
    this.#guest = undefined;
    if (!this.#lock.releaseIfHeld()) throw new NotHeldError(`${call} was called on a lock that nobody holds`);
  }

  decline(): void {
    this.#words[DIED] = 1;
    this.#guest = undefined;
    this.#lock.release(true);
  }

  locked(): boolean {
    return this.#lock.isHeld;
  }

  serve(guest: Guest, operation: string, [call]: readonly unknown[], options: WaitQueueOptions): unknown {
    switch (operation) {
      case "acquire":
        return this.acquire(call as string, options).then((taken) => this.#give(guest, taken));
      case "try":
        return this.#give(guest, this.tryAcquire());
      case "release":
        return this.release(call as string);
      case "decline":
        return this.decline();
      default:
        return this.locked();
    }
  }

  leave(guest: Guest): void {
    if (this.#guest === guest && this.#lock.isOurs) this.decline();
  }

  #give(guest: Guest, taken: AcquireResult): AcquireResult {
    if (taken === WOULD_BLOCK) return WOULD_BLOCK;
    this.#guest = guest;
    if (guest.isGone) this.decline();
    return taken;
  }

  /** The same, with what its last holder left behind. */
  #taken(taken: AcquireResult): AcquireResult {
    if (taken === WOULD_BLOCK) return WOULD_BLOCK;
    this.#guest = undefined;
    if (this.#words[DIED] === 0) return taken;
    this.#words[DIED] = 0;
    return OWNER_DIED;
  }
}

/** A lock that another process serves. */
class RemoteLock implements LockLink {
  readonly #remote: RemoteLink;
  holding: Holding | undefined;
  isOurs = false;

  constructor(remote: RemoteLink) {
    this.#remote = remote;
  }

  takeFree(): boolean {
    return false;
  }

  tryAcquire(call: string): AcquireResult {
    return requireMemory(call, "await acquire({ timeout: 0 })");
  }

  acquireSync(call: string): AcquireResult {
    return requireMemory(call, `await ${call.replace("Sync", "")}`);
  }

  async acquire(call: string, options: WaitOptions): Promise<AcquireResult> {
    const undo = (taken: unknown): void => {
      if (taken !== WOULD_BLOCK) this.#remote.tell("release", ["release()"]);
    };
    const isTry = options.timeout === 0;
    const answer = isTry
      ? await this.#remote.ask(call, "try", [call], { signal: options.signal }, undo)
      : await this.#remote.ask(call, "acquire", [call], options, undo);
    if (answer === TIMED_OUT || answer === WOULD_BLOCK) return WOULD_BLOCK;
    this.isOurs = true;
    return answer as AcquireResult;
  }

  async release(call: string): Promise<void> {
    this.isOurs = false;
    await this.#remote.ask(call, "release", [call]);
  }

  decline(): void {
    this.isOurs = false;
    this.#remote.tell("decline");
  }

  async locked(call: string): Promise<boolean> {
    return (await this.#remote.ask(call, "locked")) as boolean;
  }
}

/** How locks are made. */
export function lockKind(name: string): Kind<LockLink> {
  return {
    name,
    size: 4096,
    open: (memory) => new MemoryLock(memory),
    reach: (remote) => new RemoteLock(remote),
  };
}
