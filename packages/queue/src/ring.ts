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
 *   DATA    records, each in one piece, from a multiple of 16
 *
 *   record  lengths of body and annex | its number | where its large parts begin | unused || body | annex
 *           lengths -1: the rest up to the end is unused, and the next record begins at the start
 *   annex   the modules of a frame and the sizes of its large parts, as JSON; mostly none. A long body is the first of them
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
import { Frame, host, Memory, REFUSED, RobustLock, WaitList } from "@multiproc/core/internal";
import { Bulk, MAX_PARTS } from "./bulk.ts";

const HEAD = 32;
const TAIL = 48;
const MAX_SIZE = 64;
const QUARTERS = 65;
const ADDRESS_LENGTH = 66;
const LISTS = 80;
const CLOSED = 1;
const SHUT_DOWN = 2;
const POSITION = ~15;
/** So many threads can be woken; more would look by themselves. */
const SLOTS = 64;
/** Milliseconds between two looks of who is not woken: the death of the home is told by the channel to it. */
const LONGEST_DELAY = 500;
const LIST_WORDS = WaitList.words(SLOTS);
const ADDRESS = (LISTS + 2 * LIST_WORDS) * 4;
const MAX_ADDRESS = 1024;
const DATA = Math.ceil((ADDRESS + MAX_ADDRESS) / 4096) * 4096;
const CAPACITY = 512 * 1024;
const MASK = CAPACITY - 1;
const HEADER = 16;
const NUMBER = 1;
const PARTS = 2;
const LENGTH = 0xffff;
/** A longer body stands with the large parts. */
const MAX_BODY = 16 * 1024;
/** The longest record: some must fit, or one waits for the other. */
const MAX_RECORD = 64 * 1024;
const REST_UNUSED = -1;
/** So many bytes are read at once: few where several take, since then most of them are another's. */
const LEAST_READ = 256;
const MOST_READ = 8 * 1024;
const SHORT = 64;
/** Who waits for room in an unbounded queue is woken when so many bytes are left, or it would be woken for each. */
const HALF = CAPACITY / 2;
/** Milliseconds to wait for another that puts, before waiting in the event loop. */
const LOCK_PATIENCE = 10;

/** Whether the body is the first of the large parts; the modules; the sizes of the large parts. */
type Annex = [isApart: 0 | 1, modules: readonly string[], sizes: readonly number[]];

/** What came of a put. */
export type RingPut = "accepted" | "full" | "no space" | "busy" | "shut down" | "closed";

const NO_PARTS: readonly Uint8Array[] = [];
const NO_MODULES: readonly string[] = [];
const NOTHING = new Uint8Array(0);
const annexes = new WeakMap<readonly string[], Uint8Array>();

