/** Bytes that grow while a message is written into them. */
export class ByteWriter {
  /** The memory; what has been written stands in front of {@link ByteWriter.position}. Replaced when it grows. */
  bytes: Uint8Array;
  /** The same memory, for numbers of several bytes. */
  view: DataView;
  /** Where the next byte goes. */
  position = 0;
  /** Before which byte the memory ends that can be written. */
  limit: number;

  /**
   * @param capacity how many bytes fit before the memory grows for the first time
   * @default capacity 1024
   */
  constructor(capacity = 1024) {
    this.bytes = new Uint8Array(capacity);
    this.view = new DataView(this.bytes.buffer);
    this.limit = capacity;
  }

  /** Goes on in memory of others, up to before that byte; what does not fit is written in memory of its own, with all that stands in front of it. */
  borrow(bytes: Uint8Array, view: DataView, position: number, limit: number): void {
    this.bytes = bytes;
    this.view = view;
    this.position = position;
    this.limit = limit;
  }

  /**
   * Makes sure that `n` more bytes fit.
   *
   * @throws {RangeError} if there is no memory for that many
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
