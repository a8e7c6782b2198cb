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
import { type Frame, host, Memory, REFUSED, RobustLock, WaitList } from "@multiproc/core/internal";
import { Bulk } from "./large-payloads.ts";
import { CAPACITY, fits, isLarge, POSITION, RingRecords, sizeIn } from "./records.ts";

const HEAD = 32;
const TAIL = 48;
const MAX_SIZE = 64;
const QUARTERS = 65;
const ADDRESS_LENGTH = 66;
const LISTS = 80;
const CLOSED = 1;
const SHUT_DOWN = 2;
/** So many threads can be woken; more would look by themselves. */
const SLOTS = 64;
/**
 * Milliseconds between two looks of who is not woken, so that to wait costs nothing. The death of the home is told by the
 * channel to it; only one that blocks its thread finds it by looking.
 */
const LONGEST_DELAY = 500;
const LIST_WORDS = WaitList.words(SLOTS);
const ADDRESS = (LISTS + 2 * LIST_WORDS) * 4;
const MAX_ADDRESS = 1024;
const DATA = Math.ceil((ADDRESS + MAX_ADDRESS) / 4096) * 4096;
/** So many bytes are read at once: few where several take, since then most of them are another's. */
const LEAST_READ = 256;
const MOST_READ = 8 * 1024;
/** Who waits for room in an unbounded queue is woken when so many bytes are left, or it would be woken for each. */
const HALF = CAPACITY / 2;
/** Milliseconds to wait for another that puts, before waiting in the event loop. */
const LOCK_PATIENCE = 10;

/** What came of a put. */
export type RingPut = "accepted" | "full" | "no space" | "busy" | "shut down" | "closed";

const NOTHING = new Uint8Array(0);

/** A ring; see the head of this file. */
export class Ring {
  /** Those who wait for an item. */
  readonly getters: WaitList;
  /** Those who wait for room. */
  readonly putters: WaitList;
  readonly memory: Memory;
  readonly #words: Int32Array;
  readonly #records: RingRecords;
  readonly #lock: RobustLock;
  #bulk: Bulk | undefined;
  /** What has been read and may be taken, and where it stood. */
  #read: Uint8Array = NOTHING;
  #readFrom = 0;
  #readSize = LEAST_READ;
  #quarters = 0;
  /** The next record that may be taken, and where the tail is as long as nobody else has. */
  #next = 0;
  #tail = 0;

  private constructor(memory: Memory) {
    this.memory = memory;
    this.#words = new Int32Array(memory.buffer, 0, DATA / 4);
    this.#records = new RingRecords(memory, DATA, () => this.#attached());
    this.#lock = new RobustLock(memory, 0, 0);
    this.getters = new WaitList(memory, LISTS, SLOTS, LONGEST_DELAY);
    this.putters = new WaitList(memory, LISTS + LIST_WORDS, SLOTS, LONGEST_DELAY);
  }

  /** Makes an empty ring. @param maxSize how many items it holds; 0 for as many as fit */
  static create(maxSize: number): Ring {
    const ring = Ring.of(Memory.create(DATA + CAPACITY));
    ring.#words[MAX_SIZE] = maxSize;
    return ring;
  }

  /** The ring in that memory. */
  static of(memory: Memory): Ring {
    return memory.part("queue.Ring", () => new Ring(memory));
  }

  get size(): number {
    const words = this.#words;
    let tail: number;
    let count: number;
    do {
      tail = Atomics.load(words, TAIL);
      count = this.#records.numberAt(Atomics.load(words, HEAD)) - this.#records.numberAt(tail);
      // As long as the tail stands still, nobody writes over what is behind it.
    } while (Atomics.compareExchange(words, TAIL, tail, tail) !== tail);
    return count | 0;
  }

