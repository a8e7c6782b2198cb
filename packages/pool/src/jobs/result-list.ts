/** The results of a map: pieces arrive in any order and become one list. */

/** A shorter piece is appended to the piece that ends where it starts. */
const MIN_PIECE_LENGTH = 64;
/**
 * How many of the last pieces are searched for that piece. A few suffice: each worker usually adds
 * to its own last piece.
 */
const MERGE_LOOKBACK_COUNT = 16;
/**
 * concat() takes each piece as an argument, and a call has a limited number of arguments. More
 * pieces than this are copied into one list.
 */
const MAX_PIECE_COUNT = 8192;

interface Piece {
  readonly at: number;
  readonly values: unknown[];
}

/**
 * A list of results, filled by index.
 *
 * Pieces of large chunks are kept as they arrive and are concatenated at the end. The engine then
 * allocates the list once, with the right element kind. That takes a fraction of the time of
 * storing each result.
 */
export class ResultList {
  readonly #total: number;
  #pieces: Piece[] = [];
  /** The list into which small pieces are stored directly. */
  #list: unknown[] | undefined;

  /**
   * @param total the number of results
   * @param chunkSize the number of results of one chunk
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

  /** Returns the whole list. It must be complete, and can be taken once. */
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

  /** Stores all pieces into one list: there are too many for one concatenation. */
  #flatten(): void {
    this.#list = new Array(this.#total);
    for (const { at, values } of this.#pieces) copyInto(values, this.#list, at);
    this.#pieces = [];
  }
}

function copyInto(values: readonly unknown[], list: unknown[], at: number): void {
  for (let i = 0; i < values.length; i++) list[at + i] = values[i];
}
