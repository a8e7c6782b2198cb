/**
 * A table in memory of the threads that take part in something, and a number or two for each; read and changed under a lock of
 * the caller's, who also takes out the rows of threads that are gone.
 */
import { currentThreadId, hasExited } from "@multiproc/core/internal";

/** Such a table, of rows of so many words; the first word of each is the life of its thread, 0 where it is free. */
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

  /** This thread's row, which is made if there is none; undefined if there is no room. */
  ownRow(): number | undefined {
    const { id } = currentThreadId();
    if (this.#cachedRow >= 0 && this.#words[this.#cachedRow] === id) return this.#cachedRow;
    const row = this.#rowOf(id) ?? this.#rowOf(0);
    if (row === undefined) return undefined;
    this.#words[row] = id;
    this.#cachedRow = row;
    return row;
  }

  /** All rows in use. */
  *usedRows(): Generator<number> {
    for (let i = 0; i < this.#rowCount; i++) {
      const row = this.#wordOffset + i * this.#rowWords;
      if (this.#words[row] !== 0) yield row;
    }
  }

  /** The first row in use that is so. */
  findRow(matches: (row: number) => boolean): number | undefined {
    for (const row of this.usedRows()) if (matches(row)) return row;
    return undefined;
  }

  /** The rows of threads that are gone. Asks the system about each row for which `isOfInterest`. */
  deadRows(isRelevant: (row: number) => boolean): number[] {
    const { id } = currentThreadId();
    const isDead = (row: number): boolean => {
      const threadId = this.#words[row] as number;
      return threadId !== id && isRelevant(row) && hasExited(threadId);
    };
    return [...this.usedRows()].filter(isDead);
  }

  /** Frees a row. */
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
