/**
 * The items of a queue in memory that all its processes have in common: a ring of records under a robust lock.
 *
 * ```text
 *   words   0  lock (robust-lock.ts)
 *          32  head, tail: bytes ever put and ever taken; count; maxSize; flags
 *          64  those who wait for an item, then those who wait for room (wait-list.ts)
 *   DATA    records, each in one piece, from a multiple of 8
 *
 *   record  length of the body | length of the list of modules | body | modules, as JSON
 *           or -1 in place of the first: the rest up to the end is unused
 * ```
 *
 * **Death.** Whoever puts writes the record first and the head last; whoever takes copies the record first and writes the
 * tail last. So each is done by one store, before which nothing has happened. A process that is killed while it has the lock
 * leaves at most a wrong count, and whoever inherits the lock counts again.
 *
 * **Waking.** Nobody can sleep through what it waits for. Who waits announces itself and then looks; who changes something
 * changes it and then looks who has announced itself. All four are sequentially consistent, so of two that do so at once at
 * least one sees the other. If who was woken dies before it has looked, the others find out by themselves, since each looks
 * again twice a second, and more often at first.
 *
 * **Leaving.** What does not fit in here (a large item, more items than there is room for while nobody takes any, a process
 * that cannot map memory) is no reason to fail: the home then *closes* the ring for good and keeps the items itself, as
 * `protocol.ts` tells. It does so with the lock, and takes all items over at once, so that they stay in order; everyone else
 * finds the ring closed at its next step and turns to the home, which is why that never processes a message before it has
 * taken the items over.
 */
import { Frame, host, INHERITED, Memory, RobustLock, WaitList } from "@multiproc/core/internal";

const HEAD = 32;
const TAIL = 33;
const COUNT = 34;
const MAX_SIZE = 35;
const IS_CLOSED = 36;
const IS_SHUT_DOWN = 37;
const LISTS = 64;
/** So many threads can be woken; more would look by themselves. */
const SLOTS = 64;
/** Milliseconds between two looks of who is not woken: the death of the home is told by the channel to it. */
const LONGEST_DELAY = 500;
const LIST_WORDS = WaitList.words(SLOTS);
const DATA = Math.ceil((LISTS + 2 * LIST_WORDS) / 1024) * 4096;
const CAPACITY = 512 * 1024;
const MASK = CAPACITY - 1;
const HEADER = 8;
/** The longest record: some must fit, or one waits for the other. */
const MAX_RECORD = CAPACITY / 8;
const REST_UNUSED = -1;

/** What came of a put. */
export type RingPut = "accepted" | "full" | "no space" | "too large" | "shut down" | "closed";

