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
 * that has died is found by whoever waits, within some milliseconds at first and 20 ms later; {@link RobustLock.tryAcquire}
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
import type { Memory } from "./shared-memory-segment.ts";
import { isGone, ownLife, startOf } from "./thread-id.ts";
import { WaitList } from "./wait-queue.ts";

/** What came of trying. */
export type Acquired = 0 | 1 | 2;
/** The lock is another's. */
export const REFUSED = 0;
/** The lock is ours. */
export const ACQUIRED = 1;
/** The lock is ours, and was not given back: its last owner has died. */
export const INHERITED = 2;

const OWNER = 0;
const STARTED = 1;
const PRIORITY = 2;
const HEADER = 8;
const WAIT = 1 << 30;
/** Most locks are held for less time than falling asleep takes: so often one looks first, with so many steps of doing nothing before each. */
const LOOKS = 20;
const PAUSE = 2000;
const PATIENCE = 5;
/** So often an owner must be found to have another start before it counts as another thread. */
const CERTAIN = 3;

/** A lock in shared memory; see the head of this file. */
export class RobustLock {
  readonly #words: Int32Array;
  readonly #at: number;
  readonly #list: WaitList;
  #lastAsked = 0;
  /** An owner whose start differs from what is written, and how often in a row it was seen so. */
  #suspect = 0;
  #suspicion = 0;

  /**
   * Makes the lock; memory that is all zeros is a free one.
   *
   * @param at where it begins, in words of four bytes
   * @param slots how many threads can wait for it in their event loop, and be woken; 0 if all waits block
   */
  constructor(memory: Memory, at: number, slots: number) {
    this.#words = new Int32Array(memory.buffer);
    this.#at = at;
    this.#list = new WaitList(memory, at + HEADER, slots);
  }

  /** How many words it takes. */
  static words(slots: number): number {
    return HEADER + WaitList.words(slots);
  }

