/**
 * Who waits for a change in shared memory, and how they are woken: the one way in which anything here waits.
 *
 * A wait is given a `check` that looks whether what it waits for has come, and takes it. It is called at once, whenever
 * somebody calls {@link WaitList.wake}, and from time to time besides: after 2 ms, then ever more seldom, at least every
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
import { inheritable } from "../runtime/at-fork.ts";
import { checkTimeout, LARGEST_TIMER, type WaitOptions } from "../runtime/wait-options.ts";
import { listen, ownBell, ring } from "./doorbell.ts";
import type { Memory } from "./shared-memory-segment.ts";
import { isGone, ownLife } from "./thread-id.ts";

const SIGNAL = 0;
const ANNOUNCED_SYNC = 1;
const SERVED_SYNC = 2;
const ANNOUNCED_SLOTS = 3;
const SERVED_SLOTS = 4;
const TURN = 5;
const HEADER = 8;
const SLOT = 8;
const FILE = 1;
const PIPE = 2;
const SLOT_TURN = 3;
const RUNG = 4;

const FIRST_LOOK = 2;
const LATER_LOOKS = 20;
/** Nobody can wake a thread that found no slot, or has no bell, so it looks more often. */
const BLIND_LOOKS = 5;
const NO_SLOT = -1;
const ALL_RUNG = -2;

/** How a wait in the event loop goes. */
export interface ListOptions extends WaitOptions {
  /** Whether the program stays alive for it; it need not for a wait on behalf of another process. @default true */
  readonly keepAlive?: boolean;
}

/** Looks whether what is waited for has come, and takes it. @param isSlow whether it should also ask who has died */
export type Check = (isSlow: boolean) => boolean;

interface Wait {
  readonly check: Check;
  readonly keepAlive: boolean;
  settle(isDone: boolean, error?: unknown): void;
}

/** A forked child has no part in what its parent waits for. */
const HERITAGE = {
  before(): void {},
  after(list: WaitList): void {
    list.forget();
  },
};

/** A list of those who wait; see the head of this file. */
export class WaitList {
  readonly #memory: Memory;
  readonly #words: Int32Array;
  readonly #at: number;
  readonly #slots: number;
  readonly #longestDelay: number;
  readonly #waits = new Set<Wait>();
  /** This thread's slot, while it has one. */
  #slot = -1;
  #delay = FIRST_LOOK;
  #cancelLook: (() => void) | undefined;
  #due = 0;
  #isKeptAlive = false;
  #cancelListening: (() => void) | undefined;
  #isPoked = false;

