/**
 * A lock in shared memory that survives its owner's death.
 *
 * ```text
 * const lock = new RobustLock(memory, 0, 64); // 64 threads can wait in their event loop; 0 if all who wait block
 * const died = (await lock.acquire("acquire()", {})) === INHERITED; // the last owner was killed: repair what it guarded
 * lock.release();
 * ```
 *
 * Its owner is a thread of a process. Taken and given back uncontended it costs two atomic operations, about 20 ns. An owner
 * that has died is found by whoever waits, within some milliseconds at first and 20 ms later; {@link RobustMutex.tryAcquire}
 * asks as well, every 5 ms at most. It is not re-entrant: a thread that has it waits like any other.
 *
 * ```text
 *   word 0 owner     0: free.  life: held.  life | WAIT: held, and somebody waits.
 *                    WAIT: free, but kept for `priority`
 *        1 started   when the owner started; 0 for the moment in which that is not written yet
 *        2 priority  the life of one who has waited long: it comes next, whoever else is faster
 *        8 the list of those who wait, see `wait-list.ts`
 * ```
 *
 * A free lock goes to whoever comes first, which is what makes it fast. Who has waited for 5 ms asks for priority: then it is
 * kept for that one when it is given back, so nobody starves.
 */

import type { WaitOptions } from "../runtime/wait-options.ts";
import type { SharedSegment } from "./shared-memory-segment.ts";
import { currentThreadId, hasExited, startTimeOf } from "./thread-id.ts";
import { WaitQueue } from "./wait-queue.ts";

/** What came of trying. */
export type AcquireResult = 0 | 1 | 2;
/** The lock is another's. */
export const WOULD_BLOCK = 0;
/** The lock is ours. */
export const ACQUIRED = 1;
/** The lock is ours, and was not given back: its last owner has died. */
export const OWNER_DIED = 2;

const OWNER = 0;
const OWNER_START_TIME = 1;
const PRIORITY = 2;
const HEADER_WORDS = 8;
const WAITERS_FLAG = 1 << 30;
/** Most locks are held for less time than falling asleep takes: so often one looks first, with so many steps of doing nothing before each. */
const SPIN_LIMIT = 20;
const PAUSE_ITERATIONS = 2000;
const PRIORITY_AFTER_MS = 5;
const LIVENESS_CHECK_INTERVAL_MS = 5;
/** So often an owner must be found to have another start before it counts as another thread. */
const MISMATCHES_UNTIL_DEAD = 3;

/** A lock in shared memory; see the head of this file. */
export class RobustMutex {
  readonly #words: Int32Array;
  readonly #wordOffset: number;
  readonly #waitQueue: WaitQueue;
  #livenessCheckedAt = 0;
  /** An owner whose start differs from what is written, and how often in a row it was seen so. */
  #mismatchedOwner = 0;
  #mismatchCount = 0;

  /**
   * Makes the lock; memory that is all zeros is a free one.
   *
   * @param at where it begins, in words of four bytes
   * @param slots how many threads can wait for it in their event loop, and be woken; 0 if all waits block
   */
  constructor(memory: SharedSegment, wordOffset: number, slotCount: number) {
    this.#words = new Int32Array(memory.buffer);
    this.#wordOffset = wordOffset;
    this.#waitQueue = new WaitQueue(memory, wordOffset + HEADER_WORDS, slotCount);
  }

  /** How many words it takes. */
  static wordCount(slotCount: number): number {
    return HEADER_WORDS + WaitQueue.wordCount(slotCount);
  }

