/** One attempt in so many is made although it has not paid of late. */
const ATTEMPTS_PER_RETRY = 16;

/** Whether it pays to look for a moment, where falling asleep and being woken costs more: as long as it mostly has. */
export class AdaptiveSpin {
  readonly #maxFailures: number;
  #failures = 0;

  /** @param mostMisses after so many attempts in vain in a row only one in 16 is worth it */
  constructor(maxFailures: number) {
    this.#maxFailures = maxFailures;
  }

  get shouldSpin(): boolean {
    return this.#failures < this.#maxFailures || this.#failures % ATTEMPTS_PER_RETRY === 0;
  }

  /** Notes an attempt, also one that was not made because it was not worth it. */
  record(succeeded: boolean): void {
    this.#failures = succeeded ? 0 : this.#failures + 1;
  }
}
