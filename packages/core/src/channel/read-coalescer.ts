/**
 * Coalesces reads: delays a reader that keeps up with its writer, so that several messages arrive
 * together.
 *
 * A reader as fast as the writer pulls every message across cores, one cache miss each, and stalls
 * the writer on the same cache lines. So after several small reads in a row, the reader defers the
 * next read for a moment. A reader that also writes is never delayed: its peer waits for the
 * answer.
 */

/** Consecutive reads, without a write in between, after which small reads are deferred. */
const READS_BEFORE_DEFERRING = 8;
/** A read of fewer bytes is small. */
const SMALL_READ_BYTES = 4 * 1024;
/** How long the next read is deferred. */
const DEFER_MS = 0.02;

/** Coalesces the reads of one stream. */
export class ReadCoalescer {
  #readsSinceWrite = 0;
  #deferUntil = 0;

  /** Whether the reader should not read at this moment. */
  get isDeferring(): boolean {
    return this.#deferUntil > 0 && performance.now() < this.#deferUntil;
  }

  /** Records a write: the next read is not deferred. */
  recordWrite(): void {
    this.#readsSinceWrite = this.#deferUntil = 0;
  }

  /** Records a read of `byteCount` bytes. */
  recordRead(byteCount: number): void {
    this.#deferUntil =
      ++this.#readsSinceWrite > READS_BEFORE_DEFERRING && byteCount < SMALL_READ_BYTES
        ? performance.now() + DEFER_MS
        : 0;
  }
}
