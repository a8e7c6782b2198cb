/**
 * When messages that follow each other have waited enough for more of them: one that comes alone waits for none, and of those that
 * come together the first do so once in a moment.
 */

/** What comes so long after the last, in milliseconds, comes alone: what is done for it takes a fraction of that time. */
const IDLE_GAP_MS = 0.02;
/** In milliseconds. */
const MIN_FLUSH_INTERVAL_MS = 0.1;

/** For one stream of messages; see the head of this file. */
export class FlushLimiter {
  readonly #maxStride: number;
  /** So many come from one look at the clock to the next, and so many are left. */
  #stride = 1;
  #untilClockRead = 1;
  #lastClockRead = 0;
  #lastFlush = 0;

  /** @param longestStride how many may come, while they come quickly, without a look at the clock, which takes as long as a small message */
  constructor(maxStride: number) {
    this.#maxStride = maxStride;
  }

  /** Another one has come: whether what waits is to wait no longer. */
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
