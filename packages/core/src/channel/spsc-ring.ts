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
import type { SharedSegment } from "../shm/shared-memory-segment.ts";

const HEAD = 0;
const TAIL = 16;
const READER_STATE = 32;
const WRITER_STATE = 48;
const ENDED = 64;
const SWITCH_COUNT = 80;
const SWITCH_POSITION = 96;
const HAS_LARGE_AREA = 112;

/** How many bytes the wide area holds. */
export const LARGE_AREA_BYTES: number = 8 * 1024 * 1024;

/** How somebody who sleeps is woken. */
export type WakeMode = 0 | 1 | 2;
const RUNNING = 0;
/** By a message on the socket, since it sleeps in its event loop. */
export const WAKE_BY_DOORBELL = 1;
/** By the system, since its thread is blocked. */
export const WAKE_BY_FUTEX = 2;

/** So much is copied until the other side is told: so both copy at the same time, instead of in turns. */
const COPY_STEP_BYTES = 32 * 1024;

/** One way; see the head of this file. */
export class SpscByteRing {
  /** How many words it takes besides its bytes. */
  static readonly CONTROL_WORDS = 128;
  readonly #memory: SharedSegment;
  readonly #words: Int32Array;
  readonly #wordOffset: number;
  readonly #smallArea: Uint8Array;
  readonly #smallView: DataView;
  readonly #reservation = new ByteWriter(0);
  #largeArea: Uint8Array | undefined;
  /** The area in use, and the byte of the stream with which it begins. */
  #area: Uint8Array;
  #areaStart = 0;
  /** The last turn that was taken, or followed. */
  #switchCount = 0;
  /** Whether the reader may not have followed it. */
  #isReaderBehind = false;
  /** Where the tail was when the writer last looked: that is the reader's word, and slow to read while it moves. */
  #cachedTail = 0;

  /**
   * @param at where its words begin, in words of four bytes
   * @param bytesAt where its small area begins
   * @param capacity how many bytes that holds; a power of two
   */
  constructor(memory: SharedSegment, wordOffset: number, areaOffset: number, capacity: number) {
    this.#memory = memory;
    this.#words = new Int32Array(memory.buffer);
    this.#wordOffset = wordOffset;
    this.#area = this.#smallArea = new Uint8Array(memory.buffer, areaOffset, capacity);
    this.#smallView = new DataView(memory.buffer, areaOffset, capacity);
  }

