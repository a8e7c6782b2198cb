/**
 * The items that a consumer has got from the home and not taken yet, and those who wait for one; see `protocol.ts`.
 *
 * How many may come ahead follows from how fast the last ones were taken: about as many as it takes in a millisecond. So one
 * that computes for long with each item gets none that another could take meanwhile, and a fast one seldom waits for the home.
 */
import { Fifo, type Frame, host } from "@multiproc/core/internal";
import type { Report } from "./protocol.ts";

/** What the items that come ahead may take, in milliseconds. */
const BUDGET = 1;
const MAX_WINDOW = 256;
/** A report that an item was taken is put off for no longer, in milliseconds. */
const LONGEST_DELAY = 0.2;
const SETTLED: Promise<void> = Promise.resolve();

/** Someone who waits. */
export interface Waiter {
  give(frame: Frame): void;
  end(error: Error): void;
}

/** Sends a report; with `atOnce`, the system has it when this returns. */
export type SendReport = (report: Report, atOnce: boolean) => void;

/** A consumer's side of a queue. */
export class Intake {
  readonly #send: SendReport;
  readonly #ahead = new Fifo<Frame>();
  readonly #waiters = new Set<Waiter>();
  /** How many items ever came. */
  #received = 0;
  /** What is to be reported: how many were taken, and whether all others go back. */
  #taken = 0;
  #isReturning = false;
  /** Until the home has confirmed that, whatever comes was sent before. */
  #isDropping = false;
  #isReported = true;
  #reportedAt = 0;
  #isSoonPlanned = false;
  #isLaterPlanned = false;
  /** How many may come ahead. */
  #window = 0;
  /** When the last item was taken, and how long one takes, in milliseconds. */
  #takenAt = 0;
  #pace = BUDGET;

  constructor(send: SendReport) {
    this.#send = send;
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /** The next item, if it is here. */
  take(): Frame | undefined {
    const frame = this.#ahead.shift();
    if (frame === undefined) return undefined;
    const now = performance.now();
    this.#taken += 1;
    if (!this.#isFast(now)) this.#giveBack();
    else if (this.#ahead.size === this.#window >> 1) this.#reportSoon();
    else this.#reportTaken(now);
    this.#takenAt = now;
    return frame;
  }

  /** Waits for the next item, when none is here. */
  wait(waiter: Waiter): void {
    if (this.#waiters.size === 0) {
      const isFast = this.#isFast(performance.now());
      this.#window = isFast ? Math.min(2 * this.#window + 4, Math.floor(BUDGET / this.#pace), MAX_WINDOW) : 0;
    }
    this.#waiters.add(waiter);
    this.#reportSoon();
  }

  /** Gives up a place; false if an item has been given. */
  withdraw(waiter: Waiter): boolean {
    if (!this.#waiters.delete(waiter)) return false;
    // Whoever stops to wait may not come back for what is on its way.
    this.#window = 0;
    this.#reportSoon();
    return true;
  }

  /** An item came. */
  push(frame: Frame): void {
    this.#received += 1;
    if (this.#isDropping) return;
    for (const waiter of this.#waiters) {
      this.#waiters.delete(waiter);
      this.#takenAt = performance.now();
      this.#taken += 1;
      this.#reportTaken(this.#takenAt);
      return waiter.give(frame);
    }
    this.#ahead.push(frame);
    if (this.#window === 0) this.#giveBack();
  }

  /** Somebody else waits for what is here. */
  recall(): void {
    this.#window >>= 2;
    if (!this.#isDropping) this.#giveBack();
  }

  /** The home has got back what was given back. */
  returned(): void {
    this.#isDropping = false;
    // What came for those who wait was among it.
    if (this.#waiters.size > 0) this.#reportSoon();
  }

  /** Nothing will come any more. */
  end(error: Error): void {
    this.#ahead.clear();
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter.end(error);
  }

  /** Reports now what has not been reported. */
  report(atOnce: boolean): void {
    if (this.#isReported) return;
    this.#isReported = true;
    const wanted = this.#received + this.#waiters.size;
    const room = wanted + Math.max(0, this.#window - this.#ahead.size);
    const report: Report = [this.#taken, this.#isReturning ? 1 : 0, wanted, room];
    this.#taken = 0;
    this.#isReturning = false;
    this.#reportedAt = performance.now();
    this.#send(report, atOnce);
  }

  /** Whether the item before did not take long. */
  #isFast(now: number): boolean {
    const took = now - this.#takenAt;
    this.#pace = Math.max(0.001, this.#pace + (took - this.#pace) / 4);
    if (took <= BUDGET) return true;
    this.#window = 0;
    this.#pace = BUDGET / 4;
    return false;
  }

  #giveBack(): void {
    this.#ahead.clear();
    this.#isReturning = true;
    this.#isDropping = true;
    this.#isReported = false;
    this.report(true);
  }

  #reportTaken(now: number): void {
    this.#isReported = false;
    if (now - this.#reportedAt > LONGEST_DELAY) return this.report(true);
    if (this.#isLaterPlanned) return;
    this.#isLaterPlanned = true;
    host.immediate(() => {
      this.#isLaterPlanned = false;
      this.report(true);
    });
  }

  #reportSoon(): void {
    this.#isReported = false;
    if (this.#isSoonPlanned) return;
    this.#isSoonPlanned = true;
    void SETTLED.then(() => {
      this.#isSoonPlanned = false;
      this.report(false);
    });
  }
}
