/**
 * The items that a consumer has got from the home and not taken yet, and those who wait for one; see `protocol.ts`.
 *
 * How many may come ahead follows from how fast the last ones were taken: about as many as it takes in a millisecond. So one
 * that computes for long with each item gets none that another could take meanwhile, and a fast one seldom waits for the home.
 */
import { Fifo, type Frame, host } from "@multiproc/core/internal";
import type { Ack } from "./protocol.ts";

/** What the items that come ahead may take, in milliseconds. */
const PREFETCH_BUDGET_MS = 1;
const MAX_PREFETCH_COUNT = 256;
/** A report that an item was taken is put off for no longer, in milliseconds. */
const MAX_ACK_DELAY_MS = 0.2;
const SETTLED: Promise<void> = Promise.resolve();

/** Someone who waits. */
export interface Waiter {
  deliver(frame: Frame): void;
  end(error: Error): void;
}

/** Sends a report; with `atOnce`, the system has it when this returns. */
export type SendAck = (ack: Ack, flush: boolean) => void;

/** A consumer's side of a queue. */
export class PrefetchBuffer {
  readonly #send: SendAck;
  readonly #prefetched = new Fifo<Frame>();
  readonly #waiters = new Set<Waiter>();
  /** How many items ever came. */
  #receivedCount = 0;
  /** What is to be reported: how many were taken, and whether all others go back. */
  #takenCount = 0;
  #isReturning = false;
  /** Until the home has confirmed that, whatever comes was sent before. */
  #isDropping = false;
  #isAcked = true;
  #ackedAt = 0;
  #isMicrotaskAckPlanned = false;
  #isTurnEndAckPlanned = false;
  /** How many may come ahead. */
  #prefetchLimit = 0;
  /** When the last item was taken, and how long one takes, in milliseconds. */
  #takenAt = 0;
  #msPerItem = PREFETCH_BUDGET_MS;

  constructor(send: SendAck) {
    this.#send = send;
  }

  /** How many wait. */
  get waitingCount(): number {
    return this.#waiters.size;
  }

  /** The next item, if it is here. */
  take(): Frame | undefined {
    const frame = this.#prefetched.shift();
    if (frame === undefined) return undefined;
    const now = performance.now();
    this.#takenCount += 1;
    if (!this.#isFast(now)) this.#returnPrefetched();
    else if (this.#prefetched.size === this.#prefetchLimit >> 1) this.#ackInMicrotask();
    else this.#ackTaken(now);
    this.#takenAt = now;
    return frame;
  }

  /** Waits for the next item, when none is here. */
  wait(waiter: Waiter): void {
    if (this.#waiters.size === 0) {
      const isFast = this.#isFast(performance.now());
      this.#prefetchLimit = isFast
        ? Math.min(2 * this.#prefetchLimit + 4, Math.floor(PREFETCH_BUDGET_MS / this.#msPerItem), MAX_PREFETCH_COUNT)
        : 0;
    }
    this.#waiters.add(waiter);
    this.#ackInMicrotask();
  }

  /** Gives up a place; false if an item has been given. */
  withdraw(waiter: Waiter): boolean {
    if (!this.#waiters.delete(waiter)) return false;
    // Whoever stops to wait may not come back for what is on its way.
    this.#prefetchLimit = 0;
    this.#ackInMicrotask();
    return true;
  }

  /** An item came. */
  push(frame: Frame): void {
    this.#receivedCount += 1;
    if (this.#isDropping) return;
    for (const waiter of this.#waiters) {
      this.#waiters.delete(waiter);
      this.#takenAt = performance.now();
      this.#takenCount += 1;
      this.#ackTaken(this.#takenAt);
      return waiter.deliver(frame);
    }
    this.#prefetched.push(frame);
    if (this.#prefetchLimit === 0) this.#returnPrefetched();
  }

  /** Somebody else waits for what is here. */
  recall(): void {
    this.#prefetchLimit >>= 2;
    if (!this.#isDropping) this.#returnPrefetched();
  }

  /** The home has got back what was given back. */
  returnConfirmed(): void {
    this.#isDropping = false;
    // What came for those who wait was among it.
    if (this.#waiters.size > 0) this.#ackInMicrotask();
  }

  /** Nothing will come any more. */
  end(error: Error): void {
    this.#prefetched.clear();
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter.end(error);
  }

  /** Reports now what has not been reported. */
  sendAck(flush: boolean): void {
    if (this.#isAcked) return;
    this.#isAcked = true;
    const demand = this.#receivedCount + this.#waiters.size;
    const credit = demand + Math.max(0, this.#prefetchLimit - this.#prefetched.size);
    const ack: Ack = [this.#takenCount, this.#isReturning ? 1 : 0, demand, credit];
    this.#takenCount = 0;
    this.#isReturning = false;
    this.#ackedAt = performance.now();
    this.#send(ack, flush);
  }

  /** Whether the item before did not take long. */
  #isFast(now: number): boolean {
    const elapsed = now - this.#takenAt;
    this.#msPerItem = Math.max(0.001, this.#msPerItem + (elapsed - this.#msPerItem) / 4);
    if (elapsed <= PREFETCH_BUDGET_MS) return true;
    this.#prefetchLimit = 0;
    this.#msPerItem = PREFETCH_BUDGET_MS / 4;
    return false;
  }

  #returnPrefetched(): void {
    this.#prefetched.clear();
    this.#isReturning = true;
    this.#isDropping = true;
    this.#isAcked = false;
    this.sendAck(true);
  }

  #ackTaken(now: number): void {
    this.#isAcked = false;
    if (now - this.#ackedAt > MAX_ACK_DELAY_MS) return this.sendAck(true);
    if (this.#isTurnEndAckPlanned) return;
    this.#isTurnEndAckPlanned = true;
    host.afterIo(() => {
      this.#isTurnEndAckPlanned = false;
      this.sendAck(true);
    });
  }

  #ackInMicrotask(): void {
    this.#isAcked = false;
    if (this.#isMicrotaskAckPlanned) return;
    this.#isMicrotaskAckPlanned = true;
    void SETTLED.then(() => {
      this.#isMicrotaskAckPlanned = false;
      this.sendAck(false);
    });
  }
}
