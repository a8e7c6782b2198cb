/**
 * Estimates of task durations, as moving averages. They decide about prefetching and batching.
 */

/**
 * A sample counts as at most this multiple of the typical duration: a busy machine has outliers.
 */
const OUTLIER_FACTOR = 8;
/** The window of the moving average, in items. */
const AVERAGE_WINDOW_ITEMS = 64;

/** The duration of one item of a function, in milliseconds; NaN before the first sample. */
export class DurationEstimate {
  /** The duration of most items: a moving average with capped outliers. */
  typicalMs: number = Number.NaN;
  /** The average duration, including outliers. */
  averageMs: number = Number.NaN;
  #itemCount = 0;

  /** Records a sample: the average duration of `itemCount` items, in milliseconds. */
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
