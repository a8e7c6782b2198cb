/**
 * When messages that follow each other have waited enough for more of them: one that comes alone waits for none, and of those that
 * come together the first do so once in a moment.
 */

/** What comes so long after the last, in milliseconds, comes alone: what is done for it takes a fraction of that time. */
const ALONE = 0.02;
/** In milliseconds. */
const MOMENT = 0.1;

/** For one stream of messages; see the head of this file. */
export class Moments {
  readonly #longestStride: number;
  /** So many come from one look at the clock to the next, and so many are left. */
  #stride = 1;
  #left = 1;
  #looked = 0;
  #told = 0;

  /** @param longestStride how many may come, while they come quickly, without a look at the clock, which takes as long as a small message */
  constructor(longestStride: number) {
    this.#longestStride = longestStride;
  }

  /** Another one has come: whether what waits is to wait no longer. */
  isDue(): boolean {
    this.#left -= 1;
    if (this.#left > 0) return false;
    const now = performance.now();
    const isAlone = now - this.#looked >= ALONE;
    this.#looked = now;
    this.#stride = this.#left = isAlone ? 1 : Math.min(2 * this.#stride, this.#longestStride);
    if (!isAlone && now - this.#told < MOMENT) return false;
    this.#told = now;
    return true;
  }
}
