/**
 * A lock-free SPSC ring buffer of bytes in shared memory (single producer, single consumer): one
 * direction of a channel.
 *
 * ```text
 *   word  0 HEAD             bytes ever written, modulo 2^32; the writer advances it after the copy
 *        16 TAIL             bytes ever read, modulo 2^32; the reader advances it after the copy
 *        32 READER_STATE     RUNNING, or how to wake the sleeping reader (futex: HEAD)
 *        48 WRITER_STATE     RUNNING, or how to wake the writer that waits for room (futex: TAIL)
 *        64 ENDED            whether the writer has ended: it writes nothing more
 *        80 SWITCH_COUNT     how often the writer has switched areas; odd: the large area is in use
 *        96 SWITCH_POSITION  the position of the last switch, counted like HEAD and TAIL
 *       112 HAS_LARGE_AREA   whether the reader has attached the large area
 * ```
 *
 * **Cache lines.** The words are 64 bytes apart, so the writer and the reader do not share a cache
 * line by accident.
 *
 * **Two areas.** The small area stays in the CPU caches. The large area has room for a whole large
 * message, so the writer does not wait until the reader has allocated memory for that message. The
 * writer switches to the large area once the reader has followed the last switch, or if it has
 * written nothing since. It switches back when everything was read. The first byte after a switch
 * is at the start of the area.
 *
 * **Crash safety.** A process that is killed during a copy has not advanced HEAD or TAIL yet, so
 * nothing of it is visible.
 *
 * **No lost wake-ups.** A side that goes to sleep sets its state, then checks the ring again. The
 * other side advances HEAD or TAIL, then reads the state. All four accesses are sequentially
 * consistent.
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

/** Size of the large area. */
export const LARGE_AREA_BYTES: number = 8 * 1024 * 1024;

/** How to wake a sleeping thread; 0 if it does not sleep. */
export type WakeMode = 0 | 1 | 2;
const RUNNING: WakeMode = 0;
/** The thread sleeps in its event loop: a message on the socket wakes it. */
export const WAKE_BY_DOORBELL = 1;
/** The thread is blocked on a futex. */
export const WAKE_BY_FUTEX = 2;

/**
 * A long write advances HEAD after each step of this size. So the reader copies one step while the
 * writer copies the next.
 */
const COPY_STEP_BYTES = 32 * 1024;

/** One side of the ring, either its writer or its reader. */
export class SpscByteRing {
  /** Number of control words, of 4 bytes each. */
  static readonly CONTROL_WORDS = 128;
  readonly #memory: SharedSegment;
  readonly #words: Int32Array;
  readonly #wordOffset: number;
  readonly #smallArea: Uint8Array;
  readonly #smallView: DataView;
  readonly #reservation = new ByteWriter(0);
  #largeArea: Uint8Array | undefined;
  /** The area in use, and the position at its start. */
  #area: Uint8Array;
  #areaStart = 0;
  /** The last switch that this side has made or followed. */
  #switchCount = 0;
  /** Whether the reader may not have followed the last switch; for the writer. */
  #isReaderBehind = false;
  /**
   * The last TAIL that the writer has read. It reads TAIL rarely, since that misses its cache while
   * the reader moves it.
   */
  #cachedTail = 0;

  /**
   * @param wordOffset start of the control words, in words of 4 bytes
   * @param areaOffset start of the small area, in bytes
   * @param capacity size of the small area in bytes; a power of two
   */
  constructor(memory: SharedSegment, wordOffset: number, areaOffset: number, capacity: number) {
    this.#memory = memory;
    this.#words = new Int32Array(memory.buffer);
    this.#wordOffset = wordOffset;
    this.#area = this.#smallArea = new Uint8Array(memory.buffer, areaOffset, capacity);
    this.#smallView = new DataView(memory.buffer, areaOffset, capacity);
  }