  get isEmpty(): boolean {
    return ((Atomics.load(this.#words, TAIL) ^ Atomics.load(this.#words, HEAD)) & POSITION) === 0;
  }

  /** Whether nobody has taken anything yet. */
  get isUntouched(): boolean {
    return (Atomics.load(this.#words, TAIL) & POSITION) === 0;
  }

  get isFull(): boolean {
    const maxSize = this.#words[MAX_SIZE] as number;
    return maxSize > 0 && this.size >= maxSize;
  }

  get isShutDown(): boolean {
    return (Atomics.load(this.#words, HEAD) & SHUT_DOWN) !== 0;
  }

  /** Whether the home keeps the items itself now. */
  get isClosed(): boolean {
    return (Atomics.load(this.#words, HEAD) & CLOSED) !== 0;
  }

  /** Whether there is a place for large parts. */
  get isEnlarged(): boolean {
    return Atomics.load(this.#words, ADDRESS_LENGTH) !== 0;
  }

  /** Makes a place for large parts; that is the home's to do, since it must outlive all others. */
  enlarge(): void {
    if (this.isEnlarged) return;
    const bulk = Bulk.create();
    const text = new TextEncoder().encode(JSON.stringify(bulk.memory.address()));
    new Uint8Array(this.memory.buffer, ADDRESS, MAX_ADDRESS).set(text);
    this.#bulk = bulk;
    Atomics.store(this.#words, ADDRESS_LENGTH, text.length);
    this.putters.wake(Number.POSITIVE_INFINITY);
  }

  /** Whether a frame has a place in a ring. */
  fits(frame: Frame): boolean {
    return fits(frame);
  }

  /** Whether it takes a place for large parts. */
  isLarge(frame: Frame): boolean {
    return isLarge(frame);
  }

  /** Puts frames that fit, all of them or none: if there is room for them at this moment. */
  put(frames: readonly Frame[]): RingPut {
    if (this.isClosed) return "closed";
    if (this.#lock.acquireSync(LOCK_PATIENCE) === REFUSED) return "busy";
    let result: RingPut;
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
    while (this.#isRead() || this.#readMore()) {
      const tail = this.#tail;
      const read = this.#read;
      const frame = this.#nextFrame();
      if (accept !== undefined) this.#ask(accept, frame, tail);
      if (Atomics.compareExchange(words, TAIL, tail, this.#tail) === tail) {
        if ((words[MAX_SIZE] as number) > 0 || frame.bytes !== read || frame.parts.length > 0) this.putters.wake(1);
        return frame;
      }
      this.#read = NOTHING;
      this.#readSize = LEAST_READ;
    }
    return undefined;
  }

  /** Refuses puts from now on; with `immediate`, drops what is there. False if the ring is closed. */
  shutDown(immediate: boolean): boolean {
    const words = this.#words;
    const head = Atomics.or(words, HEAD, SHUT_DOWN);
    if ((head & CLOSED) !== 0) return false;
    while (immediate) {
      const tail = Atomics.load(words, TAIL);
      if ((tail & CLOSED) !== 0) return false;
      if (Atomics.compareExchange(words, TAIL, tail, head & POSITION) === tail) break;
    }
    this.#wakeAll();
    return true;
  }

  /** Closes the ring for good and hands over what is in it. */
  close(): Frame[] {
    const head = Atomics.or(this.#words, HEAD, CLOSED) & POSITION;
    const tail = Atomics.or(this.#words, TAIL, CLOSED);
    const frames: Frame[] = [];
    if ((tail & CLOSED) !== 0) return frames;
    for (this.#tail = tail; this.#tail !== head; frames.push(this.#nextFrame())) {
      this.#readFrom = this.#next = this.#records.begin(this.#tail);
      this.#read = this.#records.copy(this.#next, this.#records.sizeAt(this.#next));
    }
    this.#read = NOTHING;
    this.#wakeAll();
    return frames;
  }

  #ask(accept: (frame: Frame) => void, frame: Frame, tail: number): void {
    try {
      accept(frame);
    } catch (error) {
      this.#read = NOTHING;
      // Another may have taken it meanwhile; then the next attempt finds so.
      if (Atomics.load(this.#words, TAIL) === tail) throw error;
    }
  }

  #wakeAll(): void {
    this.getters.wake(Number.POSITIVE_INFINITY);
    this.putters.wake(Number.POSITIVE_INFINITY);
  }

  #put(frames: readonly Frame[]): RingPut {
    const words = this.#words;
    while (true) {
      const head = Atomics.load(words, HEAD);
      if ((head & CLOSED) !== 0) return "closed";
      if ((head & SHUT_DOWN) !== 0) return "shut down";
      const tail = Atomics.load(words, TAIL) & POSITION;
      const number = this.#records.numberAt(head);
      const maxSize = words[MAX_SIZE] as number;
      if (maxSize > 0 && number - this.#records.numberAt(tail) + frames.length > maxSize) return "full";
      const end = this.#records.write(frames, head, tail);
      if (end === undefined) return "no space";
      if (((head ^ end) & (3 << 30)) !== 0) Atomics.add(words, QUARTERS, 1);
      // The home may close the ring meanwhile, and anybody may shut the queue down.
      if (Atomics.compareExchange(words, HEAD, head, end) === head) return "accepted";
    }
  }

  /** Where large parts are, once there is such a place. @throws if this process cannot map it */
  #attached(): Bulk | undefined {
    if (this.#bulk === undefined && this.isEnlarged) {
      const text = new Uint8Array(this.memory.buffer, ADDRESS, Atomics.load(this.#words, ADDRESS_LENGTH));
      this.#bulk = Bulk.attach(JSON.parse(host.utf8Read(text, 0, text.length)));
    }
    return this.#bulk;
  }

  /** Whether the next record has been read. */
  #isRead(): boolean {
    // The tail may come to stand where it stood after 2^32 bytes have gone through; by then the head has passed some quarters.
    return (
      sizeIn(this.#read, this.#next - this.#readFrom) > 0 && this.#quarters === Atomics.load(this.#words, QUARTERS)
    );
  }

  /** Reads records from the tail on; false if there are none. */
  #readMore(): boolean {
    const words = this.#words;
    while (true) {
      this.#quarters = Atomics.load(words, QUARTERS);
      const tail = Atomics.load(words, TAIL);
      if ((tail & CLOSED) !== 0) return false;
      const used = ((Atomics.load(words, HEAD) & POSITION) - tail) >>> 0;
      if (used <= HALF) this.putters.wake(1);
      if (used === 0) return false;
      if (used > CAPACITY) continue; // the tail has moved meanwhile, and so may what is read
      const from = this.#records.begin(tail);
      const size = Math.max(this.#records.sizeAt(from), Math.min(this.#readSize, used - (from - tail)));
      const read = this.#records.copy(from, size);
      if (Atomics.compareExchange(words, TAIL, tail, tail) !== tail) continue;
      this.#read = read;
      this.#readFrom = this.#next = from;
      this.#tail = tail;
      this.#readSize = Math.min(2 * this.#readSize, MOST_READ);
      return true;
    }
  }

  /** What the next record holds, which has been read; the one behind it is the next then. */
  #nextFrame(): Frame {
    const at = this.#next - this.#readFrom;
    const frame = this.#records.frameIn(this.#read, at);
    this.#next = this.#tail = (this.#next + sizeIn(this.#read, at)) | 0;
    return frame;
  }
}
