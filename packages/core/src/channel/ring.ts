/**
 * One way of a channel through memory: a ring of bytes that one thread writes and another reads.
 *
 * ```text
 *   word  0 head     how many bytes were ever written, modulo 2^32; moved by the writer, when they are there
 *        16 tail     how many were ever read; moved by the reader, when it has them
 *        32 reader   how the reader is to be woken when something was written: 0 not at all, RING, or FUTEX
 *        48 writer   how the writer is to be woken when there is room again; it sleeps on the tail, the reader on the head
 *        64 ended    the writer will write no more
 * ```
 *
 * Who is killed while it copies has changed nothing yet. Nobody can sleep through what it waits for: who is about to sleep says
 * so and looks once more, who changes something changes it and then looks whether somebody sleeps, and all four are
 * sequentially consistent.
 */
import { ProtocolError } from "../errors.ts";
import type { Memory } from "../memory.ts";

const HEAD = 0;
const TAIL = 16;
const READER = 32;
const WRITER = 48;
const ENDED = 64;

/** How somebody who sleeps is woken. */
export type Sleep = 0 | 1 | 2;
const AWAKE = 0;
/** By a message on the socket, since it sleeps in its event loop. */
export const RING = 1;
/** By the system, since its thread is blocked. */
export const FUTEX = 2;

/** So much is copied until the other side is told: so both copy at the same time, instead of in turns. */
const STEP = 32 * 1024;
/** For few bytes a loop is faster than what copies many. */
const SHORT = 64;

/** One way; see the head of this file. */
export class ByteRing {
  /** How many words it takes besides its bytes. */
  static readonly WORDS = 80;
  readonly #memory: Memory;
  readonly #words: Int32Array;
  readonly #at: number;
  readonly #bytes: Uint8Array;
  readonly #capacity: number;
  /** Where the tail was when the writer last looked: that is the reader's word, and slow to read while it moves. */
  #seenTail = 0;

  /**
   * @param at where its words begin, in words of four bytes
   * @param bytesAt where its bytes begin
   * @param capacity how many bytes it holds; a power of two
   */
  constructor(memory: Memory, at: number, bytesAt: number, capacity: number) {
    this.#memory = memory;
    this.#words = new Int32Array(memory.buffer);
    this.#at = at;
    this.#bytes = new Uint8Array(memory.buffer, bytesAt, capacity);
    this.#capacity = capacity;
  }

