/**
 * Who waits for a change in shared memory, and how they are woken: the one way in which anything here waits.
 *
 * A wait is given a `check` that looks whether what it waits for has come, and takes it. It is called at once, whenever
 * somebody calls {@link WaitQueue.wake}, and from time to time besides: after 2 ms, then ever more seldom, at least every
 * 20 ms unless the list is told otherwise. Those looks are told to be *slow*: they are the ones that ask whether some process
 * has died, and they find what a process was woken for that died before it took it. So a wake-up is never lost for long,
 * whoever is killed, wherever.
 *
 * ```text
 * const list = new WaitList(memory, 16, 64);
 * await list.wait(() => Atomics.load(words, 0) !== 0, "wait()", { timeout: 1000 }); // in one process
 * Atomics.store(words, 0, 1); list.wake(1);                                         // in another: first the change, then the wake
 * ```
 *
 * `wait()` sleeps in the event loop and is woken by a doorbell, see `doorbell.ts`; `waitSync()` blocks the thread on a futex.
 *
 * ```text
 *   word  0 signal          sleepers of `waitSync()` sleep on it; each wake that finds some adds 1
 *         1 announced sync  each that is about to sleep adds 1 ...
 *         2 served sync     ... and a wake that leaves nobody asleep writes down how many it knew of: no more, nobody to wake
 *         3 announced slots, 4 served slots, 5 turn: the order in which threads came
 *         8 slots of 8 words each: life, bell file, bell pipe, turn (0 while it is being written), rung
 * ```
 *
 * A thread has one slot, whatever number of waits it has. Where all slots are taken, the thread is not woken and only looks.
 */

import { ProcessError } from "../errors.ts";
import { host } from "../host/mod.ts";
import { registerAtFork } from "../runtime/at-fork.ts";
import { checkTimeoutAndSignal, MAX_TIMER_MS, type WaitOptions } from "../runtime/wait-options.ts";
import { onRing, ownDoorbell, ringDoorbell } from "./doorbell.ts";
import type { SharedSegment } from "./shared-memory-segment.ts";
import { currentThreadId, hasExited } from "./thread-id.ts";

const SIGNAL = 0;
const ANNOUNCED_SYNC = 1;
const SERVED_SYNC = 2;
const ANNOUNCED_SLOTS = 3;
const SERVED_SLOTS = 4;
const TURN = 5;
const HEADER_WORDS = 8;
const SLOT_WORDS = 8;
const SLOT_FD = 1;
const SLOT_INODE = 2;
const SLOT_TURN = 3;
const SLOT_RUNG = 4;

const FIRST_RECHECK_MS = 2;
const MAX_RECHECK_MS = 20;
/** Nobody can wake a thread that found no slot, or has no bell, so it looks more often. */
const MAX_RECHECK_WITHOUT_DOORBELL_MS = 5;
const NO_SLOT = -1;
const ALL_RUNG = -2;

/** How a wait in the event loop goes. */
export interface WaitQueueOptions extends WaitOptions {
  /** Whether the program stays alive for it; it need not for a wait on behalf of another process. @default true */
  readonly keepAlive?: boolean;
}

/** Looks whether what is waited for has come, and takes it. @param isSlow whether it should also ask who has died */
export type Condition = (checkLiveness: boolean) => boolean;

interface Waiter {
  readonly condition: Condition;
  readonly keepAlive: boolean;
  settle(isDone: boolean, error?: unknown): void;
}

/** A forked child has no part in what its parent waits for. */
const AT_FORK_HOOKS = {
  prepare(): void {},
  inChild(queue: WaitQueue): void {
    queue.resetAfterFork();
  },
};

/** A list of those who wait; see the head of this file. */
export class WaitQueue {
  readonly #memory: SharedSegment;
  readonly #words: Int32Array;
  readonly #wordOffset: number;
  readonly #slotCount: number;
  readonly #maxRecheckMs: number;
  readonly #waiters = new Set<Waiter>();
  /** This thread's slot, while it has one. */
  #slot = -1;
  #recheckMs = FIRST_RECHECK_MS;
  #cancelRecheck: (() => void) | undefined;
  #nextRecheckAt = 0;
  #isKeptAlive = false;
  #cancelListening: (() => void) | undefined;
  #isRecheckQueued = false;

  /**
   * Makes the list; memory that is all zeros is an empty one.
   *
   * @param at where it begins, in words of four bytes
   * @param slots how many threads can be woken in their event loop; 0 if all waits block
   * @param longestDelay the most milliseconds between two looks of one who blocks, or has a slot, and is not woken
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

  /** How many words it takes. */
  static wordCount(slotCount: number): number {
    return HEADER_WORDS + slotCount * SLOT_WORDS;
  }

