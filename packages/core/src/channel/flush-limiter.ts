/**
 * Rate limiter for flushes: decides for each message whether the batch before it has waited long
 * enough.
 *
 * A message that comes alone is flushed at once. Messages in quick succession are flushed once per
 * 0.1 ms, the first of them at once. The clock is not read for each message: reading it takes as
 * long as a small message.
 */

/**
 * A message comes alone if it follows the last by this much. A flush takes a fraction of that time.
 */
const IDLE_GAP_MS = 0.02;
/** Time between two flushes of messages in quick succession. */
const MIN_FLUSH_INTERVAL_MS = 0.1;

/** Limits the flushes of one stream of messages. */
export class FlushLimiter {
  readonly #maxStride: number;
  /** Messages between two reads of the clock, and how many of them are still to come. */
  #stride = 1;
  #untilClockRead = 1;
  #lastClockRead = 0;
  #lastFlush = 0;

  /** @param maxStride messages in quick succession that may pass without a read of the clock */
  constructor(maxStride: number) {
    this.#maxStride = maxStride;
  }

  /** Records a message; returns whether to flush now. */
  shouldFlush(): boolean {
    this.#untilClockRead -= 1;
    if (this.#untilClockRead > 0) return false;
    const now = performance.now();
    const isAfterIdleGap = now - this.#lastClockRead >= IDLE_GAP_MS;
    this.#lastClockRead = now;
    this.#stride = this.#untilClockRead = isAfterIdleGap ? 1 : Math.min(2 * this.#stride, this.#maxStride);
    if (!isAfterIdleGap && now - this.#lastFlush < MIN_FLUSH_INTERVAL_MS) return false;
    this.#lastFlush = now;
    return true;
  }
}
