/**
 * Rate limiter for flushes: decides at each message whether to flush now.
 *
 * A message that comes alone is flushed at once. Messages in quick succession are flushed once per
 * 0.1 ms, the first of them at once. The limiter does not read the clock for each message, because
 * reading it takes as long as sending a small message.
 */

/**
 * A message comes alone if the clock was last read at least this long ago. A flush takes a fraction
 * of that time.
 */
const IDLE_GAP_MS = 0.02;
/** Time between two flushes of messages in quick succession. */
const MIN_FLUSH_INTERVAL_MS = 0.1;

/** Limits the flushes of one stream of messages. */
export class FlushLimiter {
  readonly #maxStride: number;
  /** Messages from one read of the clock to the next. */
  #stride = 1;
  /** Messages that are still to come before the next read. */
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
