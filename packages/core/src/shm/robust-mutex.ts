/**
 * A robust mutex in shared memory: if its owner dies, the next owner gets the result `OWNER_DIED`.
 *
 * ```text
 * const mutex = new RobustMutex(segment, 0, 64); // 64: threads that can wait in their event loop
 * const died = (await mutex.acquire("acquire()", {})) === OWNER_DIED; // repair what the mutex protects
 * mutex.release();
 * ```
 *
 * The owner is a thread of a process. An uncontended acquire and release take two atomic
 * operations, about 20 ns. A waiting thread checks for a dead owner after 1 or 2 ms at first, and
 * later every 20 ms. {@link RobustMutex.tryAcquire} checks for it too, at most every 5 ms. The
 * mutex is not re-entrant: its owner waits like any other thread.
 *
 * ```text
 *   word 0 owner       0: free.  thread id: locked.  thread id | WAITERS_FLAG: locked, and a thread waits.
 *                      WAITERS_FLAG: free, but reserved for the thread in `priority` (0: any thread on the slow path)
 *        1 start time  when the owner started; 0 until it is written
 *        2 priority    the id of a thread that has waited long: it gets the mutex next
 *        8 the wait queue, see `wait-queue.ts`
 * ```
 *
 * The mutex is unfair, which makes it fast: the first thread that tries gets a free mutex. A thread
 * that has waited for 5 ms requests priority. The mutex is then reserved for it at the next
 * release, so no thread starves.
 */

import type { WaitOptions } from "../runtime/wait-options.ts";
import type { SharedSegment } from "./shared-memory-segment.ts";
import { currentThreadId, hasExited, startTimeOf } from "./thread-id.ts";
import { WaitQueue } from "./wait-queue.ts";

/** The result of an attempt to lock the mutex. */
export type AcquireResult = 0 | 1 | 2;
/** Another thread has the mutex. */
export const WOULD_BLOCK = 0;
/** This thread has the mutex. */
export const ACQUIRED = 1;
/** This thread has the mutex, and the previous owner died without releasing it. */
export const OWNER_DIED = 2;

const OWNER = 0;
const OWNER_START_TIME = 1;
const PRIORITY = 2;
const HEADER_WORDS = 8;
const WAITERS_FLAG = 1 << 30;
/**
 * Attempts to lock the mutex before a thread sleeps. Most owners release it sooner than a thread
 * can fall asleep and be woken.
 */
const MAX_SPIN_ATTEMPTS = 20;
/** Iterations of the pause loop between two attempts. */
const PAUSE_ITERATIONS = 2000;
/** How long a thread waits before it requests priority. */
const PRIORITY_AFTER_MS = 5;
/** The least time between two checks of `tryAcquire()` whether the owner is alive. */
const LIVENESS_CHECK_INTERVAL_MS = 5;
/** Consecutive checks that find another start time before the owner counts as dead. */
const MISMATCHES_UNTIL_DEAD = 3;

/** A robust mutex; see the header of this file. */
export class RobustMutex {
  readonly #words: Int32Array;
  readonly #wordOffset: number;
  readonly #waitQueue: WaitQueue;
  #livenessCheckedAt = 0;
  /**
   * The owner at the last check, and how many checks in a row found another start time for it.
   */
  #mismatchedOwner = 0;
  #mismatchCount = 0;

  /**
   * Attaches to the mutex in a segment. Memory that is all zeros is a free mutex.
   *
   * @param wordOffset where the mutex begins, in words of four bytes
   * @param slotCount how many threads can be woken in their event loop; 0 if threads only block
   */
  constructor(memory: SharedSegment, wordOffset: number, slotCount: number) {
    this.#words = new Int32Array(memory.buffer);
    this.#wordOffset = wordOffset;
    this.#waitQueue = new WaitQueue(memory, wordOffset + HEADER_WORDS, slotCount);
  }

  /** Returns how many words a mutex takes. */
  static wordCount(slotCount: number): number {
    return HEADER_WORDS + WaitQueue.wordCount(slotCount);
  }