/** A ring; see the head of this file. */
export class Ring {
  /** Those who wait for an item. */
  readonly getters: WaitList;
  /** Those who wait for room. */
  readonly putters: WaitList;
  readonly memory: Memory;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #data: Int32Array;
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
    this.#bytes = new Uint8Array(memory.buffer, DATA, CAPACITY);
    this.#data = new Int32Array(memory.buffer, DATA, CAPACITY / 4);
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
      count = this.#numberAt(Atomics.load(words, HEAD)) - this.#numberAt(tail);
      // As long as the tail stands still, nobody writes over what is behind it.
    } while (Atomics.compareExchange(words, TAIL, tail, tail) !== tail);
    return count | 0;
  }

  get isEmpty(): boolean {
    return ((Atomics.load(this.#words, TAIL) ^ Atomics.load(this.#words, HEAD)) & POSITION) === 0;
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
    const parts = partsOf(frame);
    if (parts.length > 0 && parts.reduce((size, { length }) => size + length, 0) > MAX_PARTS) return false;
    return recordSize(bodySize(frame), annexOf(frame, parts).length) <= MAX_RECORD;
  }

  /** Whether it takes a place for large parts. */
  isLarge(frame: Frame): boolean {
    return partsOf(frame).length > 0;
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
      this.#readFrom = this.#next = this.#recordAt(this.#tail);
      this.#read = this.#copy(this.#next, this.#sizeAt(this.#next));
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
      const number = this.#numberAt(head);
      const maxSize = words[MAX_SIZE] as number;
      if (maxSize > 0 && number - this.#numberAt(tail) + frames.length > maxSize) return "full";
      const end = this.#write(frames, head, tail);
      if (end === undefined) return "no space";
      if (((head ^ end) & (3 << 30)) !== 0) Atomics.add(words, QUARTERS, 1);
      // The home may close the ring meanwhile, and anybody may shut the queue down.
      if (Atomics.compareExchange(words, HEAD, head, end) === head) return "accepted";
    }
  }

  /** Writes records from a position on, and says where the next one comes; undefined if one has no place here, or they take more than is left. */
  #write(frames: readonly Frame[], from: number, tail: number): number | undefined {
    const data = this.#data;
    const left = CAPACITY - HEADER - ((from - tail) >>> 0);
    let position = from;
    let number = this.#numberAt(from);
    let bulkAt = this.#partsAt(from);
    for (const frame of frames) {
      const { bytes, start } = frame;
      const parts = partsOf(frame);
      const annex = annexOf(frame, parts);
      const length = bodySize(frame);
      const size = recordSize(length, annex.length);
      if (size > MAX_RECORD) return undefined;
      const toEnd = CAPACITY - (position & MASK);
      const skipped = toEnd < size ? toEnd : 0;
      if (((position - from) >>> 0) + skipped + size > left) return undefined;
      if (skipped > 0) {
        data[(position & MASK) >> 2] = REST_UNUSED;
        position = (position + skipped) | 0;
      }
      const at = position & MASK;
      data[at >> 2] = length | (annex.length << 16);
      data[(at >> 2) + NUMBER] = number;
      data[(at >> 2) + PARTS] = bulkAt;
      this.#copyIn(bytes, start, start + length, at + HEADER);
      if (annex.length > 0) this.#bytes.set(annex, at + HEADER + length);
      if (parts.length > 0) {
        const bulkEnd = this.isEnlarged ? Bulk.end(bulkAt, this.#partsAt(tail), parts) : undefined;
        if (bulkEnd === undefined) return undefined;
        this.#attached().write(bulkAt, parts);
        bulkAt = bulkEnd;
      }
      position = (position + size) | 0;
      number = (number + 1) | 0;
      data[((position & MASK) >> 2) + NUMBER] = number;
      data[((position & MASK) >> 2) + PARTS] = bulkAt;
    }
    return position;
  }

  /** Where large parts are. @throws if this process cannot map it */
  #attached(): Bulk {
    if (this.#bulk === undefined) {
      const text = new Uint8Array(this.memory.buffer, ADDRESS, Atomics.load(this.#words, ADDRESS_LENGTH));
      this.#bulk = Bulk.attach(JSON.parse(host.utf8Read(text, 0, text.length)));
    }
    return this.#bulk;
  }

  /** Whether the next record has been read. */
  #isRead(): boolean {
    const read = this.#read;
    const at = this.#next - this.#readFrom;
    if (at + HEADER > read.length) return false;
    const size = sizeOf(wordAt(read, at));
    // The tail may come to stand where it stood after 2^32 bytes have gone through; by then the head has passed some quarters.
    return at + size <= read.length && this.#quarters === Atomics.load(this.#words, QUARTERS);
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
      const from = this.#recordAt(tail);
      const size = Math.max(this.#sizeAt(from), Math.min(this.#readSize, used - (from - tail)));
      const read = this.#copy(from, size);
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
    const read = this.#read;
    const at = this.#next - this.#readFrom;
    const lengths = wordAt(read, at);
    const start = at + HEADER;
    const end = start + (lengths & LENGTH);
    this.#next = this.#tail = (this.#next + sizeOf(lengths)) | 0;
    const annexLength = lengths >>> 16;
    if (annexLength === 0) return new Frame(0, read, start, end, NO_PARTS, NO_MODULES);
    const [isApart, modules, sizes]: Annex = JSON.parse(host.utf8Read(read, end, end + annexLength));
    const parts = sizes.length === 0 ? NO_PARTS : this.#attached().read(wordAt(read, at + 4 * PARTS), sizes);
    if (isApart === 0) return new Frame(0, read, start, end, parts, modules);
    const [body, ...others] = parts as [Uint8Array];
    return new Frame(0, body, 0, body.length, others, modules);
  }

  #copy(position: number, size: number): Uint8Array {
    const at = position & MASK;
    return this.#bytes.slice(at, Math.min(at + size, CAPACITY));
  }

  #copyIn(bytes: Uint8Array, start: number, end: number, at: number): void {
    const target = this.#bytes;
    // For few bytes that is faster than what does it at once.
    if (end - start <= SHORT) for (let i = start, to = at; i < end; i++, to++) target[to] = bytes[i] as number;
    else target.set(bytes.subarray(start, end), at);
  }

  /** Where the record is that begins there, or behind the unused rest. */
  #recordAt(position: number): number {
    const at = position & MASK;
    return this.#data[at >> 2] === REST_UNUSED ? (position + CAPACITY - at) | 0 : position;
  }

  #sizeAt(position: number): number {
    return sizeOf(this.#data[(position & MASK) >> 2] as number);
  }

  /** The number of the record that stands, or will stand, there. */
  #numberAt(position: number): number {
    return this.#data[((position & MASK & POSITION) >> 2) + NUMBER] as number;
  }

  /** Where its large parts begin. */
  #partsAt(position: number): number {
    return this.#data[((position & MASK & POSITION) >> 2) + PARTS] as number;
  }
}

function recordSize(length: number, annexLength: number): number {
  return (HEADER + length + annexLength + 15) & POSITION;
}

/** The size of a record, from the first word of its header. */
function sizeOf(lengths: number): number {
  return recordSize(lengths & LENGTH, lengths >>> 16);
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  );
}

/** How much of the body stands in the record. */
function bodySize({ start, end }: Frame): number {
  return end - start > MAX_BODY ? 0 : end - start;
}

/** What stands outside of the record. */
function partsOf({ bytes, start, end, parts }: Frame): readonly Uint8Array[] {
  return end - start > MAX_BODY ? [bytes.subarray(start, end), ...parts] : parts;
}

/** What goes with the body of a frame. Most that need a module need the same, and have the same list of it. */
function annexOf(frame: Frame, parts: readonly Uint8Array[]): Uint8Array {
  const { modules } = frame;
  if (parts.length === 0 && modules.length === 0) return NOTHING;
  let annex = parts.length === 0 ? annexes.get(modules) : undefined;
  if (annex !== undefined) return annex;
  const isApart = parts.length > frame.parts.length ? 1 : 0;
  const content: Annex = [isApart, modules, parts.map(({ length }) => length)];
  annex = new TextEncoder().encode(JSON.stringify(content));
  if (parts.length === 0) annexes.set(modules, annex);
  return annex;
}
