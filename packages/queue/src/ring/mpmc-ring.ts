/**
 * The items of a queue in memory that all its processes have in common: a ring of records.
 *
 * ```text
 *   words   0  lock of those who put (robust-lock.ts)
 *          32  head: where the next record comes | SHUT_DOWN | CLOSED
 *          48  tail: where the first record is | CLOSED
 *          64  maxSize; how often the head has passed a quarter of all numbers; length of the text at ADDRESS
 *          80  those who wait for an item, then those who wait for room (wait-list.ts)
 *   ADDRESS where the large parts of items are (bulk.ts), as JSON, once there have been some
 *   DATA    records (ring-records.ts)
 * ```
 *
 * Head and tail count bytes, and only ever grow, modulo 2^32. The number of the record that comes next, and where its large parts
 * will begin, are written where it will stand before the head gets there. So head and tail tell all there is to know, also how
 * many items are between them.
 *
 * **Putting.** The lock only keeps those who put from one another. They write records behind the head and then move it by one
 * compare-and-swap, before which nothing has happened: all that is put together comes together, or not at all.
 *
 * **Taking** has no lock: whoever has read the record at the tail takes it by moving the tail from there by one
 * compare-and-swap. It fails if the tail has moved meanwhile, and then what was read may be anything. Several records are
 * read at once, and taken one by one.
 *
 * **Death, and standing still.** Whoever is killed, or stopped, has done all of a step or nothing of it, so there is nothing to
 * repair. One that is stopped while it takes keeps nobody from anything. One that is stopped while it has the lock keeps
 * others from putting until it goes on or is killed, and from nothing else; they wait in their event loops.
 *
 * **Waking.** Nobody can sleep through what it waits for. Who waits announces itself and then looks; who changes something
 * changes it and then looks who has announced itself. All four are sequentially consistent, so of two that do so at once at
 * least one sees the other. If who was woken dies before it has looked, the others find out by themselves, since each looks
 * again twice a second, and more often at first.
 *
 * **Large parts** lie in memory of its own, which the home makes when the first comes, since it lives as long as the queue. They are
 * written before the head is moved, and copied before the tail is.
 *
 * **Leaving.** What does not fit in here (a very large item, more items than there is room for while nobody takes any, a process
 * that cannot map memory) is no reason to fail: the home then *closes* the ring for good and keeps the items itself, as
 * `protocol.ts` tells. It marks head and tail, after which neither can be moved, and takes over what is between them, so that
 * items stay in order; everyone else finds the ring closed at its next step and turns to the home, which is why that never
 * processes a message before it has taken the items over.
 */
import { type Frame, host, RobustMutex, SharedSegment, WaitQueue, WOULD_BLOCK } from "@multiproc/core/internal";
import { LargePayloadArea } from "./large-payloads.ts";
import { fits, needsLargeArea, POSITION_MASK, RECORDS_BYTES, RingRecords, wholeRecordSize } from "./records.ts";

const HEAD_WORD = 32;
const TAIL_WORD = 48;
const MAX_SIZE_WORD = 64;
const QUARTER_COUNT_WORD = 65;
const AREA_ADDRESS_LENGTH_WORD = 66;
const WAIT_QUEUES_WORD = 80;
const CLOSED_BIT = 1;
const SHUT_DOWN_BIT = 2;
/** So many threads can be woken; more would look by themselves. */
const WAITER_SLOT_COUNT = 64;
/**
 * Milliseconds between two looks of who is not woken, so that to wait costs nothing. The death of the home is told by the
 * channel to it; only one that blocks its thread finds it by looking.
 */
