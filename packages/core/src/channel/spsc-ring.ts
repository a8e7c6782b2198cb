/**
 * One way of a channel through memory: a ring of bytes that one thread writes and another reads.
 *
 * ```text
 *   word  0 head     how many bytes were ever written, modulo 2^32; moved by the writer, when they are there
 *        16 tail     how many were ever read; moved by the reader, when it has them
 *        32 reader   how the reader is to be woken when something was written: 0 not at all, RING, or FUTEX
 *        48 writer   how the writer is to be woken when there is room again; it sleeps on the tail, the reader on the head
 *        64 ended    the writer will write no more
 *        80 turn     how often the writer has turned to the other area; from an odd turn on that is the wide one
 *        96 at       the byte, as head and tail count them, with which the last turn begins
 *       112 wide     whether the reader has the wide area
 * ```
 *
 * **Two areas.** The bytes lie in a small area, which stays in the caches of the processors, or in a wide one, in which a large
 * message has room: there, who writes it does not wait for who reads it and has to get memory for it first. The writer turns
 * from one to the other, not again before the reader has followed, and back only when nothing is left to be read. In both,
 * the first byte after a turn lies at the beginning.
 *
 * Who is killed while it copies has changed nothing yet. Nobody can sleep through what it waits for: who is about to sleep says
 * so and looks once more, who changes something changes it and then looks whether somebody sleeps, and all four are
 * sequentially consistent.
 */
import { ByteWriter } from "../bytes/byte-writer.ts";
import { copyBytes } from "../bytes/copy-bytes.ts";
import { ProtocolError } from "../errors.ts";
import type { Memory } from "../shm/shared-memory-segment.ts";

const HEAD = 0;
const TAIL = 16;
const READER = 32;
const WRITER = 48;
const ENDED = 64;
const TURN = 80;
const TURN_AT = 96;
const HAS_WIDE = 112;

/** How many bytes the wide area holds. */
export const WIDE: number = 8 * 1024 * 1024;

/** How somebody who sleeps is woken. */
export type Sleep = 0 | 1 | 2;
const AWAKE = 0;
/** By a message on the socket, since it sleeps in its event loop. */
export const RING = 1;
/** By the system, since its thread is blocked. */
export const FUTEX = 2;

/** So much is copied until the other side is told: so both copy at the same time, instead of in turns. */
const STEP = 32 * 1024;

/** One way; see the head of this file. */
export class ByteRing {
  /** How many words it takes besides its bytes. */
  static readonly WORDS = 128;
  readonly #memory: Memory;
  readonly #words: Int32Array;
  readonly #at: number;
  readonly #small: Uint8Array;
  readonly #view: DataView;
  readonly #draft = new ByteWriter(0);
  #wide: Uint8Array | undefined;
  /** The area in use, and the byte of the stream with which it begins. */
  #bytes: Uint8Array;
  #from = 0;
  /** The last turn that was taken, or followed. */
  #turn = 0;
  /** Whether the reader may not have followed it. */
  #isAhead = false;
  /** Where the tail was when the writer last looked: that is the reader's word, and slow to read while it moves. */
  #seenTail = 0;

  /**
   * @param at where its words begin, in words of four bytes
   * @param bytesAt where its small area begins
   * @param capacity how many bytes that holds; a power of two
   */
  constructor(memory: Memory, at: number, bytesAt: number, capacity: number) {
    this.#memory = memory;
    this.#words = new Int32Array(memory.buffer);
    this.#at = at;
    this.#bytes = this.#small = new Uint8Array(memory.buffer, bytesAt, capacity);
    this.#view = new DataView(memory.buffer, bytesAt, capacity);
  }

