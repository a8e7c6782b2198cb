/** A growing buffer into which a message is written. */
export class ByteWriter {
  /**
   * The buffer. Only bytes before {@link ByteWriter.position} are written. A larger buffer replaces
   * it when it is full.
   */
  bytes: Uint8Array;
  /** A view of the same buffer, for numbers of several bytes. */
  view: DataView;
  /** The offset of the next byte. */
  position = 0;
  /** The offset after the last byte that can be written. */
  limit: number;

  /**
   * @param capacity the size of the first buffer in bytes
   * @default capacity 1024
   */
  constructor(capacity = 1024) {
    this.bytes = new Uint8Array(capacity);
    this.view = new DataView(this.bytes.buffer);
    this.limit = capacity;
  }

  /**
   * Writes into a buffer of the caller from now on, between `position` and `limit`. If the message
   * does not fit, the writer copies all bytes before the position into a larger buffer of its own.
   */
  borrow(bytes: Uint8Array, view: DataView, position: number, limit: number): void {
    this.bytes = bytes;
    this.view = view;
    this.position = position;
    this.limit = limit;
  }

  /**
   * Makes room for `n` more bytes.
   *
   * @throws {RangeError} if so large a buffer cannot be allocated
   */
  ensure(n: number): void {
    const needed = this.position + n;
    if (needed <= this.limit) return;
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, needed));
    const view = new DataView(grown.buffer);
    grown.set(this.bytes.subarray(0, this.position));
    this.bytes = grown;
    this.view = view;
    this.limit = grown.length;
  }
}
