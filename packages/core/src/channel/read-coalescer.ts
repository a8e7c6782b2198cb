/**
 * When who reads a stream may read again.
 *
 * Who reads messages as fast as they are written would fetch each from the writer's processor, and keep that waiting for its memory
 * meanwhile. So where one has read so often without a word in between, and found so little the last time, it rests for a
 * moment, in which more comes together.
 */

/** So often. */
const READS_WITHOUT_WRITE = 8;
/** In bytes. */
const SMALL_READ_BYTES = 4 * 1024;
/** In milliseconds. */
const DEFER_MS = 0.02;

/** The pace of one reader; see the head of this file. */
export class ReadCoalescer {
  /** How often it has read since it last wrote, and when it may read again. */
  #readsSinceWrite = 0;
  #deferUntil = 0;

  get isDeferring(): boolean {
    return this.#deferUntil > 0 && performance.now() < this.#deferUntil;
  }

  /** It has written: who answers is not kept waiting for more. */
  recordWrite(): void {
    this.#readsSinceWrite = this.#deferUntil = 0;
  }

  /** It has read so many bytes. */
  recordRead(byteCount: number): void {
    this.#deferUntil =
      ++this.#readsSinceWrite > READS_WITHOUT_WRITE && byteCount < SMALL_READ_BYTES ? performance.now() + DEFER_MS : 0;
  }
}
