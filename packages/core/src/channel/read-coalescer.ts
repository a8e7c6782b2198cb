/**
 * Coalesces reads: delays a reader that keeps up with its writer, so that several messages arrive
 * together.
 *
 * A reader as fast as the writer pulls every message across cores, one cache miss each, and stalls
 * the writer on the same cache lines. After several small reads in a row the reader therefore
 * pauses for a moment. A reader that also writes is never delayed: its peer waits for the answer.
 */

/** Consecutive small reads, without a write in between, before the reader pauses. */
const READS_WITHOUT_WRITE = 8;
/** A read of fewer bytes is small. */
const SMALL_READ_BYTES = 4 * 1024;
/** Length of the pause. */
const DEFER_MS = 0.02;

/** Coalesces the reads of one stream. */
export class ReadCoalescer {
  #readsSinceWrite = 0;
  #deferUntil = 0;

  /** Whether the reader pauses at this moment. */
  get isDeferring(): boolean {
    return this.#deferUntil > 0 && performance.now() < this.#deferUntil;
  }

  /** Records a write, which ends the pause. */
  recordWrite(): void {
    this.#readsSinceWrite = this.#deferUntil = 0;
  }

  /** Records a read of `byteCount` bytes. */
  recordRead(byteCount: number): void {
    this.#deferUntil =
      ++this.#readsSinceWrite > READS_WITHOUT_WRITE && byteCount < SMALL_READ_BYTES ? performance.now() + DEFER_MS : 0;
  }
}
