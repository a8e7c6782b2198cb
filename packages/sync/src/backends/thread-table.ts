/**
 * A table in memory of the threads that take part in something, and a number or two for each; read and changed under a lock of
 * the caller's, who also takes out the rows of threads that are gone.
 */
import { currentThreadId, hasExited } from "@multiproc/core/internal";

/** Such a table, of rows of so many words; the first word of each is the life of its thread, 0 where it is free. */
export class Holders {
  readonly #words: Int32Array;
  readonly #at: number;
  readonly #rows: number;
  readonly #width: number;
  #own = -1;

  constructor(words: Int32Array, at: number, rows: number, width: number) {
    this.#words = words;
    this.#at = at;
    this.#rows = rows;
    this.#width = width;
  }

  /** This thread's row, which is made if there is none; undefined if there is no room. */
  own(): number | undefined {
    const { id } = currentThreadId();
    if (this.#own >= 0 && this.#words[this.#own] === id) return this.#own;
    const row = this.#rowOf(id) ?? this.#rowOf(0);
    if (row === undefined) return undefined;
    this.#words[row] = id;
    this.#own = row;
    return row;
  }

  /** All rows in use. */
  *all(): Generator<number> {
    for (let i = 0; i < this.#rows; i++) {
      const row = this.#at + i * this.#width;
      if (this.#words[row] !== 0) yield row;
    }
  }

  /** The first row in use that is so. */
  find(isWanted: (row: number) => boolean): number | undefined {
    for (const row of this.all()) if (isWanted(row)) return row;
    return undefined;
  }

  /** The rows of threads that are gone. Asks the system about each row for which `isOfInterest`. */
  gone(isOfInterest: (row: number) => boolean): number[] {
    const { id } = currentThreadId();
    const isLost = (row: number): boolean => {
      const life = this.#words[row] as number;
      return life !== id && isOfInterest(row) && hasExited(life);
    };
    return [...this.all()].filter(isLost);
  }

  /** Frees a row. */
  free(row: number): void {
    this.#words.fill(0, row, row + this.#width);
  }

  #rowOf(life: number): number | undefined {
    for (let i = 0; i < this.#rows; i++) {
      const row = this.#at + i * this.#width;
      if (this.#words[row] === life) return row;
    }
    return undefined;
  }
}
