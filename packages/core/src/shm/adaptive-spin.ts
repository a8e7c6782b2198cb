/**
 * Adaptive spinning: decides whether a thread should spin for a moment before it sleeps.
 *
 * Sleeping and being woken costs tens of microseconds. Spinning pays if the awaited event usually
 * comes within that time. The decision follows recent results: a thread spins as long as that pays
 * off. After that it still spins in one wait of 16, to notice when spinning pays off again.
 */

/**
 * While spinning is suspended, one wait in this many still spins.
 */
const PROBE_INTERVAL = 16;

export class AdaptiveSpin {
  readonly #maxMisses: number;
  #misses = 0;

  /** @param maxMisses consecutive failed spins after which spinning is suspended */
  constructor(maxMisses: number) {
    this.#maxMisses = maxMisses;
  }

  get shouldSpin(): boolean {
    return this.#misses < this.#maxMisses || this.#misses % PROBE_INTERVAL === 0;
  }

  /** Records the result of a wait, whether or not the thread span. */
  record(paidOff: boolean): void {
    this.#misses = paidOff ? 0 : this.#misses + 1;
  }
}
