/** The results of a map: they come in pieces, in any order, and become one list. */

/** Shorter pieces are added to the one before them. */
const MIN_PIECE_LENGTH = 64;
/** So many pieces are looked at for that; workers answer in turn. */
const MERGE_LOOKBACK_COUNT = 16;
/** Of so many, no list is made at once. */
const MAX_PIECE_COUNT = 8192;

interface Piece {
  readonly at: number;
  readonly values: unknown[];
}

/**
 * Results by their index. Those of large chunks are kept as they came until all are there: the engine then makes the list in
 * one go, of the right kind and in memory that it touches once, which takes a fraction of the time that it takes to put in each.
 */
export class ResultList {
  readonly #total: number;
  #pieces: Piece[] = [];
  /** Where they are put one by one. */
  #list: unknown[] | undefined;

  /**
   * @param total how many there will be
   * @param chunkSize how many come from one chunk
   */
  constructor(total: number, chunkSize: number) {
    this.#total = total;
    if (chunkSize < MIN_PIECE_LENGTH) this.#list = new Array(total);
  }

  put(at: number, value: unknown): void {
    if (this.#list !== undefined) this.#list[at] = value;
    else this.#add(at, [value]);
  }

  putAll(at: number, values: unknown[]): void {
    if (this.#list !== undefined) copyInto(values, this.#list, at);
    else this.#add(at, values);
  }

  /** All of them, when they are there. */
  all(): unknown[] {
    if (this.#list !== undefined) return this.#list;
    const pieces = this.#pieces.sort((a, b) => a.at - b.at);
    this.#pieces = [];
    return ([] as unknown[]).concat(...pieces.map(({ values }) => values));
  }

  #add(at: number, values: unknown[]): void {
    const pieces = this.#pieces;
    if (values.length < MIN_PIECE_LENGTH) {
      for (let i = pieces.length - 1; i >= Math.max(0, pieces.length - MERGE_LOOKBACK_COUNT); i--) {
        const piece = pieces[i] as Piece;
        if (piece.at + piece.values.length !== at) continue;
        for (const value of values) piece.values.push(value);
        return;
      }
    }
    pieces.push({ at, values });
    if (pieces.length > MAX_PIECE_COUNT) this.#flatten();
  }

  /** There are too many pieces for one go. */
  #flatten(): void {
    this.#list = new Array(this.#total);
    for (const { at, values } of this.#pieces) copyInto(values, this.#list, at);
    this.#pieces = [];
  }
}

function copyInto(values: readonly unknown[], list: unknown[], at: number): void {
  for (let i = 0; i < values.length; i++) list[at + i] = values[i];
}