  /**
   * Makes the list; memory that is all zeros is an empty one.
   *
   * @param at where it begins, in words of four bytes
   * @param slots how many threads can be woken in their event loop; 0 if all waits block
   * @param longestDelay the most milliseconds between two looks of one who blocks, or has a slot, and is not woken
   */
  constructor(memory: Memory, at: number, slots: number, longestDelay: number = LATER_LOOKS) {
    this.#memory = memory;
    this.#words = new Int32Array(memory.buffer);
    this.#at = at;
    this.#slots = slots;
    this.#longestDelay = longestDelay;
    inheritable(this, HERITAGE);
    memory.onClose(() => this.#fail());
  }

  /** How many words it takes. */
  static words(slots: number): number {
    return HEADER + slots * SLOT;
  }

  /** Whether someone in this thread waits in the event loop. */
  get isWaiting(): boolean {
    return this.#waits.size > 0;
  }

  /**
   * Waits in the event loop until `check` is true. Those who came first look first.
   *
   * @param call the call as the user wrote it, for errors
   * @returns false if the time ran out
   * @throws {RangeError} for a time-out that is no duration
   * @throws the signal's reason
   */
  async wait(check: Check, call: string, options: ListOptions): Promise<boolean> {
    const { timeout, signal, keepAlive = true } = options;
    checkTimeout(call, timeout);
    signal?.throwIfAborted();
    if (this.#waits.size === 0 && check(false)) return true;
    if (timeout === 0) return false;
    return new Promise<boolean>((resolve, reject) => {
      const isLimited = timeout !== undefined && timeout <= LARGEST_TIMER;
      const cancel = isLimited
        ? host.timer(() => this.#look(wait, false) || wait.settle(false), timeout, keepAlive)
        : undefined;
      const abort = (): void => wait.settle(false, { reason: signal?.reason });
      const wait: Wait = {
        check,
        keepAlive,
        settle: (isDone, aborted) => {
          cancel?.();
          signal?.removeEventListener("abort", abort);
          this.#leave(wait, isDone);
          if (aborted === undefined) resolve(isDone);
          else reject((aborted as { reason: unknown }).reason);
        },
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#enter(wait);
    });
  }

  /**
   * Blocks this thread until `check` is true.
   *
   * @returns false if the time ran out
   */
  waitSync(check: Check, timeout: number = Number.POSITIVE_INFINITY): boolean {
    const words = this.#words;
    const end = performance.now() + timeout;
    let delay = FIRST_LOOK / 2;
    for (let isSlow = false; ; isSlow = true) {
      const signal = Atomics.load(words, this.#at + SIGNAL);
      // Whoever announces itself before it looks is seen by all who change something afterwards.
      Atomics.add(words, this.#at + ANNOUNCED_SYNC, 1);
      if (check(isSlow)) return true;
      const left = end - performance.now();
      if (left <= 0) return false;
      this.#memory.sleep((this.#at + SIGNAL) * 4, signal, Math.min(delay, left));
      delay = Math.min(delay * 2, this.#longestDelay);
    }
  }

  /** Has so many who wait look again, those who have waited longest first; after the change that they wait for was made. */
  wake(count: number): void {
    this.#wakeSleepers(count);
    this.#ringSlots(count);
  }

  #wakeSleepers(count: number): void {
    const words = this.#words;
    const at = this.#at;
    const announced = Atomics.load(words, at + ANNOUNCED_SYNC);
    const served = Atomics.load(words, at + SERVED_SYNC);
    if (announced === served) return;
    Atomics.add(words, at + SIGNAL, 1);
    const most = Math.min(count, 0x7fff_ffff);
    if (this.#memory.wake((at + SIGNAL) * 4, most) < most)
      Atomics.compareExchange(words, at + SERVED_SYNC, served, announced);
  }

  #ringSlots(count: number): void {
    const words = this.#words;
    const announced = Atomics.load(words, this.#at + ANNOUNCED_SLOTS);
    const served = Atomics.load(words, this.#at + SERVED_SLOTS);
    if (announced === served) return;
    let isEmpty = false;
    for (let left = count; left > 0; left--) {
      const slot = this.#oldest();
      if (slot < 0) {
        isEmpty = slot === NO_SLOT;
        break;
      }
      if (!this.#ring(slot)) left++; // it was a dead one's
    }
    if (isEmpty) Atomics.compareExchange(words, this.#at + SERVED_SLOTS, served, announced);
  }

  /** The slot of who came first and was not rung yet; or {@link NO_SLOT}, or {@link ALL_RUNG}. */
  #oldest(): number {
    const words = this.#words;
    let oldest = NO_SLOT;
    let first = 0;
    for (let i = 0; i < this.#slots; i++) {
      const slot = this.#place(i);
      if (Atomics.load(words, slot) === 0) continue;
      const turn = Atomics.load(words, slot + SLOT_TURN);
      if (turn === 0 || Atomics.load(words, slot + RUNG) !== 0) {
        if (oldest === NO_SLOT) oldest = ALL_RUNG;
      } else if (oldest < 0 || ((turn - first) | 0) < 0) {
        oldest = slot;
        first = turn;
      }
    }
    return oldest;
  }

  /** Rings who has that slot; false if that one is gone, and the slot is free now. */
  #ring(slot: number): boolean {
    const words = this.#words;
    const life = Atomics.load(words, slot);
    const turn = Atomics.load(words, slot + SLOT_TURN);
    if (Atomics.compareExchange(words, slot + RUNG, 0, 1) !== 0 || life === 0) return true;
    if (life === ownLife().id) {
      this.lookSoon();
      return true;
    }
    const bell = { file: Atomics.load(words, slot + FILE), pipe: Atomics.load(words, slot + PIPE) };
    if (ring(life, bell)) return true;
    this.#clear(slot, life, turn);
    return false;
  }

  /** Frees a slot of a thread that is gone, unless it has another owner by now. */
  #clear(slot: number, life: number, turn: number): void {
    Atomics.compareExchange(this.#words, slot + SLOT_TURN, turn, 0);
    Atomics.compareExchange(this.#words, slot, life, 0);
  }

  #enter(wait: Wait): void {
    this.#waits.add(wait);
    if (this.#waits.size === 1) this.#takeSlot();
    else if (this.#slot < 0) this.#takeSlot();
    this.#delay = FIRST_LOOK;
    const left = this.#cancelLook === undefined ? Number.POSITIVE_INFINITY : this.#due - performance.now();
    if (left > FIRST_LOOK || (wait.keepAlive && !this.#isKeptAlive)) this.#lookIn(Math.min(left, FIRST_LOOK));
    // What changed before the slot was there did not ring it.
    this.lookSoon();
  }

  #leave(wait: Wait, isDone: boolean): void {
    this.#waits.delete(wait);
    if (this.#memory.closed) return;
    const wasRung = this.#slot >= 0 && Atomics.load(this.#words, this.#slot + RUNG) !== 0;
    if (this.#waits.size === 0) this.#release();
    else if (wait.keepAlive && ![...this.#waits].some(({ keepAlive }) => keepAlive)) this.#lookIn(this.#delay);
    // It was woken, and takes nothing: somebody else has to look.
    if (!isDone && wasRung) this.wake(1);
  }

  #takeSlot(): void {
    const words = this.#words;
    const { id } = ownLife();
    const bell = ownBell();
    if (bell.file < 0) return; // a wake that goes to who cannot hear it would be another's loss
    this.#cancelListening ??= listen(() => this.#poke(false));
    for (const cleansFirst of [false, true]) {
      for (let i = 0; i < this.#slots; i++) {
        const slot = this.#place(i);
        if (cleansFirst) this.#clearIfGone(slot);
        if (Atomics.load(words, slot) !== 0 || Atomics.compareExchange(words, slot, 0, id) !== 0) continue;
        Atomics.store(words, slot + FILE, bell.file);
        Atomics.store(words, slot + PIPE, bell.pipe);
        Atomics.store(words, slot + RUNG, 0);
        this.#slot = slot;
        return this.#goToEnd();
      }
    }
  }

  #clearIfGone(slot: number): void {
    const life = Atomics.load(this.#words, slot);
    const turn = Atomics.load(this.#words, slot + SLOT_TURN);
    if (life !== 0 && isGone(life)) this.#clear(slot, life, turn);
  }

  /** This thread's next wait comes after all who wait now. */
  #goToEnd(): void {
    const turn = (Atomics.add(this.#words, this.#at + TURN, 1) + 1) | 0 || 1;
    Atomics.store(this.#words, this.#slot + SLOT_TURN, turn);
    Atomics.add(this.#words, this.#at + ANNOUNCED_SLOTS, 1);
  }

  #release(): void {
    this.#cancelLook?.();
    this.#cancelLook = undefined;
    this.#cancelListening?.();
    this.#cancelListening = undefined;
    if (this.#slot < 0) return;
    Atomics.store(this.#words, this.#slot + SLOT_TURN, 0);
    Atomics.store(this.#words, this.#slot, 0);
    this.#slot = -1;
  }

  #fail(): void {
    const reason = new ProcessError("It was closed in this process while it was waited for", { code: "ERR_CLOSED" });
    for (const wait of [...this.#waits]) wait.settle(false, { reason });
  }

  /** Has those who wait in this thread look again, soon: something that they look at has changed here. */
  lookSoon(): void {
    if (this.#isPoked) return;
    this.#isPoked = true;
    queueMicrotask(() => this.#poke(false));
  }

  #poke(isSlow: boolean): void {
    this.#isPoked = false;
    if (this.#waits.size === 0) return;
    if (this.#slot >= 0) Atomics.store(this.#words, this.#slot + RUNG, 0);
    let asksWhoDied = isSlow;
    let anyDone = false;
    for (const wait of [...this.#waits]) {
      if (this.#look(wait, asksWhoDied)) anyDone = true;
      asksWhoDied = false;
    }
    if (anyDone && this.#slot >= 0) this.#goToEnd();
  }

  /** Whether the wait is over now. */
  #look(wait: Wait, isSlow: boolean): boolean {
    try {
      if (!wait.check(isSlow)) return false;
      wait.settle(true);
    } catch (reason) {
      wait.settle(false, { reason });
    }
    return true;
  }

  /** The next slow look comes after that time; nothing that happens meanwhile may put it off. */
  #lookIn(delay: number): void {
    this.#cancelLook?.();
    this.#due = performance.now() + delay;
    this.#isKeptAlive = [...this.#waits].some(({ keepAlive }) => keepAlive);
    this.#cancelLook = host.timer(() => this.#lookSlowly(), delay, this.#isKeptAlive);
  }

  #lookSlowly(): void {
    this.#cancelLook = undefined;
    this.#poke(true);
    this.#delay = Math.min(this.#delay * 2, this.#slot < 0 ? BLIND_LOOKS : this.#longestDelay);
    if (this.#waits.size > 0) this.#lookIn(this.#delay);
  }

  #place(slot: number): number {
    return this.#at + HEADER + slot * SLOT;
  }

  /** In a forked child: the waits are the parent's, and so is the slot. */
  forget(): void {
    this.#waits.clear();
    this.#slot = -1;
    this.#cancelLook = undefined;
    this.#cancelListening = undefined;
    this.#isPoked = false;
  }
}
