/**
 * A table in shared memory with one row for each thread that takes part, such as the threads that
 * hold units of a semaphore.
 *
 * The row of a thread that dies stays, so other threads can find out what the dead thread held. The
 * caller holds a mutex during every access, and frees the rows of dead threads.
 */
import { currentThreadId, hasExited } from "@multiproc/core/internal";

/**
 * The table. The first word of a row is the id of its thread, or 0 if the row is free. The other
 * words belong to the caller. A row is identified by the index of its first word.
 */
export class ThreadTable {
  readonly #words: Int32Array;
  readonly #wordOffset: number;
  readonly #rowCount: number;
  readonly #rowWords: number;
  #cachedRow = -1;

  constructor(words: Int32Array, wordOffset: number, rowCount: number, rowWords: number) {
    this.#words = words;
    this.#wordOffset = wordOffset;
    this.#rowCount = rowCount;
    this.#rowWords = rowWords;
  }

  /**
   * Returns the row of this thread, and claims a free one if it has none; undefined if the table is
   * full.
   */
  ownRow(): number | undefined {
    const { id } = currentThreadId();
    if (this.#cachedRow >= 0 && this.#words[this.#cachedRow] === id) return this.#cachedRow;
    const row = this.#rowOf(id) ?? this.#rowOf(0);
    if (row === undefined) return undefined;
    this.#words[row] = id;
    this.#cachedRow = row;
    return row;
  }

  /** Iterates over the rows in use. */
  *usedRows(): Generator<number> {
    for (let i = 0; i < this.#rowCount; i++) {
      const row = this.#wordOffset + i * this.#rowWords;
      if (this.#words[row] !== 0) yield row;
    }
  }

  /** Returns the first row in use that matches. */
  findRow(matches: (row: number) => boolean): number | undefined {
    for (const row of this.usedRows()) if (matches(row)) return row;
    return undefined;
  }

  /**
   * Returns the relevant rows whose threads have exited. Each relevant row costs system calls.
   */
  deadRows(isRelevant: (row: number) => boolean): number[] {
    const { id } = currentThreadId();
    const isDead = (row: number): boolean => {
      const threadId = this.#words[row] as number;
      return threadId !== id && isRelevant(row) && hasExited(threadId);
    };
    return [...this.usedRows()].filter(isDead);
  }

  freeRow(row: number): void {
    this.#words.fill(0, row, row + this.#rowWords);
  }

  #rowOf(threadId: number): number | undefined {
    for (let i = 0; i < this.#rowCount; i++) {
      const row = this.#wordOffset + i * this.#rowWords;
      if (this.#words[row] === threadId) return row;
    }
    return undefined;
  }
}
