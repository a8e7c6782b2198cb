/**
 * A wait queue in shared memory, in which threads of all processes wait for a condition.
 *
 * A *condition* is a function that checks whether the awaited change has happened, and claims it:
 * it takes the free lock or the item for this thread. It is called at once, when the thread is
 * woken by {@link WaitQueue.wake}, and by a timer: after 2 ms, then in growing intervals up to 20
 * ms. Checks by timer also look for dead processes. A wake-up is lost if its receiver is killed
 * before it claims the change. The next check by timer of another thread then finds that change.
 *
 * ```text
 * const queue = new WaitQueue(segment, 16, 64);
 * await queue.wait(() => Atomics.load(words, 0) !== 0, "wait()", { timeout: 1000 }); // in one process
 * Atomics.store(words, 0, 1); queue.wake(1);                  // in another: first the change, then the wake-up
 * ```
 *
 * `wait()` sleeps in the event loop and is woken by a doorbell, see `doorbell.ts`. `waitSync()`
 * blocks its thread on a futex.
 *
 * A thread has one slot for all of its waits. If all slots are taken, the thread is not woken and
 * only checks by timer.
 */

import { ProcessError } from "../errors.ts";
import { host } from "../host/mod.ts";
import { registerAtFork } from "../runtime/at-fork.ts";
import { checkTimeoutAndSignal, MAX_TIMER_MS, type WaitOptions } from "../runtime/wait-options.ts";
import { onRing, ownDoorbell, ringDoorbell } from "./doorbell.ts";
import type { SharedSegment } from "./shared-memory-segment.ts";
import { currentThreadId, hasExited } from "./thread-id.ts";
import * as layout from "./wait-queue-layout.ts";

const FIRST_RECHECK_MS = 2;
const MAX_RECHECK_MS = 20;
/** A thread without a slot or a doorbell cannot be woken, so it checks more often. */
const MAX_RECHECK_WITHOUT_DOORBELL_MS = 5;
/** No slot is taken. */
const NO_SLOT = -1;
/** Every taken slot has been rung. */
const ALL_RUNG = -2;
/** The largest count that a futex takes. It wakes all threads. */
const ALL_THREADS = 0x7fff_ffff;

/** Options of a wait in the event loop. */
export interface WaitQueueOptions extends WaitOptions {
  /**
   * Whether the wait keeps the program alive. A wait on behalf of another process does not need to.
   * @default true
   */
  readonly keepAlive?: boolean;
}

/**
 * Checks whether the awaited change has happened, and claims it.
 *
 * @param checkLiveness whether to look for dead processes too, which takes some microseconds
 */
export type Condition = (checkLiveness: boolean) => boolean;

interface Waiter {
  readonly condition: Condition;
  readonly keepAlive: boolean;
  settle(isDone: boolean, error?: unknown): void;
}

/** A forked child has copies of the queue, but not the waits of its parent. */
const AT_FORK_HOOKS = {
  prepare(): void {},
  inChild(queue: WaitQueue): void {
    queue.resetAfterFork();
  },
};

/** A wait queue; see the header of this file. */
export class WaitQueue {
  readonly #memory: SharedSegment;
  readonly #words: Int32Array;
  readonly #wordOffset: number;
  readonly #slotCount: number;
  readonly #maxRecheckMs: number;
  readonly #waiters = new Set<Waiter>();
  /** The index of the first word of this thread's slot, or {@link NO_SLOT}. */
  #slot: number = NO_SLOT;
  #recheckMs = FIRST_RECHECK_MS;
  #cancelRecheck: (() => void) | undefined;
  #nextRecheckAt = 0;
  #isKeptAlive = false;
  #cancelListening: (() => void) | undefined;
  #isRecheckQueued = false;