const MAX_RECHECK_MS = 500;
const WAIT_QUEUE_WORD_COUNT = WaitQueue.wordCount(WAITER_SLOT_COUNT);
const AREA_ADDRESS_OFFSET = (WAIT_QUEUES_WORD + 2 * WAIT_QUEUE_WORD_COUNT) * 4;
const MAX_AREA_ADDRESS_BYTES = 1024;
const RECORDS_OFFSET = Math.ceil((AREA_ADDRESS_OFFSET + MAX_AREA_ADDRESS_BYTES) / 4096) * 4096;
/** So many bytes are read at once: few where several take, since then most of them are another's. */
const MIN_READ_BYTES = 256;
const MAX_READ_BYTES = 8 * 1024;
/** Who waits for room in an unbounded queue is woken when so many bytes are left, or it would be woken for each. */
const WAKE_PUTTERS_BELOW_BYTES = RECORDS_BYTES / 2;
/** Milliseconds to wait for another that puts, before waiting in the event loop. */
const LOCK_TIMEOUT_MS = 10;

/** What came of a put. */
export type PutResult = "accepted" | "full" | "no space" | "busy" | "shut down" | "closed";

const NO_BYTES = new Uint8Array(0);

/** A ring; see the head of this file. */
export class MpmcRing {
  /** Those who wait for an item. */
  readonly getters: WaitQueue;
  /** Those who wait for room. */
  readonly putters: WaitQueue;
  readonly memory: SharedSegment;
  readonly #words: Int32Array;
  readonly #records: RingRecords;
  readonly #lock: RobustMutex;
  #largeArea: LargePayloadArea | undefined;
  /** What has been read and may be taken, and where it stood. */
  #readBytes: Uint8Array = NO_BYTES;
  #readPosition = 0;
  #readSize = MIN_READ_BYTES;
  #quarterCount = 0;
  /** The next record that may be taken, and where the tail is as long as nobody else has. */
  #nextPosition = 0;
  #expectedTail = 0;

  private constructor(memory: SharedSegment) {
    this.memory = memory;
    this.#words = new Int32Array(memory.buffer, 0, RECORDS_OFFSET / 4);
    this.#records = new RingRecords(memory, RECORDS_OFFSET, () => this.#attachedLargeArea());
    this.#lock = new RobustMutex(memory, 0, 0);
    this.getters = new WaitQueue(memory, WAIT_QUEUES_WORD, WAITER_SLOT_COUNT, MAX_RECHECK_MS);
    this.putters = new WaitQueue(memory, WAIT_QUEUES_WORD + WAIT_QUEUE_WORD_COUNT, WAITER_SLOT_COUNT, MAX_RECHECK_MS);
  }

  /** Makes an empty ring. @param maxSize how many items it holds; 0 for as many as fit */
  static create(maxSize: number): MpmcRing {
    const ring = MpmcRing.of(SharedSegment.create(RECORDS_OFFSET + RECORDS_BYTES));
    ring.#words[MAX_SIZE_WORD] = maxSize;
    return ring;
  }

  /** The ring in that memory. */
  static of(memory: SharedSegment): MpmcRing {
    return memory.singleton("queue.MpmcRing", () => new MpmcRing(memory));
  }

  get size(): number {
    const words = this.#words;
    let tail: number;
    let count: number;
    do {
      tail = Atomics.load(words, TAIL_WORD);
      count = this.#records.sequenceAt(Atomics.load(words, HEAD_WORD)) - this.#records.sequenceAt(tail);
      // As long as the tail stands still, nobody writes over what is behind it.
    } while (Atomics.compareExchange(words, TAIL_WORD, tail, tail) !== tail);
    return count | 0;
  }