  /** How many bytes can be read at this moment. @throws {ProtocolError} if the other side has written nonsense */
  get available(): number {
    const words = this.#words;
    const available = (Atomics.load(words, this.#at + HEAD) - Atomics.load(words, this.#at + TAIL)) >>> 0;
    if (available > this.#small.length + (this.#wide?.length ?? 0)) throw spoiled();
    return available;
  }

  /** Whether there is so much room that it pays to wake who waits for some. */
  get isHalfEmpty(): boolean {
    const turn = Atomics.load(this.#words, this.#at + TURN);
    return this.available <= (isWide(turn) ? WIDE : this.#small.length) / 2;
  }

  /** Whether it has a wide area on this side. */
  get hasWide(): boolean {
    return this.#wide !== undefined;
  }

  /** Gives the writer its wide area; it is used once the reader has it. */
  offerWide(area: Uint8Array): void {
    this.#wide = area;
  }

  /** Gives the reader its wide area. */
  takeWide(area: Uint8Array): void {
    this.#wide = area;
    Atomics.store(this.#words, this.#at + HAS_WIDE, 1);
  }

  /** Has what is written next go into the wide area, if that can be. */
  widen(): void {
    if (isWide(this.#turn) || this.#wide === undefined || Atomics.load(this.#words, this.#at + HAS_WIDE) === 0) return;
    this.#noteFollower();
    if (!this.#isAhead || this.#words[this.#at + HEAD] === this.#from) this.#turnTo(this.#wide);
  }

  /** Whether the writer has ended its way. */
  get isEnded(): boolean {
    return Atomics.load(this.#words, this.#at + ENDED) !== 0;
  }

  /**
   * Where what comes next can be written in place, to be {@link ByteRing.publish}ed at once; nothing where there is no room for so
   * many bytes without a break.
   *
   * @throws {ProtocolError} if the other side has written nonsense
   */
  draft(wanted: number): ByteWriter | undefined {
    if (isWide(this.#turn)) return undefined;
    const from = this.#offsetOf(HEAD);
    const room = Math.min(this.#room(wanted), this.#small.length - from);
    if (room < wanted) return undefined;
    this.#draft.borrow(this.#small, this.#view, from, from + room);
    return this.#draft;
  }

  /** Has the reader see what stands in the draft; false if that had no room and stands elsewhere. */
  publish(): boolean {
    const { bytes, position } = this.#draft;
    if (bytes !== this.#small) return false;
    const words = this.#words;
    Atomics.store(words, this.#at + HEAD, ((words[this.#at + HEAD] as number) + position - this.#offsetOf(HEAD)) | 0);
    return true;
  }

  /** Copies in the first so many bytes, if there is room for all of them. @throws {ProtocolError} if the other side has written nonsense */
  put(bytes: Uint8Array, size: number): boolean {
    if (isWide(this.#turn) && this.available === 0) this.#turnTo(this.#small);
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
    const count = Math.min(most, this.available, this.#untilTurn());
    const from = this.#offsetOf(TAIL);
    const isInOne = from + count <= this.#bytes.length;
    const bytes = isInOne ? this.#bytes.slice(from, from + count) : new Uint8Array(count);
    if (isInOne) this.#readOn(count);
    else this.readInto(bytes);
    return bytes;
  }

  /** Fills a piece with the next bytes as far as there are any, and says how many that were. */
  readInto(piece: Uint8Array): number {
    const count = Math.min(piece.length, this.available);
    for (let read = 0, step = 0; read < count; read += step) {
      step = Math.min(count - read, STEP, this.#untilTurn());
      const from = this.#offsetOf(TAIL);
      step = Math.min(step, this.#bytes.length - from);
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
    const capacity = this.#bytes.length;
    const head = this.#words[this.#at + HEAD] as number;
    const seen = capacity - ((head - this.#seenTail) >>> 0);
    if (seen >= wanted) return seen;
    const { available } = this;
    this.#noteFollower();
    // What is still to be read in the other area takes no room in this one.
    this.#seenTail = this.#isAhead ? this.#from : (head - available) | 0;
    return capacity - ((head - this.#seenTail) >>> 0);
  }

  /** Copies in as much of the bytes between `start` and `end` as there is room for without a break, and says how much that was. */
  #writeStep(bytes: Uint8Array, start: number, end: number): number {
    const words = this.#words;
    const head = words[this.#at + HEAD] as number;
    const from = this.#offsetOf(HEAD);
    const target = this.#bytes;
    const count = Math.min(end - start, this.#room(end - start), target.length - from);
    copyBytes(bytes, start, start + count, target, from);
    if (count > 0) Atomics.store(words, this.#at + HEAD, (head + count) | 0);
    return count;
  }

  /** What is written from now on goes into that area, from its beginning. */
  #turnTo(area: Uint8Array): void {
    const head = this.#words[this.#at + HEAD] as number;
    this.#bytes = area;
    this.#from = this.#seenTail = head;
    this.#isAhead = true;
    this.#turn = (this.#turn + 1) | 0;
    Atomics.store(this.#words, this.#at + TURN_AT, head);
    Atomics.store(this.#words, this.#at + TURN, this.#turn);
  }

  /** Whether the reader has followed the last turn: it has, when it has read behind that. */
  #noteFollower(): void {
    if (this.#isAhead && ((Atomics.load(this.#words, this.#at + TAIL) - this.#from) | 0) > 0) this.#isAhead = false;
  }

  /** How many bytes the reader may read before the writer's next turn; at the turn, it follows. */
  #untilTurn(): number {
    const turn = Atomics.load(this.#words, this.#at + TURN);
    if (turn === this.#turn) return Number.POSITIVE_INFINITY;
    const left = (Atomics.load(this.#words, this.#at + TURN_AT) - (this.#words[this.#at + TAIL] as number)) >>> 0;
    if (left > 0) return left;
    const area = isWide(turn) ? this.#wide : this.#small;
    if (area === undefined) throw spoiled();
    this.#bytes = area;
    this.#from = this.#words[this.#at + TAIL] as number;
    this.#turn = turn;
    return Number.POSITIVE_INFINITY;
  }

  /** Where a byte lies in the area in use, which is a power of two long. */
  #offsetOf(word: number): number {
    return ((this.#words[this.#at + word] as number) - this.#from) & (this.#bytes.length - 1);
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

function isWide(turn: number): boolean {
  return (turn & 1) !== 0;
}

function spoiled(): ProtocolError {
  return new ProtocolError("The other side has spoiled the memory of this channel");
}