  /**
   * Attaches to the queue in a segment. Memory that is all zeros is an empty queue.
   *
   * @param wordOffset where the queue begins, in words of four bytes
   * @param slotCount how many threads can be woken in their event loop; 0 if threads only block
   * @param maxRecheckMs the longest interval between two checks by timer
   */
  constructor(memory: SharedSegment, wordOffset: number, slotCount: number, maxRecheckMs: number = MAX_RECHECK_MS) {
    this.#memory = memory;
    this.#words = new Int32Array(memory.buffer);
    this.#wordOffset = wordOffset;
    this.#slotCount = slotCount;
    this.#maxRecheckMs = maxRecheckMs;
    registerAtFork(this, AT_FORK_HOOKS);
    memory.onClose(() => this.#fail());
  }

  /** Returns how many words a queue takes. */
  static wordCount(slotCount: number): number {
    return layout.HEADER_WORDS + slotCount * layout.SLOT_WORDS;
  }

  /** Whether this thread waits in its event loop. */
  get isWaiting(): boolean {
    return this.#waiters.size > 0;
  }

  /**
   * Waits in the event loop until the condition is true. The conditions of one thread are checked
   * in the order of their waits.
   *
   * @param call the call as the user writes it, for errors
   * @returns false if the timeout expired
   * @throws {RangeError} if the timeout is not a duration
   * @throws the signal's reason
   */
  async wait(condition: Condition, call: string, options: WaitQueueOptions): Promise<boolean> {
    const { timeout, signal, keepAlive = true } = options;
    checkTimeoutAndSignal(call, options);
    signal?.throwIfAborted();
    if (this.#waiters.size === 0 && condition(false)) return true;
    if (timeout === 0) return false;
    return new Promise<boolean>((resolve, reject) => {
      const isLimited = timeout !== undefined && timeout <= MAX_TIMER_MS;
      const cancel = isLimited
        ? host.timer(() => this.#recheck(waiter, false) || waiter.settle(false), timeout, keepAlive)
        : undefined;
      const abort = (): void => waiter.settle(false, { reason: signal?.reason });
      const waiter: Waiter = {
        condition,
        keepAlive,
        settle: (isDone, aborted) => {
          cancel?.();
          signal?.removeEventListener("abort", abort);
          this.#removeWaiter(waiter, isDone);
          if (aborted === undefined) resolve(isDone);
          else reject((aborted as { reason: unknown }).reason);
        },
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#addWaiter(waiter);
    });
  }

  /**
   * Blocks this thread until the condition is true.
   *
   * @returns false if the timeout expired
   */
  waitSync(condition: Condition, timeout: number = Number.POSITIVE_INFINITY): boolean {
    const words = this.#words;
    const deadline = performance.now() + timeout;
    let recheckMs = FIRST_RECHECK_MS / 2;
    for (let checkLiveness = false; ; checkLiveness = true) {
      const signal = Atomics.load(words, this.#wordOffset + layout.SIGNAL);
      // Announcing before checking makes sure that no change is missed: a thread that makes its
      // change after the check sees the announcement and wakes this thread.
      Atomics.add(words, this.#wordOffset + layout.ANNOUNCED_SYNC, 1);
      if (condition(checkLiveness)) return true;
      const remainingMs = deadline - performance.now();
      if (remainingMs <= 0) return false;
      this.#memory.futexWait((this.#wordOffset + layout.SIGNAL) * 4, signal, Math.min(recheckMs, remainingMs));
      recheckMs = Math.min(recheckMs * 2, this.#maxRecheckMs);
    }
  }

  /**
   * Wakes up to `count` blocked threads, and up to `count` threads that wait in their event loop. The
   * latter are woken in the order of their turns. Call it after the change that the threads wait for.
   */
  wake(count: number): void {
    this.#wakeSleepers(count);
    this.#ringSlots(count);
  }

  #wakeSleepers(count: number): void {
    const words = this.#words;
    const wordOffset = this.#wordOffset;
    const announced = Atomics.load(words, wordOffset + layout.ANNOUNCED_SYNC);
    const served = Atomics.load(words, wordOffset + layout.SERVED_SYNC);
    if (announced === served) return;
    Atomics.add(words, wordOffset + layout.SIGNAL, 1);
    const maxCount = Math.min(count, ALL_THREADS);
    if (this.#memory.futexWake((wordOffset + layout.SIGNAL) * 4, maxCount) < maxCount)
      Atomics.compareExchange(words, wordOffset + layout.SERVED_SYNC, served, announced);
  }

  #ringSlots(count: number): void {
    const words = this.#words;
    const announced = Atomics.load(words, this.#wordOffset + layout.ANNOUNCED_SLOTS);
    const served = Atomics.load(words, this.#wordOffset + layout.SERVED_SLOTS);
    if (announced === served) return;
    let isEmpty = false;
    for (let remaining = count; remaining > 0; remaining--) {
      const slot = this.#oldestSlot();
      if (slot < 0) {
        isEmpty = slot === NO_SLOT;
        break;
      }
      if (!this.#ringSlot(slot)) remaining++; // its thread has exited
    }
    if (isEmpty) Atomics.compareExchange(words, this.#wordOffset + layout.SERVED_SLOTS, served, announced);
  }

  /**
   * Returns the slot with the lowest turn that was not rung yet; else {@link NO_SLOT} or
   * {@link ALL_RUNG}.
   */
  #oldestSlot(): number {
    const words = this.#words;
    let oldest = NO_SLOT;
    let oldestTurn = 0;
    for (let i = 0; i < this.#slotCount; i++) {
      const slot = this.#slotOffset(i);
      if (Atomics.load(words, slot) === 0) continue;
      const turn = Atomics.load(words, slot + layout.SLOT_TURN);
      if (turn === 0 || Atomics.load(words, slot + layout.SLOT_RUNG) !== 0) {
        if (oldest === NO_SLOT) oldest = ALL_RUNG;
      } else if (oldest < 0 || ((turn - oldestTurn) | 0) < 0) {
        oldest = slot;
        oldestTurn = turn;
      }
    }
    return oldest;
  }

  /** Rings the thread of a slot. Returns false if that thread has exited; the slot is free then. */
  #ringSlot(slot: number): boolean {
    const words = this.#words;
    const threadId = Atomics.load(words, slot);
    const turn = Atomics.load(words, slot + layout.SLOT_TURN);
    if (Atomics.compareExchange(words, slot + layout.SLOT_RUNG, 0, 1) !== 0 || threadId === 0) return true;
    if (threadId === currentThreadId().id) {
      this.recheckSoon();
      return true;
    }
    const doorbell = {
      fd: Atomics.load(words, slot + layout.SLOT_FD),
      inode: Atomics.load(words, slot + layout.SLOT_INODE),
    };
    if (ringDoorbell(threadId, doorbell)) return true;
    this.#freeSlot(slot, threadId, turn);
    return false;
  }

  /** Frees the slot of a thread that has exited, unless another thread has taken it. */
  #freeSlot(slot: number, threadId: number, turn: number): void {
    Atomics.compareExchange(this.#words, slot + layout.SLOT_TURN, turn, 0);
    Atomics.compareExchange(this.#words, slot, threadId, 0);
  }

  #addWaiter(waiter: Waiter): void {
    this.#waiters.add(waiter);
    if (this.#waiters.size === 1) this.#takeSlot();
    else if (this.#slot < 0) this.#takeSlot();
    this.#recheckMs = FIRST_RECHECK_MS;
    const remainingMs =
      this.#cancelRecheck === undefined ? Number.POSITIVE_INFINITY : this.#nextRecheckAt - performance.now();
    if (remainingMs > FIRST_RECHECK_MS || (waiter.keepAlive && !this.#isKeptAlive))
      this.#scheduleRecheck(Math.min(remainingMs, FIRST_RECHECK_MS));
    // A change that was made before the slot was taken did not ring this thread.
    this.recheckSoon();
  }

  #removeWaiter(waiter: Waiter, isDone: boolean): void {
    this.#waiters.delete(waiter);
    if (this.#memory.closed) return;
    const wasRung = this.#slot >= 0 && Atomics.load(this.#words, this.#slot + layout.SLOT_RUNG) !== 0;
    if (this.#waiters.size === 0) this.#releaseSlot();
    else if (waiter.keepAlive && ![...this.#waiters].some(({ keepAlive }) => keepAlive))
      this.#scheduleRecheck(this.#recheckMs);
    // This thread was rung, but the wait ended without claiming the change. Another thread is
    // woken.
    if (!isDone && wasRung) this.wake(1);
  }

  #takeSlot(): void {
    const words = this.#words;
    const { id } = currentThreadId();
    const doorbell = ownDoorbell();
    if (doorbell.fd < 0) return; // a slot without a doorbell would swallow a wake-up for another thread
    this.#cancelListening ??= onRing(() => this.#recheckAll(false));
    for (const freesDeadFirst of [false, true]) {
      for (let i = 0; i < this.#slotCount; i++) {
        const slot = this.#slotOffset(i);
        if (freesDeadFirst) this.#freeSlotIfExited(slot);
        if (Atomics.load(words, slot) !== 0 || Atomics.compareExchange(words, slot, 0, id) !== 0) continue;
        Atomics.store(words, slot + layout.SLOT_FD, doorbell.fd);
        Atomics.store(words, slot + layout.SLOT_INODE, doorbell.inode);
        Atomics.store(words, slot + layout.SLOT_RUNG, 0);
        this.#slot = slot;
        return this.#requeue();
      }
    }
  }

  #freeSlotIfExited(slot: number): void {
    const threadId = Atomics.load(this.#words, slot);
    const turn = Atomics.load(this.#words, slot + layout.SLOT_TURN);
    if (threadId !== 0 && hasExited(threadId)) this.#freeSlot(slot, threadId, turn);
  }

  /** Moves this thread behind all threads that wait now. */
  #requeue(): void {
    const turn = (Atomics.add(this.#words, this.#wordOffset + layout.TURN, 1) + 1) | 0 || 1;
    Atomics.store(this.#words, this.#slot + layout.SLOT_TURN, turn);
    Atomics.add(this.#words, this.#wordOffset + layout.ANNOUNCED_SLOTS, 1);
  }

  #releaseSlot(): void {
    this.#cancelRecheck?.();
    this.#cancelRecheck = undefined;
    this.#cancelListening?.();
    this.#cancelListening = undefined;
    if (this.#slot < 0) return;
    Atomics.store(this.#words, this.#slot + layout.SLOT_TURN, 0);
    Atomics.store(this.#words, this.#slot, 0);
    this.#slot = NO_SLOT;
  }

  #fail(): void {
    const reason = new ProcessError("The wait ended because this process closed the object", { code: "ERR_CLOSED" });
    for (const waiter of [...this.#waiters]) waiter.settle(false, { reason });
  }

  /**
   * Checks the conditions of this thread again in a microtask, after a change that this process
   * made.
   */
  recheckSoon(): void {
    if (this.#isRecheckQueued) return;
    this.#isRecheckQueued = true;
    queueMicrotask(() => this.#recheckAll(false));
  }

  #recheckAll(checkLiveness: boolean): void {
    this.#isRecheckQueued = false;
    if (this.#waiters.size === 0) return;
    if (this.#slot >= 0) Atomics.store(this.#words, this.#slot + layout.SLOT_RUNG, 0);
    let livenessCheckPending = checkLiveness;
    let anyDone = false;
    for (const waiter of [...this.#waiters]) {
      if (this.#recheck(waiter, livenessCheckPending)) anyDone = true;
      livenessCheckPending = false;
    }
    if (anyDone && this.#slot >= 0) this.#requeue();
  }

  /** Checks one condition. Returns whether the wait is over. */
  #recheck(waiter: Waiter, checkLiveness: boolean): boolean {
    try {
      if (!waiter.condition(checkLiveness)) return false;
      waiter.settle(true);
    } catch (reason) {
      waiter.settle(false, { reason });
    }
    return true;
  }

  /** Schedules the next check by timer. Wake-ups do not postpone it. */
  #scheduleRecheck(delayMs: number): void {
    this.#cancelRecheck?.();
    this.#nextRecheckAt = performance.now() + delayMs;
    this.#isKeptAlive = [...this.#waiters].some(({ keepAlive }) => keepAlive);
    this.#cancelRecheck = host.timer(() => this.#recheckWithLiveness(), delayMs, this.#isKeptAlive);
  }

  #recheckWithLiveness(): void {
    this.#cancelRecheck = undefined;
    this.#recheckAll(true);
    this.#recheckMs = Math.min(
      this.#recheckMs * 2,
      this.#slot < 0 ? MAX_RECHECK_WITHOUT_DOORBELL_MS : this.#maxRecheckMs,
    );
    if (this.#waiters.size > 0) this.#scheduleRecheck(this.#recheckMs);
  }

  #slotOffset(index: number): number {
    return this.#wordOffset + layout.HEADER_WORDS + index * layout.SLOT_WORDS;
  }

  /** Resets the queue in a forked child, because the waits and the slot belong to the parent. */
  resetAfterFork(): void {
    this.#waiters.clear();
    this.#slot = NO_SLOT;
    this.#cancelRecheck = undefined;
    this.#cancelListening = undefined;
    this.#isRecheckQueued = false;
  }
}