  get isEmpty(): boolean {
    return ((Atomics.load(this.#words, TAIL_WORD) ^ Atomics.load(this.#words, HEAD_WORD)) & POSITION_MASK) === 0;
  }

  /** Whether nobody has taken anything yet. */
  get isUntouched(): boolean {
    return (Atomics.load(this.#words, TAIL_WORD) & POSITION_MASK) === 0;
  }

  get isFull(): boolean {
    const maxSize = this.#words[MAX_SIZE_WORD] as number;
    return maxSize > 0 && this.size >= maxSize;
  }

  get isShutDown(): boolean {
    return (Atomics.load(this.#words, HEAD_WORD) & SHUT_DOWN_BIT) !== 0;
  }

  /** Whether the home keeps the items itself now. */
  get isClosed(): boolean {
    return (Atomics.load(this.#words, HEAD_WORD) & CLOSED_BIT) !== 0;
  }

  /** Whether there is a place for large parts. */
  get hasLargeArea(): boolean {
    return Atomics.load(this.#words, AREA_ADDRESS_LENGTH_WORD) !== 0;
  }

  /** Makes a place for large parts; that is the home's to do, since it must outlive all others. */
  addLargeArea(): void {
    if (this.hasLargeArea) return;
    const area = LargePayloadArea.create();
    const text = new TextEncoder().encode(JSON.stringify(area.memory.address()));
    new Uint8Array(this.memory.buffer, AREA_ADDRESS_OFFSET, MAX_AREA_ADDRESS_BYTES).set(text);
    this.#largeArea = area;
    Atomics.store(this.#words, AREA_ADDRESS_LENGTH_WORD, text.length);
    this.putters.wake(Number.POSITIVE_INFINITY);
  }

  /** Whether a frame has a place in a ring. */
  fits(frame: Frame): boolean {
    return fits(frame);
  }

  /** Whether it takes a place for large parts. */
  needsLargeArea(frame: Frame): boolean {
    return needsLargeArea(frame);
  }

  /** Puts frames that fit, all of them or none: if there is room for them at this moment. */
  put(frames: readonly Frame[]): PutResult {
    if (this.isClosed) return "closed";
    if (this.#lock.acquireSync(LOCK_TIMEOUT_MS) === WOULD_BLOCK) return "busy";
    let result: PutResult;
    try {
      result = this.#put(frames);
    } finally {
      this.#lock.release();
    }
    if (result === "accepted") this.getters.wake(frames.length);
    return result;
  }

  /**
   * Takes the first item, if there is one.
   *
   * @param accept throws if the caller can do nothing with the item, which stays then
   * @throws if it has large parts, and their memory cannot be mapped here
   */
  take(accept?: (frame: Frame) => void): Frame | undefined {
    const words = this.#words;
    while (this.#isNextRead() || this.#readMore()) {
      const tail = this.#expectedTail;
      const readBytes = this.#readBytes;
      const frame = this.#nextFrame();
      if (accept !== undefined) this.#checkAccepted(accept, frame, tail);
      if (Atomics.compareExchange(words, TAIL_WORD, tail, this.#expectedTail) === tail) {
        if ((words[MAX_SIZE_WORD] as number) > 0 || frame.bytes !== readBytes || frame.parts.length > 0)
          this.putters.wake(1);
        return frame;
      }
      this.#readBytes = NO_BYTES;
      this.#readSize = MIN_READ_BYTES;
    }
    return undefined;
  }

  /** Refuses puts from now on; with `immediate`, drops what is there. False if the ring is closed. */
  shutDown(immediate: boolean): boolean {
    const words = this.#words;
    const head = Atomics.or(words, HEAD_WORD, SHUT_DOWN_BIT);
    if ((head & CLOSED_BIT) !== 0) return false;
    while (immediate) {
      const tail = Atomics.load(words, TAIL_WORD);
      if ((tail & CLOSED_BIT) !== 0) return false;
      if (Atomics.compareExchange(words, TAIL_WORD, tail, head & POSITION_MASK) === tail) break;
    }
    this.#wakeAll();
    return true;
  }

  /** Closes the ring for good and hands over what is in it. */
  close(): Frame[] {
    const head = Atomics.or(this.#words, HEAD_WORD, CLOSED_BIT) & POSITION_MASK;
    const tail = Atomics.or(this.#words, TAIL_WORD, CLOSED_BIT);
    const frames: Frame[] = [];
    if ((tail & CLOSED_BIT) !== 0) return frames;
    for (this.#expectedTail = tail; this.#expectedTail !== head; frames.push(this.#nextFrame())) {
      this.#readPosition = this.#nextPosition = this.#records.recordStart(this.#expectedTail);
      this.#readBytes = this.#records.copy(this.#nextPosition, this.#records.sizeAt(this.#nextPosition));
    }
    this.#readBytes = NO_BYTES;
    this.#wakeAll();
    return frames;
  }

  #checkAccepted(accept: (frame: Frame) => void, frame: Frame, tail: number): void {
    try {
      accept(frame);
    } catch (error) {
      this.#readBytes = NO_BYTES;
      // Another may have taken it meanwhile; then the next attempt finds so.
      if (Atomics.load(this.#words, TAIL_WORD) === tail) throw error;
    }
  }

  #wakeAll(): void {
    this.getters.wake(Number.POSITIVE_INFINITY);
    this.putters.wake(Number.POSITIVE_INFINITY);
  }

  #put(frames: readonly Frame[]): PutResult {
    const words = this.#words;
    while (true) {
      const head = Atomics.load(words, HEAD_WORD);
      if ((head & CLOSED_BIT) !== 0) return "closed";
      if ((head & SHUT_DOWN_BIT) !== 0) return "shut down";
      const tail = Atomics.load(words, TAIL_WORD) & POSITION_MASK;
      const sequence = this.#records.sequenceAt(head);
      const maxSize = words[MAX_SIZE_WORD] as number;
      if (maxSize > 0 && sequence - this.#records.sequenceAt(tail) + frames.length > maxSize) return "full";
      const end = this.#records.write(frames, head, tail);
      if (end === undefined) return "no space";
      if (((head ^ end) & (3 << 30)) !== 0) Atomics.add(words, QUARTER_COUNT_WORD, 1);
      // The home may close the ring meanwhile, and anybody may shut the queue down.
      if (Atomics.compareExchange(words, HEAD_WORD, head, end) === head) return "accepted";
    }
  }

  /** Where large parts are, once there is such a place. @throws if this process cannot map it */
  #attachedLargeArea(): LargePayloadArea | undefined {
    if (this.#largeArea === undefined && this.hasLargeArea) {
      const text = new Uint8Array(
        this.memory.buffer,
        AREA_ADDRESS_OFFSET,
        Atomics.load(this.#words, AREA_ADDRESS_LENGTH_WORD),
      );
      this.#largeArea = LargePayloadArea.attach(JSON.parse(host.utf8Read(text, 0, text.length)));
    }
    return this.#largeArea;
  }

  /** Whether the next record has been read. */
  #isNextRead(): boolean {
    // The tail may come to stand where it stood after 2^32 bytes have gone through; by then the head has passed some quarters.
    return (
      wholeRecordSize(this.#readBytes, this.#nextPosition - this.#readPosition) > 0 &&
      this.#quarterCount === Atomics.load(this.#words, QUARTER_COUNT_WORD)
    );
  }

  /** Reads records from the tail on; false if there are none. */
  #readMore(): boolean {
    const words = this.#words;
    while (true) {
      this.#quarterCount = Atomics.load(words, QUARTER_COUNT_WORD);
      const tail = Atomics.load(words, TAIL_WORD);
      if ((tail & CLOSED_BIT) !== 0) return false;
      const used = ((Atomics.load(words, HEAD_WORD) & POSITION_MASK) - tail) >>> 0;
      if (used <= WAKE_PUTTERS_BELOW_BYTES) this.putters.wake(1);
      if (used === 0) return false;
      if (used > RECORDS_BYTES) continue; // the tail has moved meanwhile, and so may what is read
      const from = this.#records.recordStart(tail);
      const size = Math.max(this.#records.sizeAt(from), Math.min(this.#readSize, used - (from - tail)));
      const bytes = this.#records.copy(from, size);
      if (Atomics.compareExchange(words, TAIL_WORD, tail, tail) !== tail) continue;
      this.#readBytes = bytes;
      this.#readPosition = this.#nextPosition = from;
      this.#expectedTail = tail;
      this.#readSize = Math.min(2 * this.#readSize, MAX_READ_BYTES);
      return true;
    }
  }

  /** What the next record holds, which has been read; the one behind it is the next then. */
  #nextFrame(): Frame {
    const offset = this.#nextPosition - this.#readPosition;
    const frame = this.#records.frameIn(this.#readBytes, offset);
    this.#nextPosition = this.#expectedTail = (this.#nextPosition + wholeRecordSize(this.#readBytes, offset)) | 0;
    return frame;
  }
}