  /** Whether someone in this thread waits in the event loop. */
  get isWaiting(): boolean {
    return this.#waiters.size > 0;
  }

  /**
   * Waits in the event loop until `check` is true. Those who came first look first.
   *
   * @param call the call as the user wrote it, for errors
   * @returns false if the time ran out
   * @throws {RangeError} for a time-out that is no duration
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
   * Blocks this thread until `check` is true.
   *
   * @returns false if the time ran out
   */
  waitSync(condition: Condition, timeout: number = Number.POSITIVE_INFINITY): boolean {
    const words = this.#words;
    const deadline = performance.now() + timeout;
    let recheckMs = FIRST_RECHECK_MS / 2;
    for (let checkLiveness = false; ; checkLiveness = true) {
      const signal = Atomics.load(words, this.#wordOffset + SIGNAL);
      // Whoever announces itself before it looks is seen by all who change something afterwards.
      Atomics.add(words, this.#wordOffset + ANNOUNCED_SYNC, 1);
      if (condition(checkLiveness)) return true;
      const remainingMs = deadline - performance.now();
      if (remainingMs <= 0) return false;
      this.#memory.futexWait((this.#wordOffset + SIGNAL) * 4, signal, Math.min(recheckMs, remainingMs));
      recheckMs = Math.min(recheckMs * 2, this.#maxRecheckMs);
    }
  }

  /** Has so many who wait look again, those who have waited longest first; after the change that they wait for was made. */
  wake(count: number): void {
    this.#wakeSleepers(count);
    this.#ringSlots(count);
  }

  #wakeSleepers(count: number): void {
    const words = this.#words;
    const wordOffset = this.#wordOffset;
    const announced = Atomics.load(words, wordOffset + ANNOUNCED_SYNC);
    const served = Atomics.load(words, wordOffset + SERVED_SYNC);
    if (announced === served) return;
    Atomics.add(words, wordOffset + SIGNAL, 1);
    const maxCount = Math.min(count, 0x7fff_ffff);
    if (this.#memory.futexWake((wordOffset + SIGNAL) * 4, maxCount) < maxCount)
      Atomics.compareExchange(words, wordOffset + SERVED_SYNC, served, announced);
  }

  #ringSlots(count: number): void {
    const words = this.#words;
    const announced = Atomics.load(words, this.#wordOffset + ANNOUNCED_SLOTS);
    const served = Atomics.load(words, this.#wordOffset + SERVED_SLOTS);
    if (announced === served) return;
    let isEmpty = false;
    for (let remaining = count; remaining > 0; remaining--) {
      const slot = this.#oldestSlot();
      if (slot < 0) {
        isEmpty = slot === NO_SLOT;
        break;
      }
      if (!this.#ringSlot(slot)) remaining++; // it was a dead one's
    }
    if (isEmpty) Atomics.compareExchange(words, this.#wordOffset + SERVED_SLOTS, served, announced);
  }

  /** The slot of who came first and was not rung yet; or {@link NO_SLOT}, or {@link ALL_RUNG}. */
  #oldestSlot(): number {
    const words = this.#words;
    let oldest = NO_SLOT;
    let firstTurn = 0;
    for (let i = 0; i < this.#slotCount; i++) {
      const slot = this.#slotOffset(i);
      if (Atomics.load(words, slot) === 0) continue;
      const turn = Atomics.load(words, slot + SLOT_TURN);
      if (turn === 0 || Atomics.load(words, slot + SLOT_RUNG) !== 0) {
        if (oldest === NO_SLOT) oldest = ALL_RUNG;
      } else if (oldest < 0 || ((turn - firstTurn) | 0) < 0) {
        oldest = slot;
        firstTurn = turn;
      }
    }
    return oldest;
  }

  /** Rings who has that slot; false if that one is gone, and the slot is free now. */
  #ringSlot(slot: number): boolean {
    const words = this.#words;
    const threadId = Atomics.load(words, slot);
    const turn = Atomics.load(words, slot + SLOT_TURN);
    if (Atomics.compareExchange(words, slot + SLOT_RUNG, 0, 1) !== 0 || threadId === 0) return true;
    if (threadId === currentThreadId().id) {
      this.recheckSoon();
      return true;
    }
    const doorbell = { fd: Atomics.load(words, slot + SLOT_FD), inode: Atomics.load(words, slot + SLOT_INODE) };
    if (ringDoorbell(threadId, doorbell)) return true;
    this.#freeSlot(slot, threadId, turn);
    return false;
  }

  /** Frees a slot of a thread that is gone, unless it has another owner by now. */
  #freeSlot(slot: number, threadId: number, turn: number): void {
    Atomics.compareExchange(this.#words, slot + SLOT_TURN, turn, 0);
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
    // What changed before the slot was there did not ring it.
    this.recheckSoon();
  }

  #removeWaiter(waiter: Waiter, isDone: boolean): void {
    this.#waiters.delete(waiter);
    if (this.#memory.closed) return;
    const wasRung = this.#slot >= 0 && Atomics.load(this.#words, this.#slot + SLOT_RUNG) !== 0;
    if (this.#waiters.size === 0) this.#releaseSlot();
    else if (waiter.keepAlive && ![...this.#waiters].some(({ keepAlive }) => keepAlive))
      this.#scheduleRecheck(this.#recheckMs);
    // It was woken, and takes nothing: somebody else has to look.
    if (!isDone && wasRung) this.wake(1);
  }

  #takeSlot(): void {
    const words = this.#words;
    const { id } = currentThreadId();
    const doorbell = ownDoorbell();
    if (doorbell.fd < 0) return; // a wake that goes to who cannot hear it would be another's loss
    this.#cancelListening ??= onRing(() => this.#recheckAll(false));
    for (const freesDeadFirst of [false, true]) {
      for (let i = 0; i < this.#slotCount; i++) {
        const slot = this.#slotOffset(i);
        if (freesDeadFirst) this.#freeSlotIfExited(slot);
        if (Atomics.load(words, slot) !== 0 || Atomics.compareExchange(words, slot, 0, id) !== 0) continue;
        Atomics.store(words, slot + SLOT_FD, doorbell.fd);
        Atomics.store(words, slot + SLOT_INODE, doorbell.inode);
        Atomics.store(words, slot + SLOT_RUNG, 0);
        this.#slot = slot;
        return this.#requeue();
      }
    }
  }

  #freeSlotIfExited(slot: number): void {
    const threadId = Atomics.load(this.#words, slot);
    const turn = Atomics.load(this.#words, slot + SLOT_TURN);
    if (threadId !== 0 && hasExited(threadId)) this.#freeSlot(slot, threadId, turn);
  }

  /** This thread's next wait comes after all who wait now. */
  #requeue(): void {
    const turn = (Atomics.add(this.#words, this.#wordOffset + TURN, 1) + 1) | 0 || 1;
    Atomics.store(this.#words, this.#slot + SLOT_TURN, turn);
    Atomics.add(this.#words, this.#wordOffset + ANNOUNCED_SLOTS, 1);
  }

  #releaseSlot(): void {
    this.#cancelRecheck?.();
    this.#cancelRecheck = undefined;
    this.#cancelListening?.();
    this.#cancelListening = undefined;
    if (this.#slot < 0) return;
    Atomics.store(this.#words, this.#slot + SLOT_TURN, 0);
    Atomics.store(this.#words, this.#slot, 0);
    this.#slot = -1;
  }

  #fail(): void {
    const reason = new ProcessError("It was closed in this process while it was waited for", { code: "ERR_CLOSED" });
    for (const waiter of [...this.#waiters]) waiter.settle(false, { reason });
  }

  /** Has those who wait in this thread look again, soon: something that they look at has changed here. */
  recheckSoon(): void {
    if (this.#isRecheckQueued) return;
    this.#isRecheckQueued = true;
    queueMicrotask(() => this.#recheckAll(false));
  }

  #recheckAll(checkLiveness: boolean): void {
    this.#isRecheckQueued = false;
    if (this.#waiters.size === 0) return;
    if (this.#slot >= 0) Atomics.store(this.#words, this.#slot + SLOT_RUNG, 0);
    let livenessCheckPending = checkLiveness;
    let anyDone = false;
    for (const waiter of [...this.#waiters]) {
      if (this.#recheck(waiter, livenessCheckPending)) anyDone = true;
      livenessCheckPending = false;
    }
    if (anyDone && this.#slot >= 0) this.#requeue();
  }

  /** Whether the wait is over now. */
  #recheck(waiter: Waiter, checkLiveness: boolean): boolean {
    try {
      if (!waiter.condition(checkLiveness)) return false;
      waiter.settle(true);
    } catch (reason) {
      waiter.settle(false, { reason });
    }
    return true;
  }

  /** The next slow look comes after that time; nothing that happens meanwhile may put it off. */
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
    return this.#wordOffset + HEADER_WORDS + index * SLOT_WORDS;
  }

  /** In a forked child: the waits are the parent's, and so is the slot. */
  resetAfterFork(): void {
    this.#waiters.clear();
    this.#slot = -1;
    this.#cancelRecheck = undefined;
    this.#cancelListening = undefined;
    this.#isRecheckQueued = false;
  }
}