  /** Whether this thread has the mutex. */
  get isOurs(): boolean {
    return (Atomics.load(this.#words, this.#wordOffset + OWNER) & ~WAITERS_FLAG) === currentThreadId().id;
  }

  /** Whether a thread has the mutex. That thread may have died. */
  get isHeld(): boolean {
    return (Atomics.load(this.#words, this.#wordOffset + OWNER) & ~WAITERS_FLAG) !== 0;
  }

  /**
   * Locks the mutex if it is free and not reserved, and this thread has no pending wait for it.
   * Returns whether it did.
   */
  tryLockFast(): boolean {
    return !this.#waitQueue.isWaiting && this.#tryLockFast();
  }

  /** Locks the mutex if that is possible without waiting. */
  tryAcquire(): AcquireResult {
    if (this.#waitQueue.isWaiting) return WOULD_BLOCK; // pending waits of this thread come first
    if (this.#tryLockFast()) return ACQUIRED;
    const now = performance.now();
    const checkLiveness = now - this.#livenessCheckedAt > LIVENESS_CHECK_INTERVAL_MS;
    if (checkLiveness) this.#livenessCheckedAt = now;
    return this.#tryLock(checkLiveness, false, 0);
  }

  /**
   * Locks the mutex, and blocks this thread until that is possible.
   *
   * @param timeout how long to wait, in milliseconds
   * @returns {@link WOULD_BLOCK} if the timeout expired
   */
  acquireSync(timeout: number = Number.POSITIVE_INFINITY): AcquireResult {
    if (this.#tryLockFast() || this.#trySpin()) return ACQUIRED;
    const { condition, result } = this.#lockAttempts();
    const isLocked = this.#waitQueue.waitSync(condition, timeout);
    if (!isLocked) this.#cancelPriority();
    return isLocked ? result() : WOULD_BLOCK;
  }

  /**
   * Locks the mutex, and waits in the event loop until that is possible. Waits of the same thread
   * get the mutex in the order of their calls.
   *
   * @param call the call as the user writes it, for errors
   * @returns {@link WOULD_BLOCK} if the timeout expired
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
   * Unlocks the mutex. The caller must have it.
   *
   * @param isReserved whether to keep other threads from locking it on the fast path. It is needed
   * if a thread has priority, or if the next owner must first read state that the caller left.
   */
  release(isReserved: boolean = (this.#words[this.#wordOffset + PRIORITY] as number) !== 0): void {
    const words = this.#words;
    const wordOffset = this.#wordOffset;
    // A plain write is much faster than an atomic one. The atomic exchange below makes it visible
    // before the release.
    words[wordOffset + OWNER_START_TIME] = 0;
    const previous = Atomics.exchange(words, wordOffset + OWNER, isReserved ? WAITERS_FLAG : 0);
    if ((previous & WAITERS_FLAG) !== 0 || isReserved) this.#waitQueue.wake(isReserved ? Number.POSITIVE_INFINITY : 1);
  }

  /** Unlocks the mutex, whichever thread owns it. Returns false if it is not locked. */
  releaseIfHeld(): boolean {
    // A plain read takes a third of the time of an atomic load. The owner sees its own id with it.
    // Any other thread that reads 0 repeats the check with an atomic load.
    if (((this.#words[this.#wordOffset + OWNER] as number) & ~WAITERS_FLAG) === 0 && !this.isHeld) return false;
    this.release();
    return true;
  }

  /**
   * Locks the mutex, calls `run`, and unlocks it; blocks until that is possible. It ignores whether
   * the previous owner died, so `run` must leave consistent data wherever the thread dies.
   */
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
    for (let i = 0; i < MAX_SPIN_ATTEMPTS; i++) {
      // Without pauses, the cache line would bounce between the processors and slow down the owner.
      cpuRelax();
      if (Atomics.load(this.#words, this.#wordOffset + OWNER) === 0 && this.#tryLockFast()) return true;
    }
    return false;
  }

  /**
   * Returns a condition for a wait, which tries to lock the mutex, and the result of its last try.
   */
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
   * Tries to lock the mutex.
   *
   * @param checkLiveness whether to ask the system if the owner is alive
   * @param willWait whether the caller waits if the mutex is locked
   * @param waitedMs how long the caller has waited
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
        // Other threads may wait as well. They are not counted, so the flag stays set.
        if (this.#takeOwnership(value, willWait ? id | WAITERS_FLAG : id)) return ACQUIRED;
      } else if (checkLiveness && owner !== id && this.#hasDied(owner)) {
        Atomics.store(words, this.#wordOffset + OWNER_START_TIME, 0);
        if (this.#takeOwnership(value, id | WAITERS_FLAG)) return OWNER_DIED;
      } else {
        if (!willWait) return WOULD_BLOCK;
        if (waitedMs > PRIORITY_AFTER_MS) Atomics.compareExchange(words, this.#wordOffset + PRIORITY, 0, id);
        // The flag makes the owner wake a thread when it releases the mutex.
        if (
          (value & WAITERS_FLAG) !== 0 ||
          Atomics.compareExchange(words, ownerIndex, value, value | WAITERS_FLAG) === value
        )
          return WOULD_BLOCK;
      }
    }
  }

  /**
   * Returns whether the owner has died.
   *
   * Its id and its start time are not read in one atomic step. A mismatch may therefore come from
   * two owners in quick succession. Only repeated mismatches mean that a new thread has the owner's
   * TID.
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

  /** Makes this thread the owner, if the owner word still has the expected value. */
  #takeOwnership(expected: number, desired: number): boolean {
    const words = this.#words;
    if (Atomics.compareExchange(words, this.#wordOffset + OWNER, expected, desired) !== expected) return false;
    Atomics.store(words, this.#wordOffset + OWNER_START_TIME, currentThreadId().startTime);
    Atomics.compareExchange(words, this.#wordOffset + PRIORITY, currentThreadId().id, 0);
    return true;
  }

  /**
   * Returns whether this thread may take a reserved mutex. It may if the reservation is for this
   * thread, for any thread, or for a thread that has exited.
   */
  #isNext(id: number, checkLiveness: boolean): boolean {
    const words = this.#words;
    const priority = Atomics.load(words, this.#wordOffset + PRIORITY);
    if (priority === 0 || priority === id) return true;
    if (!checkLiveness || !hasExited(priority)) return false;
    return Atomics.compareExchange(words, this.#wordOffset + PRIORITY, priority, 0) === priority;
  }

  /**
   * Cancels the priority of this thread, unless it has more waits. If the mutex is reserved for it,
   * the mutex becomes free.
   */
  #cancelPriority(): void {
    const words = this.#words;
    if (this.#waitQueue.isWaiting) return;
    if (Atomics.compareExchange(words, this.#wordOffset + PRIORITY, currentThreadId().id, 0) !== currentThreadId().id)
      return;
    if (Atomics.compareExchange(words, this.#wordOffset + OWNER, WAITERS_FLAG, 0) === WAITERS_FLAG)
      this.#waitQueue.wake(1);
  }
}

/** The result of the pause loops. Without it, the compiler would remove them. */
let pauseSink = 0;

function cpuRelax(): void {
  let sum = pauseSink;
  for (let i = 0; i < PAUSE_ITERATIONS; i++) sum = (sum + i) | 0;
  pauseSink = sum;
}
