/** One attempt in so many is made although it has not paid of late. */
const TRY_AGAIN = 16;

/** Whether it pays to look for a moment, where falling asleep and being woken costs more: as long as it mostly has. */
export class Odds {
  readonly #mostMisses: number;
  #misses = 0;

  /** @param mostMisses after so many attempts in vain in a row only one in 16 is worth it */
  constructor(mostMisses: number) {
    this.#mostMisses = mostMisses;
  }

  get areGood(): boolean {
    return this.#misses < this.#mostMisses || this.#misses % TRY_AGAIN === 0;
  }

  /** Notes an attempt, also one that was not made because it was not worth it. */
  note(hasPaid: boolean): void {
    this.#misses = hasPaid ? 0 : this.#misses + 1;
  }
}