  /** How many bytes can be read at this moment. @throws {ProtocolError} if the other side has written nonsense */
  get available(): number {
    const words = this.#words;
    const available =
      (Atomics.load(words, this.#wordOffset + HEAD) - Atomics.load(words, this.#wordOffset + TAIL)) >>> 0;
    if (available > this.#smallArea.length + (this.#largeArea?.length ?? 0)) throw corruptRingError();
    return available;
  }

  /** Whether there is so much room that it pays to wake who waits for some. */
  get isHalfEmpty(): boolean {
    const switchCount = Atomics.load(this.#words, this.#wordOffset + SWITCH_COUNT);
    return this.available <= (isLargeArea(switchCount) ? LARGE_AREA_BYTES : this.#smallArea.length) / 2;
  }

  /** Whether it has a wide area on this side. */
  get hasLargeArea(): boolean {
    return this.#largeArea !== undefined;
  }

  /** Gives the writer its wide area; it is used once the reader has it. */
  offerLargeArea(area: Uint8Array): void {
    this.#largeArea = area;
  }

  /** Gives the reader its wide area. */
  attachLargeArea(area: Uint8Array): void {
    this.#largeArea = area;
    Atomics.store(this.#words, this.#wordOffset + HAS_LARGE_AREA, 1);
  }

  /** Has what is written next go into the wide area, if that can be. */
  useLargeArea(): void {
    if (
      isLargeArea(this.#switchCount) ||
      this.#largeArea === undefined ||
      Atomics.load(this.#words, this.#wordOffset + HAS_LARGE_AREA) === 0
    )
      return;
    this.#updateReaderArea();
    if (!this.#isReaderBehind || this.#words[this.#wordOffset + HEAD] === this.#areaStart)
      this.#switchArea(this.#largeArea);
  }

  /** Whether the writer has ended its way. */
  get isEnded(): boolean {
    return Atomics.load(this.#words, this.#wordOffset + ENDED) !== 0;
  }

  /**
   * Where what comes next can be written in place, to be {@link SpscByteRing.commit}ed at once; nothing where there is no room for so
   * many bytes without a break.
   *
   * @throws {ProtocolError} if the other side has written nonsense
   */
  reserve(wantedBytes: number): ByteWriter | undefined {
    if (isLargeArea(this.#switchCount)) return undefined;
    const from = this.#offsetOf(HEAD);
    const room = Math.min(this.#freeBytes(wantedBytes), this.#smallArea.length - from);
    if (room < wantedBytes) return undefined;
    this.#reservation.borrow(this.#smallArea, this.#smallView, from, from + room);
    return this.#reservation;
  }

  /** Has the reader see what stands in the draft; false if that had no room and stands elsewhere. */
  commit(): boolean {
    const { bytes, position } = this.#reservation;
    if (bytes !== this.#smallArea) return false;
    const words = this.#words;
    Atomics.store(
      words,
      this.#wordOffset + HEAD,
      ((words[this.#wordOffset + HEAD] as number) + position - this.#offsetOf(HEAD)) | 0,
    );
    return true;
  }

  /** Copies in the first so many bytes, if there is room for all of them. @throws {ProtocolError} if the other side has written nonsense */
  tryWrite(bytes: Uint8Array, size: number): boolean {
    if (isLargeArea(this.#switchCount) && this.available === 0) this.#switchArea(this.#smallArea);
    return this.#freeBytes(size) >= size && this.write(bytes, size) === size;
  }

  /** Copies in as much of the first `size` bytes as there is room for, and says how much that was. */
  write(bytes: Uint8Array, size: number = bytes.length): number {
    let written = 0;
    for (let step = 1; step > 0 && written < size; written += step)
      step = this.#writeStep(bytes, written, Math.min(size, written + COPY_STEP_BYTES));
    return written;
  }

  /** The next bytes in memory of their own, at most so many. */
  read(maxBytes: number): Uint8Array {
    const count = Math.min(maxBytes, this.available, this.#bytesUntilSwitch());
    const from = this.#offsetOf(TAIL);
    const isContiguous = from + count <= this.#area.length;
    const bytes = isContiguous ? this.#area.slice(from, from + count) : new Uint8Array(count);
    if (isContiguous) this.#advanceTail(count);
    else this.readInto(bytes);
    return bytes;
  }

  /** Fills a piece with the next bytes as far as there are any, and says how many that were. */
  readInto(target: Uint8Array): number {
    const count = Math.min(target.length, this.available);
    for (let read = 0, step = 0; read < count; read += step) {
      step = Math.min(count - read, COPY_STEP_BYTES, this.#bytesUntilSwitch());
      const from = this.#offsetOf(TAIL);
      step = Math.min(step, this.#area.length - from);
      target.set(this.#area.subarray(from, from + step), read);
      this.#advanceTail(step);
    }
    return count;
  }

  /** Says that nothing more will be written, and wakes the reader if its thread is blocked. */
  end(): void {
    Atomics.store(this.#words, this.#wordOffset + ENDED, 1);
    this.wakeReader();
  }

  /** Whether the reader may sleep now; it may not when there is something to be read. */
  prepareReaderSleep(mode: WakeMode): boolean {
    Atomics.store(this.#words, this.#wordOffset + READER_STATE, mode);
    if (this.available === 0 && !(mode === WAKE_BY_FUTEX && this.isEnded)) return true;
    this.markReaderRunning();
    return false;
  }

  /** Whether the writer may sleep now; it may not when there is much room. */
  prepareWriterSleep(mode: WakeMode): boolean {
    Atomics.store(this.#words, this.#wordOffset + WRITER_STATE, mode);
    if (!this.isHalfEmpty) return true;
    this.markWriterRunning();
    return false;
  }

  markReaderRunning(): void {
    Atomics.store(this.#words, this.#wordOffset + READER_STATE, RUNNING);
  }

  markWriterRunning(): void {
    Atomics.store(this.#words, this.#wordOffset + WRITER_STATE, RUNNING);
  }

  /** Whether the reader sleeps, and must be woken. */
  get isReaderAsleep(): boolean {
    return Atomics.load(this.#words, this.#wordOffset + READER_STATE) !== RUNNING;
  }

  /** Wakes the reader if its thread is blocked; true if it is to be rung. */
  wakeReader(): boolean {
    return this.#wake(READER_STATE, HEAD);
  }

  /** Wakes the writer if its thread is blocked; true if it is to be rung. */
  wakeWriter(): boolean {
    return this.#wake(WRITER_STATE, TAIL);
  }

  /** Blocks the reader's thread for so many milliseconds, or until it is woken. */
  sleepReader(milliseconds: number): void {
    // The reader's own look found head and tail alike: any other head is news.
    this.#memory.futexWait((this.#wordOffset + HEAD) * 4, this.#words[this.#wordOffset + TAIL] as number, milliseconds);
  }

  /** Blocks the writer's thread for so many milliseconds, or until it is woken. */
  sleepWriter(milliseconds: number): void {
    const tail = Atomics.load(this.#words, this.#wordOffset + TAIL);
    if (!this.isHalfEmpty) this.#memory.futexWait((this.#wordOffset + TAIL) * 4, tail, milliseconds);
  }

  /** Whether something comes to be read while this looks so many times. */
  spinForData(iterations: number): boolean {
    const words = this.#words;
    const tail = words[this.#wordOffset + TAIL];
    for (let i = 0; i < iterations; i++) if (Atomics.load(words, this.#wordOffset + HEAD) !== tail) return true;
    return false;
  }

  /** How much room there is; only where that seems to be less than what is wanted, it is looked up. */
  #freeBytes(wantedBytes: number): number {
    const capacity = this.#area.length;
    const head = this.#words[this.#wordOffset + HEAD] as number;
    const cached = capacity - ((head - this.#cachedTail) >>> 0);
    if (cached >= wantedBytes) return cached;
    const { available } = this;
    this.#updateReaderArea();
    // What is still to be read in the other area takes no room in this one.
    this.#cachedTail = this.#isReaderBehind ? this.#areaStart : (head - available) | 0;
    return capacity - ((head - this.#cachedTail) >>> 0);
  }

  /** Copies in as much of the bytes between `start` and `end` as there is room for without a break, and says how much that was. */
  #writeStep(bytes: Uint8Array, start: number, end: number): number {
    const words = this.#words;
    const head = words[this.#wordOffset + HEAD] as number;
    const from = this.#offsetOf(HEAD);
    const target = this.#area;
    const count = Math.min(end - start, this.#freeBytes(end - start), target.length - from);
    copyBytes(bytes, start, start + count, target, from);
    if (count > 0) Atomics.store(words, this.#wordOffset + HEAD, (head + count) | 0);
    return count;
  }

  /** What is written from now on goes into that area, from its beginning. */
  #switchArea(area: Uint8Array): void {
    const head = this.#words[this.#wordOffset + HEAD] as number;
    this.#area = area;
    this.#areaStart = this.#cachedTail = head;
    this.#isReaderBehind = true;
    this.#switchCount = (this.#switchCount + 1) | 0;
    Atomics.store(this.#words, this.#wordOffset + SWITCH_POSITION, head);
    Atomics.store(this.#words, this.#wordOffset + SWITCH_COUNT, this.#switchCount);
  }

  /** Whether the reader has followed the last turn: it has, when it has read behind that. */
  #updateReaderArea(): void {
    if (this.#isReaderBehind && ((Atomics.load(this.#words, this.#wordOffset + TAIL) - this.#areaStart) | 0) > 0)
      this.#isReaderBehind = false;
  }

  /** How many bytes the reader may read before the writer's next turn; at the turn, it follows. */
  #bytesUntilSwitch(): number {
    const switchCount = Atomics.load(this.#words, this.#wordOffset + SWITCH_COUNT);
    if (switchCount === this.#switchCount) return Number.POSITIVE_INFINITY;
    const left =
      (Atomics.load(this.#words, this.#wordOffset + SWITCH_POSITION) -
        (this.#words[this.#wordOffset + TAIL] as number)) >>>
      0;
    if (left > 0) return left;
    const area = isLargeArea(switchCount) ? this.#largeArea : this.#smallArea;
    if (area === undefined) throw corruptRingError();
    this.#area = area;
    this.#areaStart = this.#words[this.#wordOffset + TAIL] as number;
    this.#switchCount = switchCount;
    return Number.POSITIVE_INFINITY;
  }

  /** Where a byte lies in the area in use, which is a power of two long. */
  #offsetOf(word: number): number {
    return ((this.#words[this.#wordOffset + word] as number) - this.#areaStart) & (this.#area.length - 1);
  }

  #advanceTail(count: number): void {
    const index = this.#wordOffset + TAIL;
    Atomics.store(this.#words, index, ((this.#words[index] as number) + count) | 0);
  }

  #wake(stateWord: number, word: number): boolean {
    const index = this.#wordOffset + stateWord;
    const mode = Atomics.load(this.#words, index);
    if (mode === RUNNING || Atomics.compareExchange(this.#words, index, mode, RUNNING) !== mode) return false;
    if (mode === WAKE_BY_FUTEX) this.#memory.futexWake((this.#wordOffset + word) * 4, 1);
    return mode === WAKE_BY_DOORBELL;
  }
}

function isLargeArea(switchCount: number): boolean {
  return (switchCount & 1) !== 0;
}

function corruptRingError(): ProtocolError {
  return new ProtocolError("The other side has spoiled the memory of this channel");
}