const NO_PARTS: readonly Uint8Array[] = [];
const NO_MODULES: readonly string[] = [];

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
    return Atomics.load(this.#words, COUNT);
  }

  get isFull(): boolean {
    const maxSize = this.#words[MAX_SIZE] as number;
    return maxSize > 0 && this.size >= maxSize;
  }

  get isShutDown(): boolean {
    return Atomics.load(this.#words, IS_SHUT_DOWN) !== 0;
  }

  /** Whether the home keeps the items itself now. */
  get isClosed(): boolean {
    return Atomics.load(this.#words, IS_CLOSED) !== 0;
  }

  /** Puts a frame, if there is room for it at this moment. */
  put(frame: Frame): RingPut {
    if (this.isClosed) return "closed";
    if (frame.parts.length > 0) return "too large";
    const list = frame.modules.length === 0 ? undefined : new TextEncoder().encode(JSON.stringify(frame.modules));
    const length = frame.end - frame.start;
    const size = recordSize(length, list?.length ?? 0);
    if (size > MAX_RECORD) return "too large";
    const result = this.#locked(() => this.#put(frame, length, list, size));
    if (result === "accepted") this.getters.wake(1);
    return result;
  }

  /** Takes the first item, if there is one. */
  take(): Frame | undefined {
    // A count that a dead process left is right again once somebody has the lock.
    if (this.size === 0 && !this.#lock.isHeld) return undefined;
    const frame = this.#locked(() => this.#take());
    if (frame !== undefined) this.putters.wake(1);
    return frame;
  }

  /** Refuses puts from now on; with `immediate`, drops what is there. False if the ring is closed. */
  shutDown(immediate: boolean): boolean {
    const isDone = this.#locked(() => {
      if (this.isClosed) return false;
      Atomics.store(this.#words, IS_SHUT_DOWN, 1);
      if (immediate) {
        Atomics.store(this.#words, COUNT, 0);
        Atomics.store(this.#words, TAIL, Atomics.load(this.#words, HEAD));
      }
      return true;
    });
    this.#wakeAll();
    return isDone;
  }

  /** Closes the ring for good and hands over what is in it. */
  close(): Frame[] {
    const frames = this.#locked(() => {
      const frames: Frame[] = [];
      if (this.isClosed) return frames;
      for (let frame = this.#take(); frame !== undefined; frame = this.#take()) frames.push(frame);
      Atomics.store(this.#words, IS_CLOSED, 1);
      return frames;
    });
    this.#wakeAll();
    return frames;
  }

  #wakeAll(): void {
    this.getters.wake(Number.POSITIVE_INFINITY);
    this.putters.wake(Number.POSITIVE_INFINITY);
  }

  #locked<T>(run: () => T): T {
    if (this.#lock.acquireSync() === INHERITED) this.#repair();
    try {
      return run();
    } finally {
      this.#lock.release();
    }
  }

  #put(frame: Frame, length: number, list: Uint8Array | undefined, size: number): RingPut {
    const words = this.#words;
    if (Atomics.load(words, IS_CLOSED) !== 0) return "closed";
    if (Atomics.load(words, IS_SHUT_DOWN) !== 0) return "shut down";
    const count = words[COUNT] as number;
    const maxSize = words[MAX_SIZE] as number;
    if (maxSize > 0 && count >= maxSize) return "full";
    let head = words[HEAD] as number;
    const toEnd = CAPACITY - (head & MASK);
    const isWrapped = toEnd < size;
    const used = (head - (words[TAIL] as number)) >>> 0;
    if (used + size + (isWrapped ? toEnd : 0) > CAPACITY) return "no space";
    if (isWrapped) {
      this.#data[(head & MASK) >> 2] = REST_UNUSED;
      head = (head + toEnd) | 0;
    }
    const at = head & MASK;
    this.#data[at >> 2] = length;
    this.#data[(at >> 2) + 1] = list?.length ?? 0;
    this.#bytes.set(frame.bytes.subarray(frame.start, frame.end), at + HEADER);
    if (list !== undefined) this.#bytes.set(list, at + HEADER + length);
    Atomics.store(words, COUNT, count + 1);
    Atomics.store(words, HEAD, (head + size) | 0);
    return "accepted";
  }

  #take(): Frame | undefined {
    const words = this.#words;
    const head = words[HEAD] as number;
    let tail = words[TAIL] as number;
    if (head === tail) return undefined;
    tail = this.#recordAt(tail);
    const at = tail & MASK;
    const length = this.#data[at >> 2] as number;
    const listLength = this.#data[(at >> 2) + 1] as number;
    const body = this.#bytes.slice(at + HEADER, at + HEADER + length);
    const from = at + HEADER + length;
    const modules: readonly string[] =
      listLength === 0
        ? NO_MODULES
        : JSON.parse(host.utf8Read(this.#bytes.slice(from, from + listLength), 0, listLength));
    Atomics.store(words, COUNT, (words[COUNT] as number) - 1);
    Atomics.store(words, TAIL, (tail + recordSize(length, listLength)) | 0);
    return new Frame(0, body, 0, length, NO_PARTS, modules);
  }

  /** Where the record is that begins there, or behind the unused rest. */
  #recordAt(position: number): number {
    const at = position & MASK;
    return this.#data[at >> 2] === REST_UNUSED ? (position + CAPACITY - at) | 0 : position;
  }

  /** Whoever had the lock was killed in the middle of something: head and tail are right, and what lies between tells the rest. */
  #repair(): void {
    const head = Atomics.load(this.#words, HEAD);
    let count = 0;
    for (let at = Atomics.load(this.#words, TAIL); at !== head; count++) {
      at = this.#recordAt(at);
      const index = (at & MASK) >> 2;
      at = (at + recordSize(this.#data[index] as number, this.#data[index + 1] as number)) | 0;
    }
    Atomics.store(this.#words, COUNT, count);
  }
}

function recordSize(length: number, listLength: number): number {
  return (HEADER + length + listLength + 7) & ~7;
}
