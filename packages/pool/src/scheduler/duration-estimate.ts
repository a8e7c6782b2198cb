/** How long a function takes. */

/** A single measurement counts for no more than so many times what was typical: the system may just have been busy. */
const OUTLIER_FACTOR = 8;
/** The average is that of about so many items. */
const AVERAGE_WINDOW_ITEMS = 64;

/** How long a function takes for one item, in milliseconds; NaN before the first measurement. */
export class DurationEstimate {
  /** What most calls take. */
  typicalMs: number = Number.NaN;
  /** What they take on average, slow ones among them. */
  averageMs: number = Number.NaN;
  #itemCount = 0;

  /** Takes a measurement: what one of so many items took on average, in milliseconds. */
  record(ms: number, itemCount = 1): void {
    if (this.#itemCount === 0) {
      this.typicalMs = this.averageMs = ms;
    } else {
      this.typicalMs += (Math.min(ms, this.typicalMs * OUTLIER_FACTOR) - this.typicalMs) / 4;
      this.averageMs += ((ms - this.averageMs) * itemCount) / (this.#itemCount + itemCount - 1);
    }
    this.#itemCount = Math.min(AVERAGE_WINDOW_ITEMS, this.#itemCount + itemCount);
  }
}