  /** How many bytes can be read at this moment. @throws {ProtocolError} if the other side has written nonsense */
  get available(): number {
    const words = this.#words;
    const available = (Atomics.load(words, this.#at + HEAD) - Atomics.load(words, this.#at + TAIL)) >>> 0;
    if (available > this.#capacity) throw new ProtocolError("The other side has spoiled the memory of this channel");
    return available;
  }

  /** Whether there is so much room that it pays to wake who waits for some. */
  get isHalfEmpty(): boolean {
    return this.available <= this.#capacity / 2;
  }

  /** Whether the writer has ended its way. */
  get isEnded(): boolean {
    return Atomics.load(this.#words, this.#at + ENDED) !== 0;
  }

  /** Copies in the first so many bytes, if there is room for all of them. @throws {ProtocolError} if the other side has written nonsense */
  put(bytes: Uint8Array, size: number): boolean {
    return this.#room(size) >= size && this.write(bytes, size) === size;
  }

  /** Copies in as much of the first `size` bytes as there is room for, and says how much that was. */
  write(bytes: Uint8Array, size: number = bytes.length): number {
    let written = 0;
    for (let step = 1; step > 0 && written < size; written += step)
      step = this.#writeStep(bytes, written, Math.min(size, written + STEP));
    return written;
  }

  /** The next bytes in memory of their own, at most so many. */
  read(most: number): Uint8Array {
    const count = Math.min(most, this.available);
    const from = (this.#words[this.#at + TAIL] as number) & (this.#capacity - 1);
    const isInOne = from + count <= this.#capacity;
    const bytes = isInOne ? this.#bytes.slice(from, from + count) : new Uint8Array(count);
    if (isInOne) this.#readOn(count);
    else this.readInto(bytes);
    return bytes;
  }

  /** Fills a piece with the next bytes as far as there are any, and says how many that were. */
  readInto(piece: Uint8Array): number {
    const count = Math.min(piece.length, this.available);
    for (let read = 0, step = 0; read < count; read += step) {
      const from = (this.#words[this.#at + TAIL] as number) & (this.#capacity - 1);
      step = Math.min(count - read, STEP, this.#capacity - from);
      piece.set(this.#bytes.subarray(from, from + step), read);
      this.#readOn(step);
    }
    return count;
  }

  /** Says that nothing more will be written, and wakes the reader if its thread is blocked. */
  end(): void {
    Atomics.store(this.#words, this.#at + ENDED, 1);
    this.wakeReader();
  }

  /** Whether the reader may sleep now; it may not when there is something to be read. */
  mayReaderSleep(how: Sleep): boolean {
    Atomics.store(this.#words, this.#at + READER, how);
    if (this.available === 0 && !(how === FUTEX && this.isEnded)) return true;
    this.readerIsAwake();
    return false;
  }

  /** Whether the writer may sleep now; it may not when there is much room. */
  mayWriterSleep(how: Sleep): boolean {
    Atomics.store(this.#words, this.#at + WRITER, how);
    if (!this.isHalfEmpty) return true;
    this.writerIsAwake();
    return false;
  }

  readerIsAwake(): void {
    Atomics.store(this.#words, this.#at + READER, AWAKE);
  }

  writerIsAwake(): void {
    Atomics.store(this.#words, this.#at + WRITER, AWAKE);
  }

  /** Whether the reader sleeps, and must be woken. */
  get isReaderAsleep(): boolean {
    return Atomics.load(this.#words, this.#at + READER) !== AWAKE;
  }

  /** Wakes the reader if its thread is blocked; true if it is to be rung. */
  wakeReader(): boolean {
    return this.#wake(READER, HEAD);
  }

  /** Wakes the writer if its thread is blocked; true if it is to be rung. */
  wakeWriter(): boolean {
    return this.#wake(WRITER, TAIL);
  }

  /** Blocks the reader's thread for so many milliseconds, or until it is woken. */
  sleepReader(milliseconds: number): void {
    // The reader's own look found head and tail alike: any other head is news.
    this.#memory.sleep((this.#at + HEAD) * 4, this.#words[this.#at + TAIL] as number, milliseconds);
  }

  /** Blocks the writer's thread for so many milliseconds, or until it is woken. */
  sleepWriter(milliseconds: number): void {
    const tail = Atomics.load(this.#words, this.#at + TAIL);
    if (!this.isHalfEmpty) this.#memory.sleep((this.#at + TAIL) * 4, tail, milliseconds);
  }

  /** Whether something comes to be read while this looks so many times. */
  comesWithin(looks: number): boolean {
    const words = this.#words;
    const tail = words[this.#at + TAIL];
    for (let i = 0; i < looks; i++) if (Atomics.load(words, this.#at + HEAD) !== tail) return true;
    return false;
  }

  /** How much room there is; only where that seems to be less than what is wanted, it is looked up. */
  #room(wanted: number): number {
    const head = this.#words[this.#at + HEAD] as number;
    const seen = this.#capacity - ((head - this.#seenTail) >>> 0);
    if (seen >= wanted) return seen;
    const { available } = this;
    this.#seenTail = (head - available) | 0;
    return this.#capacity - available;
  }

  /** Copies in as much of the bytes between `start` and `end` as there is room for without a break, and says how much that was. */
  #writeStep(bytes: Uint8Array, start: number, end: number): number {
    const words = this.#words;
    const head = words[this.#at + HEAD] as number;
    const from = head & (this.#capacity - 1);
    const count = Math.min(end - start, this.#room(end - start), this.#capacity - from);
    const target = this.#bytes;
    if (count <= SHORT) for (let i = 0; i < count; i++) target[from + i] = bytes[start + i] as number;
    else target.set(bytes.subarray(start, start + count), from);
    if (count > 0) Atomics.store(words, this.#at + HEAD, (head + count) | 0);
    return count;
  }

  #readOn(count: number): void {
    const at = this.#at + TAIL;
    Atomics.store(this.#words, at, ((this.#words[at] as number) + count) | 0);
  }

  #wake(sleeper: number, word: number): boolean {
    const at = this.#at + sleeper;
    const how = Atomics.load(this.#words, at);
    if (how === AWAKE || Atomics.compareExchange(this.#words, at, how, AWAKE) !== how) return false;
    if (how === FUTEX) this.#memory.wake((this.#at + word) * 4, 1);
    return how === RING;
  }
}