  /**
   * Bytes that can be read at this moment.
   *
   * @throws {ProtocolError} if the peer has corrupted the memory
   */
  get available(): number {
    const words = this.#words;
    const available =
      (Atomics.load(words, this.#wordOffset + HEAD) - Atomics.load(words, this.#wordOffset + TAIL)) >>> 0;
    if (available > this.#smallArea.length + (this.#largeArea?.length ?? 0)) throw corruptRingError();
    return available;
  }

  /** Whether at least half of the area in use is free, so that waking a waiting writer pays off. */
  get isHalfEmpty(): boolean {
    const switchCount = Atomics.load(this.#words, this.#wordOffset + SWITCH_COUNT);
    return this.available <= (isLargeArea(switchCount) ? LARGE_AREA_BYTES : this.#smallArea.length) / 2;
  }

  /** Whether this side has the large area. */
  get hasLargeArea(): boolean {
    return this.#largeArea !== undefined;
  }

  /** Gives the writer the large area. It is used once the reader has attached it. */
  offerLargeArea(area: Uint8Array): void {
    this.#largeArea = area;
  }

  /** Gives the reader the large area. */
  attachLargeArea(area: Uint8Array): void {
    this.#largeArea = area;
    Atomics.store(this.#words, this.#wordOffset + HAS_LARGE_AREA, 1);
  }

  /** Switches the writer to the large area, if that is possible now. */
  useLargeArea(): void {
    if (
      isLargeArea(this.#switchCount) ||
      this.#largeArea === undefined ||
      Atomics.load(this.#words, this.#wordOffset + HAS_LARGE_AREA) === 0
    )
      return;
    this.#updateIsReaderBehind();
    if (!this.#isReaderBehind || this.#words[this.#wordOffset + HEAD] === this.#areaStart)
      this.#switchArea(this.#largeArea);
  }

  /** Whether the writer has ended. */
  get isEnded(): boolean {
    return Atomics.load(this.#words, this.#wordOffset + ENDED) !== 0;
  }

  /**
   * Reserves contiguous room for the next bytes, so that they are written in place. The caller
   * writes and calls {@link SpscByteRing.commit} at once.
   *
   * @returns undefined if there is no contiguous room for `wantedBytes`
   * @throws {ProtocolError} if the peer has corrupted the memory
   */
  reserve(wantedBytes: number): ByteWriter | undefined {
    if (isLargeArea(this.#switchCount)) return undefined;
    const from = this.#offsetOf(HEAD);
    const room = Math.min(this.#freeBytes(wantedBytes), this.#smallArea.length - from);
    if (room < wantedBytes) return undefined;
    this.#reservation.borrow(this.#smallArea, this.#smallView, from, from + room);
    return this.#reservation;
  }

  /**
   * Publishes the bytes in the reservation; returns false if they outgrew it, and the writer moved
   * them to other memory.
   */
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

  /**
   * Writes the first `size` bytes if there is room for all of them.
   *
   * @throws {ProtocolError} if the peer has corrupted the memory
   */
  tryWrite(bytes: Uint8Array, size: number): boolean {
    if (isLargeArea(this.#switchCount) && this.available === 0) this.#switchArea(this.#smallArea);
    return this.#freeBytes(size) >= size && this.write(bytes, size) === size;
  }

  /** Writes as many of the first `size` bytes as there is room for; returns how many. */
  write(bytes: Uint8Array, size: number = bytes.length): number {
    let written = 0;
    for (let step = 1; step > 0 && written < size; written += step)
      step = this.#writeStep(bytes, written, Math.min(size, written + COPY_STEP_BYTES));
    return written;
  }

  /** Reads up to `maxBytes` into new memory. */
  read(maxBytes: number): Uint8Array {
    const count = Math.min(maxBytes, this.available, this.#bytesUntilSwitch());
    const from = this.#offsetOf(TAIL);
    const isContiguous = from + count <= this.#area.length;
    const bytes = isContiguous ? this.#area.slice(from, from + count) : new Uint8Array(count);
    if (isContiguous) this.#advanceTail(count);
    else this.readInto(bytes);
    return bytes;
  }

  /** Reads into `target` what is available; returns how many bytes. */
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

  /** Marks the end of the stream, and wakes the reader if its thread is blocked. */
  end(): void {
    Atomics.store(this.#words, this.#wordOffset + ENDED, 1);
    this.wakeReader();
  }

  /**
   * Announces that the reader sleeps. If there is something to read, it withdraws this and returns
   * false. A reader that would block also stays awake if the writer has ended.
   */
  prepareReaderSleep(mode: WakeMode): boolean {
    Atomics.store(this.#words, this.#wordOffset + READER_STATE, mode);
    if (this.available === 0 && !(mode === WAKE_BY_FUTEX && this.isEnded)) return true;
    this.markReaderRunning();
    return false;
  }

  /**
   * Announces that the writer sleeps. If at least half of the area is free, it withdraws that and
   * returns false.
   */
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

  /** Whether the reader sleeps and must be woken. */
  get isReaderAsleep(): boolean {
    return Atomics.load(this.#words, this.#wordOffset + READER_STATE) !== RUNNING;
  }

  /**
   * Wakes the reader if its thread is blocked; returns true if the caller must ring its doorbell
   * instead.
   */
  wakeReader(): boolean {
    return this.#wake(READER_STATE, HEAD);
  }

  /**
   * Wakes the writer if its thread is blocked; returns true if the caller must ring its doorbell
   * instead.
   */
  wakeWriter(): boolean {
    return this.#wake(WRITER_STATE, TAIL);
  }

  /** Blocks the reader's thread until it is woken, for `milliseconds` at most. */
  sleepReader(milliseconds: number): void {
    // The reader has found HEAD equal to TAIL, so another value of HEAD means that there is data.
    this.#memory.futexWait((this.#wordOffset + HEAD) * 4, this.#words[this.#wordOffset + TAIL] as number, milliseconds);
  }

  /** Blocks the writer's thread until it is woken, for `milliseconds` at most. */
  sleepWriter(milliseconds: number): void {
    const tail = Atomics.load(this.#words, this.#wordOffset + TAIL);
    if (!this.isHalfEmpty) this.#memory.futexWait((this.#wordOffset + TAIL) * 4, tail, milliseconds);
  }

  /** Spins until there is data, for `iterations` at most; returns whether there is any. */
  spinForData(iterations: number): boolean {
    const words = this.#words;
    const tail = words[this.#wordOffset + TAIL];
    for (let i = 0; i < iterations; i++) if (Atomics.load(words, this.#wordOffset + HEAD) !== tail) return true;
    return false;
  }

  /**
   * Returns the free bytes of the area in use. It reads TAIL only if the cached TAIL leaves less
   * room than `wantedBytes`.
   */
  #freeBytes(wantedBytes: number): number {
    const capacity = this.#area.length;
    const head = this.#words[this.#wordOffset + HEAD] as number;
    const cached = capacity - ((head - this.#cachedTail) >>> 0);
    if (cached >= wantedBytes) return cached;
    const { available } = this;
    this.#updateIsReaderBehind();
    // Unread bytes in the other area take no room in this one.
    this.#cachedTail = this.#isReaderBehind ? this.#areaStart : (head - available) | 0;
    return capacity - ((head - this.#cachedTail) >>> 0);
  }

  /**
   * Writes as many of the bytes from `start` to `end` as there is contiguous room for; returns how
   * many.
   */
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

  /** Makes the writer continue at the start of `area`. */
  #switchArea(area: Uint8Array): void {
    const head = this.#words[this.#wordOffset + HEAD] as number;
    this.#area = area;
    this.#areaStart = this.#cachedTail = head;
    this.#isReaderBehind = true;
    this.#switchCount = (this.#switchCount + 1) | 0;
    Atomics.store(this.#words, this.#wordOffset + SWITCH_POSITION, head);
    Atomics.store(this.#words, this.#wordOffset + SWITCH_COUNT, this.#switchCount);
  }

  /**
   * Updates `#isReaderBehind`. The reader has followed the last switch once TAIL is beyond the
   * position of the switch.
   */
  #updateIsReaderBehind(): void {
    if (this.#isReaderBehind && ((Atomics.load(this.#words, this.#wordOffset + TAIL) - this.#areaStart) | 0) > 0)
      this.#isReaderBehind = false;
  }

  /**
   * Returns how many bytes the reader may read before it reaches the writer's last switch. At the
   * position of the switch, the reader follows it.
   */
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

  /** The offset of HEAD or TAIL in the area in use, whose size is a power of two. */
  #offsetOf(word: number): number {
    return ((this.#words[this.#wordOffset + word] as number) - this.#areaStart) & (this.#area.length - 1);
  }

  #advanceTail(count: number): void {
    const index = this.#wordOffset + TAIL;
    Atomics.store(this.#words, index, ((this.#words[index] as number) + count) | 0);
  }

  /** @param futexWord the word that a blocked thread waits on: HEAD or TAIL */
  #wake(stateWord: number, futexWord: number): boolean {
    const index = this.#wordOffset + stateWord;
    const mode = Atomics.load(this.#words, index);
    if (mode === RUNNING || Atomics.compareExchange(this.#words, index, mode, RUNNING) !== mode) return false;
    if (mode === WAKE_BY_FUTEX) this.#memory.futexWake((this.#wordOffset + futexWord) * 4, 1);
    return mode === WAKE_BY_DOORBELL;
  }
}

const isLargeArea = (switchCount: number): boolean => (switchCount & 1) !== 0;

function corruptRingError(): ProtocolError {
  return new ProtocolError("The peer has corrupted the shared memory of this channel");
}
