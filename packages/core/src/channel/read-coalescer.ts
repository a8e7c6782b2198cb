/**
 * When who reads a stream may read again.
 *
 * Who reads messages as fast as they are written would fetch each from the writer's processor, and keep that waiting for its memory
 * meanwhile. So where one has read so often without a word in between, and found so little the last time, it rests for a
 * moment, in which more comes together.
 */

/** So often. */
const ONE_WAY = 8;
/** In bytes. */
const LITTLE = 4 * 1024;
/** In milliseconds. */
const REST = 0.02;

/** The pace of one reader; see the head of this file. */
export class Pace {
  /** How often it has read since it last wrote, and when it may read again. */
  #reads = 0;
  #next = 0;

  get isResting(): boolean {
    return this.#next > 0 && performance.now() < this.#next;
  }

  /** It has written: who answers is not kept waiting for more. */
  noteWrite(): void {
    this.#reads = this.#next = 0;
  }

  /** It has read so many bytes. */
  noteRead(count: number): void {
    this.#next = ++this.#reads > ONE_WAY && count < LITTLE ? performance.now() + REST : 0;
  }
}