  /** Whether this thread has it. */
  get isOurs(): boolean {
    return (Atomics.load(this.#words, this.#at + OWNER) & ~WAIT) === ownLife().id;
  }

  /** Whether somebody has it who may have died since. */
  get isHeld(): boolean {
    return (Atomics.load(this.#words, this.#at + OWNER) & ~WAIT) !== 0;
  }

  /** Takes the lock if nobody has it, nobody waits in this thread, and it is kept for nobody: the shortest way there is. */
  takeFree(): boolean {
    return !this.#list.isWaiting && this.#takeFree();
  }

  /** Takes the lock if it can be had at this moment. */
  tryAcquire(): Acquired {
    if (this.#list.isWaiting) return REFUSED; // they came first
    if (this.#takeFree()) return ACQUIRED;
    const now = performance.now();
    const isSlow = now - this.#lastAsked > PATIENCE;
    if (isSlow) this.#lastAsked = now;
    return this.#take(isSlow, false, 0);
  }

  /**
   * Takes the lock, and blocks this thread until it can be had.
   *
   * @param timeout how long to wait, in milliseconds
   */
  acquireSync(timeout: number = Number.POSITIVE_INFINITY): Acquired {
    if (this.#takeFree() || this.#takeSoon()) return ACQUIRED;
    const { check, result } = this.#attempts();
    const isOurs = this.#list.waitSync(check, timeout);
    if (!isOurs) this.#giveUp();
    return isOurs ? result() : REFUSED;
  }

  /**
   * Takes the lock, and waits in the event loop until it can be had. Within a thread, those who came first get it first.
   *
   * @param call the call as the user wrote it, for errors
   * @returns {@link REFUSED} if the time ran out
   * @throws as {@link WaitList.wait}
   */
  async acquire(call: string, options: WaitOptions): Promise<Acquired> {
    const { check, result } = this.#attempts();
    try {
      if (await this.#list.wait(check, call, options)) return result();
    } catch (error) {
      this.#giveUp();
      throw error;
    }
    this.#giveUp();
    return REFUSED;
  }

  /**
   * Gives the lock back; whoever calls this has it.
   *
   * @param isReserved whether {@link RobustLock.takeFree} has to leave it alone: because somebody comes next, or there is something
   * to tell about it
   */
  release(isReserved: boolean = (this.#words[this.#at + PRIORITY] as number) !== 0): void {
    const words = this.#words;
    const at = this.#at;
    // Plain access is enough, and much faster: the exchange below keeps the order for all who read by Atomics.
    words[at + STARTED] = 0;
    const before = Atomics.exchange(words, at + OWNER, isReserved ? WAIT : 0);
    if ((before & WAIT) !== 0 || isReserved) this.#list.wake(isReserved ? Number.POSITIVE_INFINITY : 1);
  }

  /** Gives the lock back, whoever has it; false if nobody has. */
  releaseIfHeld(): boolean {
    // Plain access shows what this thread did, which is enough for who has it, and costs a third of a look by Atomics.
    if (((this.#words[this.#at + OWNER] as number) & ~WAIT) === 0 && !this.isHeld) return false;
    this.release();
    return true;
  }

  /** Runs with the lock, for which it blocks; for changes that leave nothing to repair when their maker dies among them. */
  guarded<T>(run: () => T): T {
    this.acquireSync();
    try {
      return run();
    } finally {
      this.release();
    }
  }

  #takeFree(): boolean {
    const words = this.#words;
    const { id, started } = ownLife();
    if (Atomics.compareExchange(words, this.#at + OWNER, 0, id) !== 0) return false;
    words[this.#at + STARTED] = started;
    return true;
  }

  #takeSoon(): boolean {
    for (let i = 0; i < LOOKS; i++) {
      // Without pauses, the memory would go to and fro between the processors, and hold up the owner.
      pause();
      if (Atomics.load(this.#words, this.#at + OWNER) === 0 && this.#takeFree()) return true;
    }
    return false;
  }

  /** What a wait does at each look; `result` tells how it ended. */
  #attempts(): { check: (isSlow: boolean) => boolean; result: () => Acquired } {
    let outcome: Acquired = REFUSED;
    let began = 0;
    return {
      check: (isSlow) => {
        const now = performance.now();
        began ||= now;
        outcome = this.#take(isSlow, true, now - began);
        return outcome !== REFUSED;
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
  #take(isSlow: boolean, waits: boolean, waited: number): Acquired {
    const words = this.#words;
    const owner = this.#at + OWNER;
    const { id } = ownLife();
    while (true) {
      const value = Atomics.load(words, owner);
      const holder = value & ~WAIT;
      if (holder === 0) {
        if (value === WAIT && !this.#isNext(id, isSlow)) return REFUSED;
        // Others may wait as well, and nobody keeps count of them.
        if (this.#claim(value, waits ? id | WAIT : id)) return ACQUIRED;
      } else if (isSlow && holder !== id && this.#hasDied(holder)) {
        Atomics.store(words, this.#at + STARTED, 0);
        if (this.#claim(value, id | WAIT)) return INHERITED;
      } else {
        if (!waits) return REFUSED;
        if (waited > PATIENCE) Atomics.compareExchange(words, this.#at + PRIORITY, 0, id);
        // The owner must know that it has to wake somebody.
        if ((value & WAIT) !== 0 || Atomics.compareExchange(words, owner, value, value | WAIT) === value)
          return REFUSED;
      }
    }
  }

  /**
   * Whether the owner has died. The two words that tell who it is are read one after the other, so what does not fit together
   * can also be two owners that come and go: only what stays so is another thread with the same number.
   */
  #hasDied(holder: number): boolean {
    const found = startOf(holder);
    if (found === undefined) return true;
    const started = Atomics.load(this.#words, this.#at + STARTED);
    const isOther = started !== 0 && started !== found;
    this.#suspicion = isOther ? (this.#suspect === holder ? this.#suspicion + 1 : 1) : 0;
    this.#suspect = holder;
    return this.#suspicion >= CERTAIN;
  }

  /** Puts this thread in the place of what was found, if that is still there. */
  #claim(found: number, claim: number): boolean {
    const words = this.#words;
    if (Atomics.compareExchange(words, this.#at + OWNER, found, claim) !== found) return false;
    Atomics.store(words, this.#at + STARTED, ownLife().started);
    Atomics.compareExchange(words, this.#at + PRIORITY, ownLife().id, 0);
    return true;
  }

  /** Whether a lock that is kept for somebody is kept for this thread, or for nobody any more. */
  #isNext(id: number, isSlow: boolean): boolean {
    const words = this.#words;
    const priority = Atomics.load(words, this.#at + PRIORITY);
    if (priority === 0 || priority === id) return true;
    if (!isSlow || !isGone(priority)) return false;
    return Atomics.compareExchange(words, this.#at + PRIORITY, priority, 0) === priority;
  }

  /** Who waits no longer needs no priority; if the lock is kept for it, it is anybody's. */
  #giveUp(): void {
    const words = this.#words;
    if (this.#list.isWaiting) return;
    if (Atomics.compareExchange(words, this.#at + PRIORITY, ownLife().id, 0) !== ownLife().id) return;
    if (Atomics.compareExchange(words, this.#at + OWNER, WAIT, 0) === WAIT) this.#list.wake(1);
  }
}

/** What the pauses come to, so that no compiler takes them for superfluous. */
let steps = 0;

function pause(): void {
  let sum = steps;
  for (let i = 0; i < PAUSE; i++) sum = (sum + i) | 0;
  steps = sum;
}
