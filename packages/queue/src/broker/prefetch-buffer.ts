/**
 * The consumer's end of the flow control of `protocol.ts`: prefetched items, waiting calls, and
 * acknowledgements.
 *
 * The prefetch limit adapts to the consumer: about as many items as it takes in a millisecond. A
 * fast consumer therefore seldom waits for the broker. A consumer that computes for long with each
 * item prefetches nothing, so other consumers can take those items.
 */
import { Fifo, type Frame, host } from "@multiproc/core/internal";
import type { Ack } from "./protocol.ts";

/**
 * The time in which a consumer should take all prefetched items. A consumer that needs longer for
 * one item is slow.
 */
const PREFETCH_BUDGET_MS = 1;
const MAX_PREFETCH_COUNT = 256;
/**
 * An acknowledgement is sent at once if the last one is older than this. Otherwise it waits for the
 * end of the event-loop turn, so that one message acknowledges several items.
 */
const MIN_ACK_INTERVAL_MS = 0.2;
const SETTLED: Promise<void> = Promise.resolve();

/** A waiting `get()`. */
export interface Waiter {
  deliver(frame: Frame): void;
  end(error: Error): void;
}

/** Sends an acknowledgement. With `flush`, the system has it when this returns. */
export type SendAck = (ack: Ack, flush: boolean) => void;

/** The prefetch buffer of one consumer; see the header of this file. */
export class PrefetchBuffer {
  readonly #send: SendAck;
  readonly #prefetched = new Fifo<Frame>();
  readonly #waiters = new Set<Waiter>();
  /** Items that ever arrived. */
  #receivedCount = 0;
  /** The content of the next ACK: items taken since the last one, and whether the others return. */
  #takenCount = 0;
  #isReturning = false;
  /** Whether arriving items are dropped, because the broker requeues them. True until RETURNED. */
  #isDropping = false;
  /** Whether the last ACK is still up to date. */
  #isAcked = true;
  #ackedAt = 0;
  #isMicrotaskAckPlanned = false;
  #isTurnEndAckPlanned = false;
  #prefetchLimit = 0;
  /** When the last item was taken, and the moving average of the time between two items. */
  #takenAt = 0;
  #msPerItem = PREFETCH_BUDGET_MS;

  constructor(send: SendAck) {
    this.#send = send;
  }

  /** The number of waiting calls. */
  get waitingCount(): number {
    return this.#waiters.size;
  }

  /** Takes the next prefetched item. */
  take(): Frame | undefined {
    const frame = this.#prefetched.shift();
    if (frame === undefined) return undefined;
    const now = performance.now();
    this.#takenCount += 1;
    if (!this.#recordPace(now)) this.#returnPrefetched();
    else if (this.#prefetched.size === this.#prefetchLimit >> 1) this.#ackInMicrotask();
    else this.#ackTaken(now);
    this.#takenAt = now;
    return frame;
  }

  /** Waits for the next item, when none is prefetched. */
  wait(waiter: Waiter): void {
    if (this.#waiters.size === 0) {
      const isFast = this.#recordPace(performance.now());
      this.#prefetchLimit = isFast
        ? Math.min(2 * this.#prefetchLimit + 4, Math.floor(PREFETCH_BUDGET_MS / this.#msPerItem), MAX_PREFETCH_COUNT)
        : 0;
    }
    this.#waiters.add(waiter);
    this.#ackInMicrotask();
  }

  /** Cancels a wait. Returns false if it already has its item. */
  withdraw(waiter: Waiter): boolean {
    if (!this.#waiters.delete(waiter)) return false;
    // The caller may not call again for the items that are on their way. Prefetch none.
    this.#prefetchLimit = 0;
    this.#ackInMicrotask();
    return true;
  }

  /** Handles an item that arrived. */
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

  /** Returns the prefetched items, because another consumer waits for one. */
  recall(): void {
    this.#prefetchLimit >>= 2;
    if (!this.#isDropping) this.#returnPrefetched();
  }

  /** Handles the confirmation that the broker has the returned items. */
  returnConfirmed(): void {
    this.#isDropping = false;
    // The items for the waiting calls were among the dropped ones: send the demand again.
    if (this.#waiters.size > 0) this.#ackInMicrotask();
  }

  /** Ends all waits, because no item can arrive any more. */
  end(error: Error): void {
    this.#prefetched.clear();
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter.end(error);
  }

  /** Sends an acknowledgement now, unless nothing has changed since the last one. */
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

  /**
   * Records the time that the consumer needed for the last item. Stops prefetching if it was slow.
   *
   * @returns whether the consumer was fast
   */
  #recordPace(now: number): boolean {
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
    if (now - this.#ackedAt > MIN_ACK_INTERVAL_MS) return this.sendAck(true);
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
