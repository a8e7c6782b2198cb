/**
 * The items of a queue in memory that all its processes have in common: a ring of records.
 *
 * ```text
 *   words   0  lock of those who put (robust-lock.ts)
 *          32  head: where the next record comes | SHUT_DOWN | CLOSED
 *          48  tail: where the first record is | CLOSED
 *          64  maxSize; how often the head has passed a quarter of all numbers
 *          80  those who wait for an item, then those who wait for room (wait-list.ts)
 *   DATA    records, each in one piece, from a multiple of 16
 *
 *   record  lengths of body and annex | its number | unused | unused || body | annex
 *           lengths -1: the rest up to the end is unused, and the next record begins at the start
 *   annex   what else belongs to a frame, as JSON; mostly none
 * ```
 *
 * Head and tail count bytes, and only ever grow, modulo 2^32. The number of the record that comes next is written where it will
 * stand before the head gets there, so head and tail tell all there is to know, also how many items are between them.
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
 * **Leaving.** What does not fit in here (a large item, more items than there is room for while nobody takes any, a process
 * that cannot map memory) is no reason to fail: the home then *closes* the ring for good and keeps the items itself, as
 * `protocol.ts` tells. It marks head and tail, after which neither can be moved, and takes over what is between them, so that
 * items stay in order; everyone else finds the ring closed at its next step and turns to the home, which is why that never
 * processes a message before it has taken the items over.
 */
import { Frame, host, Memory, REFUSED, RobustLock, WaitList } from "@multiproc/core/internal";

const HEAD = 32;
const TAIL = 48;
const MAX_SIZE = 64;
const QUARTERS = 65;
const LISTS = 80;
const CLOSED = 1;
const SHUT_DOWN = 2;
const POSITION = ~15;
/** So many threads can be woken; more would look by themselves. */
const SLOTS = 64;
/** Milliseconds between two looks of who is not woken: the death of the home is told by the channel to it. */
const LONGEST_DELAY = 500;
const LIST_WORDS = WaitList.words(SLOTS);
const DATA = Math.ceil((LISTS + 2 * LIST_WORDS) / 1024) * 4096;
const CAPACITY = 512 * 1024;
const MASK = CAPACITY - 1;
const HEADER = 16;
const NUMBER = 1;
const LENGTH = 0xffff;
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

  /** Whether a frame has a place in a ring. */
  fits(frame: Frame): boolean {
    if (frame.parts.length > 0) return false;
    return recordSize(frame.end - frame.start, annexOf(frame).length) <= MAX_RECORD;
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

  /** Takes the first item, if there is one. */
  take(): Frame | undefined {
    const words = this.#words;
    while (this.#isRead() || this.#readMore()) {
      const tail = this.#tail;
      const frame = this.#nextFrame();
      if (Atomics.compareExchange(words, TAIL, tail, this.#tail) === tail) {
        if ((words[MAX_SIZE] as number) > 0) this.putters.wake(1);
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
      const end = this.#write(frames, head, CAPACITY - HEADER - ((head - tail) >>> 0));
      if (end === undefined) return "no space";
      if (((head ^ end) & (3 << 30)) !== 0) Atomics.add(words, QUARTERS, 1);
      // The home may close the ring meanwhile, and anybody may shut the queue down.
      if (Atomics.compareExchange(words, HEAD, head, end) === head) return "accepted";
    }
  }

  /** Writes records from a position on, and says where the next one comes; undefined if one has no place here, or they take more than is left. */
  #write(frames: readonly Frame[], from: number, left: number): number | undefined {
    const data = this.#data;
    let position = from;
    let number = this.#numberAt(from);
    for (const frame of frames) {
      const { bytes, start, end } = frame;
      const annex = annexOf(frame);
      const length = end - start;
      const size = recordSize(length, annex.length);
      if (size > MAX_RECORD || frame.parts.length > 0) return undefined;
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
      this.#copyIn(bytes, start, end, at + HEADER);
      if (annex.length > 0) this.#bytes.set(annex, at + HEADER + length);
      position = (position + size) | 0;
      number = (number + 1) | 0;
      data[((position & MASK) >> 2) + NUMBER] = number;
    }
    return position;
  }

  /** Whether the next record has been read. */
  #isRead(): boolean {
    const read = this.#read;
    const at = this.#next - this.#readFrom;
    if (at + HEADER > read.length) return false;
    const size = sizeOf(lengthsAt(read, at));
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
    const lengths = lengthsAt(read, at);
    const start = at + HEADER;
    const end = start + (lengths & LENGTH);
    this.#next = this.#tail = (this.#next + sizeOf(lengths)) | 0;
    return new Frame(0, read, start, end, NO_PARTS, modulesIn(read, end, lengths >>> 16));
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
}

function recordSize(length: number, annexLength: number): number {
  return (HEADER + length + annexLength + 15) & POSITION;
}

/** The size of a record, from the first word of its header. */
function sizeOf(lengths: number): number {
  return recordSize(lengths & LENGTH, lengths >>> 16);
}

function lengthsAt(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  );
}

/** What goes with the body of a frame. Most that need a module need the same, and have the same list of it. */
function annexOf({ modules }: Frame): Uint8Array {
  if (modules.length === 0) return NOTHING;
  let annex = annexes.get(modules);
  if (annex === undefined) annexes.set(modules, (annex = new TextEncoder().encode(JSON.stringify(modules))));
  return annex;
}

function modulesIn(bytes: Uint8Array, at: number, length: number): readonly string[] {
  return length === 0 ? NO_MODULES : JSON.parse(host.utf8Read(bytes, at, at + length));
}
