/**
 * The items of a queue in shared memory: an MPMC ring buffer (many producers, many consumers) of
 * records. Producers share a lock, and consumers are lock-free.
 *
 * ```text
 *   words   0  robust mutex of the producers (robust-mutex.ts)
 *          32  head: where the next record will be written | SHUT_DOWN | CLOSED
 *          48  tail: where the first record is | CLOSED
 *          64  maxSize; how often the head has crossed a multiple of 2^30; length of the text at ADDRESS
 *          80  wait queue of the consumers, then that of the producers (wait-queue.ts)
 *   ADDRESS the address of the large-payload area (large-payloads.ts), as JSON, once it is allocated
 *   DATA    records (records.ts)
 * ```
 *
 * Head and tail count bytes and only grow, modulo 2^32. Before the head moves to a position, that
 * position holds the sequence number of the next record and the start of its large parts. Head and
 * tail are therefore the whole state, and also give the number of items.
 *
 * **Putting.** The mutex serializes the producers, and nothing else uses it. A producer writes
 * records from the head on, then moves the head by one compare-and-swap. Consumers see nothing of
 * the records before that. All frames of one put appear together or not at all.
 *
 * **Taking** has no lock. A consumer copies the record at the tail, then takes it by moving the
 * tail by one compare-and-swap. The swap fails if the tail has moved in between, and then the copy
 * may be garbage. A consumer copies several records at once, and takes them one by one.
 *
 * **Death and SIGSTOP.** A process that is killed or stopped has done all of a step or nothing of
 * it, so nothing needs repair. A consumer that is stopped while it takes delays no other process. A
 * producer that is stopped while it has the mutex delays the other producers until it continues or
 * is killed, or the ring is closed.
 *
 * **Waking.** No wakeup is lost. A waiting thread registers first and then checks the ring. A
 * thread that changes the ring changes it first and then checks for registered threads. All four
 * steps are sequentially consistent, so at least one of two threads that act at the same time sees
 * the other. If a woken thread dies before it checks, the others find the item themselves: each
 * checks twice a second, and more often at first.
 *
 * **Large parts** lie in an area of their own, which is allocated when the first one is put. The
 * owner process allocates it, because the area must live as long as the queue. Producers write large
 * parts before they move the head. Consumers copy large parts before they move the tail.
 *
 * **Closing.** The ring cannot serve every case: a very large item, more items than fit while no
 * process takes any, a process that cannot map memory. In these cases the owner process closes the
 * ring for good, and the broker keeps the items (`broker/protocol.ts`). Closing sets CLOSED in head
 * and tail, after which neither can move, and moves the items between them to the broker in order.
 * Every other process finds the ring closed at its next step, and sends its requests to the owner
 * process. The owner process never handles such a message before it has moved the items.
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
/** Threads that can wait at a wait queue and be woken. Further threads check by timer. */
const WAITER_SLOT_COUNT = 64;
/**
 * The longest time between two checks of a waiting thread that is not woken. It is long because a
 * wait should use no CPU. It may be long because the end of a channel reports the death of the owner
 * process. Only a blocked thread detects that death by these checks.
 */
const MAX_RECHECK_MS = 500;
const WAIT_QUEUE_WORD_COUNT = WaitQueue.wordCount(WAITER_SLOT_COUNT);
const AREA_ADDRESS_OFFSET = (WAIT_QUEUES_WORD + 2 * WAIT_QUEUE_WORD_COUNT) * 4;
const MAX_AREA_ADDRESS_BYTES = 1024;
const RECORDS_OFFSET = Math.ceil((AREA_ADDRESS_OFFSET + MAX_AREA_ADDRESS_BYTES) / 4096) * 4096;
/**
 * Bytes that a consumer copies at once. The number doubles with each copy. It returns to the minimum
 * when another consumer has taken a record of the copy, since the rest of the copy is wasted then.
 */
const MIN_READ_BYTES = 256;
const MAX_READ_BYTES = 8 * 1024;
/**
 * A producer that waits for memory is woken when at most this much of the ring is used. It then has
 * space for many items, so that one wakeup serves them all.
 */