  /** Whether this thread has it. */
  get isOurs(): boolean {
    return (Atomics.load(this.#words, this.#wordOffset + OWNER) & ~WAITERS_FLAG) === currentThreadId().id;
  }

  /** Whether somebody has it who may have died since. */
  get isHeld(): boolean {
    return (Atomics.load(this.#words, this.#wordOffset + OWNER) & ~WAITERS_FLAG) !== 0;
  }

  /** Takes the lock if nobody has it, nobody waits in this thread, and it is kept for nobody: the shortest way there is. */
  tryLockFast(): boolean {
    return !this.#waitQueue.isWaiting && this.#tryLockFast();
  }

  /** Takes the lock if it can be had at this moment. */
  tryAcquire(): AcquireResult {
    if (this.#waitQueue.isWaiting) return WOULD_BLOCK; // they came first
    if (this.#tryLockFast()) return ACQUIRED;
    const now = performance.now();
    const checkLiveness = now - this.#livenessCheckedAt > LIVENESS_CHECK_INTERVAL_MS;
    if (checkLiveness) this.#livenessCheckedAt = now;
    return this.#tryLock(checkLiveness, false, 0);
  }

  /**
   * Takes the lock, and blocks this thread until it can be had.
   *
   * @param timeout how long to wait, in milliseconds
   */
  acquireSync(timeout: number = Number.POSITIVE_INFINITY): AcquireResult {
    if (this.#tryLockFast() || this.#trySpin()) return ACQUIRED;
    const { condition, result } = this.#lockAttempts();
    const isLocked = this.#waitQueue.waitSync(condition, timeout);
    if (!isLocked) this.#cancelPriority();
    return isLocked ? result() : WOULD_BLOCK;
  }

  /**
   * Takes the lock, and waits in the event loop until it can be had. Within a thread, those who came first get it first.
   *
   * @param call the call as the user wrote it, for errors
   * @returns {@link REFUSED} if the time ran out
   * @throws as {@link WaitQueue.wait}
   */
  async acquire(call: string, options: WaitOptions): Promise<AcquireResult> {
    const { condition, result } = this.#lockAttempts();
    try {
      if (await this.#waitQueue.wait(condition, call, options)) return result();
    } catch (error) {
      this.#cancelPriority();
      throw error;
    }
    this.#cancelPriority();
    return WOULD_BLOCK;
  }

  /**
   * Gives the lock back; whoever calls this has it.
   *
   * @param isReserved whether {@link RobustMutex.tryLockFast} has to leave it alone: because somebody comes next, or there is something
   * to tell about it
   */
  release(isReserved: boolean = (this.#words[this.#wordOffset + PRIORITY] as number) !== 0): void {
    const words = this.#words;
    const wordOffset = this.#wordOffset;
    // Plain access is enough, and much faster: the exchange below keeps the order for all who read by Atomics.
    words[wordOffset + OWNER_START_TIME] = 0;
    const previous = Atomics.exchange(words, wordOffset + OWNER, isReserved ? WAITERS_FLAG : 0);
    if ((previous & WAITERS_FLAG) !== 0 || isReserved) this.#waitQueue.wake(isReserved ? Number.POSITIVE_INFINITY : 1);
  }

  /** Gives the lock back, whoever has it; false if nobody has. */
  releaseIfHeld(): boolean {
    // Plain access shows what this thread did, which is enough for who has it, and costs a third of a look by Atomics.
    if (((this.#words[this.#wordOffset + OWNER] as number) & ~WAITERS_FLAG) === 0 && !this.isHeld) return false;
    this.release();
    return true;
  }

  /** Runs with the lock, for which it blocks; for changes that leave nothing to repair when their maker dies among them. */
  withLock<T>(run: () => T): T {
    this.acquireSync();
    try {
      return run();
    } finally {
      this.release();
    }
  }

  #tryLockFast(): boolean {
    const words = this.#words;
    const { id, startTime } = currentThreadId();
    if (Atomics.compareExchange(words, this.#wordOffset + OWNER, 0, id) !== 0) return false;
    words[this.#wordOffset + OWNER_START_TIME] = startTime;
    return true;
  }

  #trySpin(): boolean {
    for (let i = 0; i < SPIN_LIMIT; i++) {
      // Without pauses, the memory would go to and fro between the processors, and hold up the owner.
      cpuRelax();
      if (Atomics.load(this.#words, this.#wordOffset + OWNER) === 0 && this.#tryLockFast()) return true;
    }
    return false;
  }

  /** What a wait does at each look; `result` tells how it ended. */
  #lockAttempts(): { condition: (checkLiveness: boolean) => boolean; result: () => AcquireResult } {
    let outcome: AcquireResult = WOULD_BLOCK;
    let startedAt = 0;
    return {
      condition: (checkLiveness) => {
        const now = performance.now();
        startedAt ||= now;
        outcome = this.#tryLock(checkLiveness, true, now - startedAt);
        return outcome !== WOULD_BLOCK;
      },
      result: () => outcome,
    };
  }

  /**
   * Tries to take the lock.
   *
   * @param isSlow whether to ask if the owner has died
   * @param waits whether the caller will wait if it gets nothing
   * @param waited for how long the caller has waited
   */
  #tryLock(checkLiveness: boolean, willWait: boolean, waitedMs: number): AcquireResult {
    const words = this.#words;
    const ownerIndex = this.#wordOffset + OWNER;
    const { id } = currentThreadId();
    while (true) {
      const value = Atomics.load(words, ownerIndex);
      const owner = value & ~WAITERS_FLAG;
      if (owner === 0) {
        if (value === WAITERS_FLAG && !this.#isNext(id, checkLiveness)) return WOULD_BLOCK;
        // Others may wait as well, and nobody keeps count of them.
        if (this.#takeOwnership(value, willWait ? id | WAITERS_FLAG : id)) return ACQUIRED;
      } else if (checkLiveness && owner !== id && this.#hasDied(owner)) {
        Atomics.store(words, this.#wordOffset + OWNER_START_TIME, 0);
        if (this.#takeOwnership(value, id | WAITERS_FLAG)) return OWNER_DIED;
      } else {
        if (!willWait) return WOULD_BLOCK;
        if (waitedMs > PRIORITY_AFTER_MS) Atomics.compareExchange(words, this.#wordOffset + PRIORITY, 0, id);
        // The owner must know that it has to wake somebody.
        if (
          (value & WAITERS_FLAG) !== 0 ||
          Atomics.compareExchange(words, ownerIndex, value, value | WAITERS_FLAG) === value
        )
          return WOULD_BLOCK;
      }
    }
  }

  /**
   * Whether the owner has died. The two words that tell who it is are read one after the other, so what does not fit together
   * can also be two owners that come and go: only what stays so is another thread with the same number.
   */
  #hasDied(owner: number): boolean {
    const startTime = startTimeOf(owner);
    if (startTime === undefined) return true;
    const recordedStartTime = Atomics.load(this.#words, this.#wordOffset + OWNER_START_TIME);
    const isMismatch = recordedStartTime !== 0 && recordedStartTime !== startTime;
    this.#mismatchCount = isMismatch ? (this.#mismatchedOwner === owner ? this.#mismatchCount + 1 : 1) : 0;
    this.#mismatchedOwner = owner;
    return this.#mismatchCount >= MISMATCHES_UNTIL_DEAD;
  }

  /** Puts this thread in the place of what was found, if that is still there. */
  #takeOwnership(expected: number, desired: number): boolean {
    const words = this.#words;
    if (Atomics.compareExchange(words, this.#wordOffset + OWNER, expected, desired) !== expected) return false;
    Atomics.store(words, this.#wordOffset + OWNER_START_TIME, currentThreadId().startTime);
    Atomics.compareExchange(words, this.#wordOffset + PRIORITY, currentThreadId().id, 0);
    return true;
  }

  /** Whether a lock that is kept for somebody is kept for this thread, or for nobody any more. */
  #isNext(id: number, checkLiveness: boolean): boolean {
    const words = this.#words;
    const priority = Atomics.load(words, this.#wordOffset + PRIORITY);
    if (priority === 0 || priority === id) return true;
    if (!checkLiveness || !hasExited(priority)) return false;
    return Atomics.compareExchange(words, this.#wordOffset + PRIORITY, priority, 0) === priority;
  }

  /** Who waits no longer needs no priority; if the lock is kept for it, it is anybody's. */
  #cancelPriority(): void {
    const words = this.#words;
    if (this.#waitQueue.isWaiting) return;
    if (Atomics.compareExchange(words, this.#wordOffset + PRIORITY, currentThreadId().id, 0) !== currentThreadId().id)
      return;
    if (Atomics.compareExchange(words, this.#wordOffset + OWNER, WAITERS_FLAG, 0) === WAITERS_FLAG)
      this.#waitQueue.wake(1);
  }
}

/** What the pauses come to, so that no compiler takes them for superfluous. */
let pauseSink = 0;

function cpuRelax(): void {
  let sum = pauseSink;
  for (let i = 0; i < PAUSE_ITERATIONS; i++) sum = (sum + i) | 0;
  pauseSink = sum;
}