const WAKE_PUTTERS_BELOW_BYTES = RECORDS_BYTES / 2;
/** How long a producer blocks its thread for the mutex. After that, the put is "busy". */
const LOCK_TIMEOUT_MS = 10;

/**
 * The result of a put. Only "accepted" has changed the ring.
 *
 * - "full": the queue holds `maxSize` items.
 * - "no space": the memory of the ring or of the large-payload area does not suffice.
 * - "busy": another producer has held the mutex for LOCK_TIMEOUT_MS.
 */
export type PutResult = "accepted" | "full" | "no space" | "busy" | "shut down" | "closed";

const NO_BYTES = new Uint8Array(0);

/** A ring; see the header of this file. */
export class MpmcRing {
  /** Threads that wait for an item. */
  readonly getters: WaitQueue;
  /** Threads that wait for space. */
  readonly putters: WaitQueue;
  readonly memory: SharedSegment;
  readonly #words: Int32Array;
  readonly #records: RingRecords;
  readonly #lock: RobustMutex;
  #largeArea: LargePayloadArea | undefined;
  /** A copy of the records at the tail, its position in the ring, and the size of the next copy. */
  #readBytes: Uint8Array = NO_BYTES;
  #readPosition = 0;
  #readSize = MIN_READ_BYTES;
  /** The word at QUARTER_COUNT_WORD when the copy was made. */
  #quarterCount = 0;
  /** The position of the next record of the copy. */
  #nextPosition = 0;
  /**
   * The value of the tail, if no other consumer has moved it. It differs from `#nextPosition` only
   * if the next record begins at the start of the memory and the tail is still before the end.
   */
  #expectedTail = 0;

  private constructor(memory: SharedSegment) {
    this.memory = memory;
    this.#words = new Int32Array(memory.buffer, 0, RECORDS_OFFSET / 4);
    this.#records = new RingRecords(memory, RECORDS_OFFSET, () => this.#attachedLargeArea());
    this.#lock = new RobustMutex(memory, 0, 0);
    this.getters = new WaitQueue(memory, WAIT_QUEUES_WORD, WAITER_SLOT_COUNT, MAX_RECHECK_MS);
    this.putters = new WaitQueue(memory, WAIT_QUEUES_WORD + WAIT_QUEUE_WORD_COUNT, WAITER_SLOT_COUNT, MAX_RECHECK_MS);
  }

  /**
   * Allocates an empty ring.
   *
   * @param maxSize the number of items that it holds; 0 for as many as fit
   */
  static create(maxSize: number): MpmcRing {
    const ring = MpmcRing.of(SharedSegment.create(RECORDS_OFFSET + RECORDS_BYTES));
    ring.#words[MAX_SIZE_WORD] = maxSize;
    return ring;
  }

  /** Returns the ring in a segment. Every call returns the same object for the same segment. */
  static of(memory: SharedSegment): MpmcRing {
    return memory.singleton("queue.MpmcRing", () => new MpmcRing(memory));
  }

  /** The number of items. */
  get size(): number {
    const words = this.#words;
    let tail: number;
    let count: number;
    do {
      tail = Atomics.load(words, TAIL_WORD);
      count = this.#records.sequenceAt(Atomics.load(words, HEAD_WORD)) - this.#records.sequenceAt(tail);
      // While the tail stays, no producer overwrites the records from the tail on.
    } while (Atomics.compareExchange(words, TAIL_WORD, tail, tail) !== tail);
    return count | 0;
  }

  get isEmpty(): boolean {
    return ((Atomics.load(this.#words, TAIL_WORD) ^ Atomics.load(this.#words, HEAD_WORD)) & POSITION_MASK) === 0;
  }

  /** Whether no consumer has ever taken an item. */
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

  /** Whether the items have moved to the broker. */
  get isClosed(): boolean {
    return (Atomics.load(this.#words, HEAD_WORD) & CLOSED_BIT) !== 0;
  }

  /** Whether the large-payload area is allocated. */
  get hasLargeArea(): boolean {
    return Atomics.load(this.#words, AREA_ADDRESS_LENGTH_WORD) !== 0;
  }

  /**
   * Allocates the large-payload area. Only the owner process may do so, since the area must live as
   * long as the queue.
   */
  addLargeArea(): void {
    if (this.hasLargeArea) return;
    const area = LargePayloadArea.create();
    const text = new TextEncoder().encode(JSON.stringify(area.memory.address()));
    new Uint8Array(this.memory.buffer, AREA_ADDRESS_OFFSET, MAX_AREA_ADDRESS_BYTES).set(text);
    this.#largeArea = area;
    Atomics.store(this.#words, AREA_ADDRESS_LENGTH_WORD, text.length);
    this.putters.wake(Number.POSITIVE_INFINITY);
  }

  /** Whether a frame fits into an empty ring. */
  fits(frame: Frame): boolean {
    return fits(frame);
  }

  /** Whether a frame has parts for the large-payload area. */
  needsLargeArea(frame: Frame): boolean {
    return needsLargeArea(frame);
  }

  /** Puts frames, all or none, if there is space for them at this moment. */
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
   * Takes the first item; returns undefined if there is none.
   *
   * @param accept throws if the caller cannot use the item; the item stays in the ring then
   * @throws if the item has large parts, and this process cannot map their memory
   */
  take(accept?: (frame: Frame) => void): Frame | undefined {
    const words = this.#words;
    while (this.#isNextRead() || this.#readMore()) {
      const tail = this.#expectedTail;
      const readBytes = this.#readBytes;
      const frame = this.#nextFrame();
      if (accept !== undefined) this.#checkAccepted(accept, frame, tail);
      if (Atomics.compareExchange(words, TAIL_WORD, tail, this.#expectedTail) === tail) {
        // A producer may wait for this item to leave, or for the memory of its large parts.
        if ((words[MAX_SIZE_WORD] as number) > 0 || frame.bytes !== readBytes || frame.parts.length > 0)
          this.putters.wake(1);
        return frame;
      }
      this.#readBytes = NO_BYTES;
      this.#readSize = MIN_READ_BYTES;
    }
    return undefined;
  }

  /**
   * Refuses puts from now on.
   *
   * @param immediate whether to drop the items in the ring
   * @returns false if the ring is closed
   */
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

  /** Closes the ring for good and returns its items. */
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
      // If the tail has moved, another consumer has the item, and `take()` continues with the next.
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
      // The swap fails if another process has set a flag of the head. Then the loop reads the flag.
      if (Atomics.compareExchange(words, HEAD_WORD, head, end) === head) return "accepted";
    }
  }

  /**
   * Returns the large-payload area; undefined if it is not allocated.
   *
   * @throws if this process cannot map it
   */
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

  /** Whether the copy holds the next record. */
  #isNextRead(): boolean {
    // ABA problem: after 2^32 bytes the tail has its old value again. By then the head has crossed
    // multiples of 2^30, so the changed count invalidates the copy.
    return (
      wholeRecordSize(this.#readBytes, this.#nextPosition - this.#readPosition) > 0 &&
      this.#quarterCount === Atomics.load(this.#words, QUARTER_COUNT_WORD)
    );
  }

  /** Copies records from the tail on. Returns false if the ring is empty or closed. */
  #readMore(): boolean {
    const words = this.#words;
    while (true) {
      this.#quarterCount = Atomics.load(words, QUARTER_COUNT_WORD);
      const tail = Atomics.load(words, TAIL_WORD);
      if ((tail & CLOSED_BIT) !== 0) return false;
      const used = ((Atomics.load(words, HEAD_WORD) & POSITION_MASK) - tail) >>> 0;
      if (used <= WAKE_PUTTERS_BELOW_BYTES) this.putters.wake(1);
      if (used === 0) return false;
      if (used > RECORDS_BYTES) continue; // the tail has moved since it was loaded
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

  /** Returns the frame of the next record of the copy, and advances to the record after it. */
  #nextFrame(): Frame {
    const offset = this.#nextPosition - this.#readPosition;
    const frame = this.#records.frameIn(this.#readBytes, offset);
    this.#nextPosition = this.#expectedTail = (this.#nextPosition + wholeRecordSize(this.#readBytes, offset)) | 0;
    return frame;
  }
}
