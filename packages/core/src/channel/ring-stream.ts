/**
 * A stream of bytes through memory, beside a socket.
 *
 * The bytes go through two rings, one each way. The socket stays: by a message on it, the *bell*, each side wakes the other
 * when that sleeps in its event loop, and its end tells that the other side is gone, however it went. All that it had
 * written is in memory by then.
 *
 * ```text
 *   words  0  lives of the two threads: that which made the memory, the other; 0 until it is there
 *         16  the ring from the maker to the other, then the ring back (ring.ts)
 *   4096      their bytes
 * ```
 */
import type { ByteWriter } from "../bytes/byte-writer.ts";
import type { ByteStream, StreamAddress, StreamHandlers } from "../host/host.ts";
import { hasHungUp } from "../native/unix-socket.ts";
import { Odds } from "../shm/adaptive-spin.ts";
import type { Memory, MemoryAddress } from "../shm/shared-memory-segment.ts";
import { isGone, ownLife } from "../shm/thread-id.ts";
import { Burst } from "./coalescer.ts";
import { Wide } from "./large-message-area.ts";
import { Pace } from "./read-coalescer.ts";
import { lookOut, lookOutLater, rest } from "./spin-poller.ts";
import { ByteRing, FUTEX, RING } from "./spsc-ring.ts";

const RINGS = 16;
const BYTES = 4096;
const CAPACITY = 256 * 1024;
/** So much is read in one turn: what is made of it is used up before more comes, or the garbage collector moves it all. */
const READ_SIZE = 64 * 1024;
/** A large piece that is being filled may take so much in one turn. */
const TURN_SIZE = 1024 * 1024;

/** Milliseconds of sleep after which who blocks asks whether the other side is still alive. */
const FIRST_SLEEP = 2;
const LONGEST_SLEEP = 20;
/** So often a burst of messages wakes a reader that falls asleep again and again. */
const WAKES_AT_ONCE = 8;
/** So often who blocks looks before it sleeps. */
const LOOKS = 5000;

/** How much memory a stream takes. */
export const RINGS_SIZE: number = BYTES + 2 * CAPACITY;

/** How it talks to the other side beside the memory. */
export interface Bell {
  /** Wakes the other side, which sleeps in its event loop. */
  ring(): void;
  /** Offers more memory; the other side gives it to its {@link RingStream.wide}. */
  offerWide(address: MemoryAddress): void;
}

/** The stream; see the head of this file. The owner of the socket tells it when it was rung, and when the socket ended. */
export class RingStream implements ByteStream {
  readonly #socket: ByteStream;
  readonly #memory: Memory;
  readonly #words: Int32Array;
  readonly #in: ByteRing;
  readonly #out: ByteRing;
  /** Where the life of the other side stands. */
  readonly #otherLife: number;
  readonly #bell: Bell;
  /** Where large messages have room. */
  readonly wide: Wide;
  /**
   * Wakes the reader of what is written here. One that shares the writer's processor takes it away, reads the one message, and
   * sleeps again: not for each message of a burst.
   */
  readonly #waking = new Burst(() => this.wakeNow(), WAKES_AT_ONCE);
  /** Whether a large piece has been filled in part. */
  #isInside = false;
  readonly #pace = new Pace();
  #handlers: StreamHandlers | undefined;
  readonly #queue: Uint8Array[] = [];
  #queued = 0;
  #isReading = false;
  #isPaused = false;
  #isFinishing = false;
  #isOver = false;
  /** The socket has ended, and why; what it was the bell of may still hold something. */
  #socketEnd: { readonly error: Error | undefined } | undefined;
  /** Whether the socket still holds what was written to it before this stream was used. */
  #isSocketBehind: boolean;
  #hasEnded = false;
  /** Nobody is there to be written to, but what was sent before may still be there to be read. */
  #isDeaf = false;
  /** Whether the thread looks before it sleeps. */
  readonly #odds = new Odds(8);

  constructor(socket: ByteStream, memory: Memory, side: "maker" | "other", bell: Bell) {
    const mine = side === "maker" ? 0 : 1;
    this.#socket = socket;
    this.#memory = memory;
    this.#words = new Int32Array(memory.buffer);
    const rings = [0, 1].map(
      (way) => new ByteRing(memory, RINGS + way * ByteRing.WORDS, BYTES + way * CAPACITY, CAPACITY),
    ) as [ByteRing, ByteRing];
    this.#out = rings[mine] as ByteRing;
    this.#in = rings[1 - mine] as ByteRing;
    this.#otherLife = 1 - mine;
    this.#bell = bell;
    this.wide = new Wide(this.#out, this.#in, (address) => bell.offerWide(address));
    this.#isSocketBehind = socket.pending > 0;
    Atomics.store(this.#words, mine, ownLife().id);
    memory.wake(mine * 4, 1);
  }

  get remote(): StreamAddress {
    return this.#socket.remote;
  }

  get pending(): number {
    return this.#queued + (this.#isSocketBehind ? this.#socket.pending : 0);
  }

  /** From now on it can be written to. */
  start(handlers: StreamHandlers): void {
    this.#handlers = handlers;
  }

  /** From now on what arrives is delivered. */
  startReading(): void {
    this.#isReading = true;
    lookOut(this);
  }

  /** See {@link ByteRing.draft}; nothing if something else comes first. */
  draft(wanted: number): ByteWriter | undefined {
    try {
      return this.#mayPut ? this.#out.draft(wanted) : undefined;
    } catch {
      return undefined; // what is wrong is told by `write()`
    }
  }

  /** Sends what stands in the draft; false if that had no room, or nobody is there. */
  publish(): boolean {
    if (this.#isOver || !this.#out.publish()) return false;
    this.#wakeSoon();
    return true;
  }

  /** Writes the first so many bytes, if there is room for all of them and nothing waits; what fails is told by {@link write}. */
  put(bytes: Uint8Array, size: number): boolean {
    try {
      if (!this.#mayPut || !this.#out.put(bytes, size)) return false;
    } catch {
      return false;
    }
    this.#wakeSoon();
    return true;
  }

  write(chunk: Uint8Array): number {
    if (this.#socketEnd !== undefined) {
      this.#isDeaf = true; // reads to the end, whether anybody waits for that: so the other side's end is found
      this.resume();
    }
    if (this.#isOver || this.#socketEnd !== undefined) return 0;
    let written = 0;
    // The reader may have made room since; the event loop, which would see it, need not turn between two messages.
    if (this.#queued > 0) this.#attempt(() => this.#push());
    if (this.#queued === 0) this.#attempt(() => (written = this.#out.write(chunk)) > 0);
    if (this.#hasEnded) return 0;
    if (written > 0) this.#wakeSoon();
    if (written < chunk.length) {
      this.#queue.push(written === 0 ? chunk : chunk.subarray(written));
      this.#queued += chunk.length - written;
      lookOut(this);
    }
    return this.#queued;
  }

  pause(): void {
    if (!this.#isDeaf) this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (!this.#isOver) lookOut(this);
  }

  finish(): void {
    this.#isFinishing = true;
    if (this.#queued === 0) this.#finishNow();
  }

  destroy(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    rest(this);
    this.#drop();
    this.#out.end();
    this.#socket.destroy();
    this.wide.close();
    this.#memory.close();
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }

  /** Wakes the other side, if it sleeps. */
  wakeNow(): void {
    if (!this.#isOver && this.#out.wakeReader()) this.#bell.ring();
  }

  /** The other side has rung. */
  wasRung(): void {
    if (this.#isOver) return;
    this.#lookNow();
    if (!this.#isOver) lookOut(this);
  }

  /** The socket has written all that was queued there. */
  socketDrained(): void {
    this.#isSocketBehind = false;
    if (this.#queued === 0) this.#handlers?.drain();
  }

  /** The socket has ended: what the other side had written before is still delivered. */
  socketEnded(error: Error | undefined): void {
    if (this.#isOver || this.#socketEnd !== undefined) return;
    this.#socketEnd = { error };
    this.#drop();
    // All at once: whoever learns by other ways that the other side has ended expects that what it said has arrived.
    while (this.#lookNow() && !this.#hasEnded);
  }

  get isAmid(): boolean {
    return this.#queued > 0 || this.#isInside;
  }

  look(): boolean {
    return this.#pace.isResting ? this.#attempt(() => this.#push()) : this.#lookNow();
  }

  #lookNow(): boolean {
    return this.#attempt(() => {
      const hasWritten = this.#push();
      const hasRead = this.#pull();
      if (this.#socketEnd !== undefined && this.#mayRead && this.#in.available === 0) this.#end(this.#socketEnd.error);
      return hasWritten || hasRead;
    });
  }

  sleep(): boolean {
    const isAwake = this.#attempt(() => {
      const mayWriterSleep = this.#queued === 0 || this.#out.mayWriterSleep(RING);
      return !mayWriterSleep || (this.#mayRead && !this.#in.mayReaderSleep(RING));
    });
    return !isAwake || this.#hasEnded;
  }

  /** Blocks the thread until the other side has the memory too; false if the time is over, or it is gone. */
  joinedWithin(until: number): boolean {
    while (Atomics.load(this.#words, this.#otherLife) === 0) {
      const left = until - performance.now();
      if (left <= 0 || this.#isOtherGone()) return false;
      this.#memory.sleep(this.#otherLife * 4, 0, Math.min(left, LONGEST_SLEEP));
    }
    return true;
  }

  /** Blocks the thread until something was delivered, or the stream has ended; false if the time is over. */
  waitSync(until: number): boolean {
    lookOutLater(this); // when the thread is free again, the event loop goes on from here
    let sleep = FIRST_SLEEP;
    while (!this.#lookNow() && !this.#isOver) {
      this.wakeNow(); // as in `flushSync()`
      if (this.#in.isEnded) this.socketEnded(undefined);
      else if (!this.#comesSoon()) {
        const left = until - performance.now();
        if (left <= 0) return false;
        if (!this.#in.mayReaderSleep(FUTEX)) continue;
        this.#in.sleepReader(Math.min(sleep, left));
        this.#in.readerIsAwake();
        if (sleep === LONGEST_SLEEP && this.#isOtherGone()) this.socketEnded(undefined);
        sleep = Math.min(2 * sleep, LONGEST_SLEEP);
      }
    }
    return true;
  }

  /** Blocks the thread until all that was written is in memory, or the other side is gone. */
  flushSync(): void {
    let sleep = FIRST_SLEEP;
    while (this.#queued > 0 && !this.#isOver) {
      this.wakeNow(); // while the thread is blocked, a burst cannot end by itself
      if (this.#lookNow() || !this.#out.mayWriterSleep(FUTEX)) continue;
      this.#out.sleepWriter(sleep);
      this.#out.writerIsAwake();
      if (sleep === LONGEST_SLEEP && this.#isOtherGone()) this.socketEnded(undefined);
      sleep = Math.min(2 * sleep, LONGEST_SLEEP);
    }
    this.wakeNow();
  }

  get #mayPut(): boolean {
    return this.#queued === 0 && !this.#isOver && this.#socketEnd === undefined;
  }

  get #mayRead(): boolean {
    return this.#isReading && !this.#isPaused && !this.#isOver;
  }

  /** Looks for as long as to fall asleep and be woken takes, where that is mostly worth it. */
  #comesSoon(): boolean {
    const comes = this.#odds.areGood && this.#in.comesWithin(LOOKS);
    this.#odds.note(comes);
    return comes;
  }

  #isOtherGone(): boolean {
    const life = Atomics.load(this.#words, this.#otherLife);
    const { file } = this.#socket;
    return life === 0 ? file !== undefined && hasHungUp(file) : isGone(life);
  }

  /** Something was written: wakes the other side, if it sleeps, as soon as the burst allows. */
  #wakeSoon(): void {
    this.#pace.noteWrite();
    if (this.#out.isReaderAsleep) this.#waking.note();
  }

  /** Does something with the memory, which the other side may have spoiled. */
  #attempt(run: () => boolean): boolean {
    if (this.#isOver) return false;
    try {
      return run();
    } catch (error) {
      this.#end(error as Error);
      return true;
    }
  }

  /** Writes what is queued, as far as there is room. */
  #push(): boolean {
    const queue = this.#queue;
    if (queue.length === 0) return false;
    let count = 0;
    for (let chunk = queue[0]; chunk !== undefined; chunk = queue[0]) {
      const written = this.#out.write(chunk);
      count += written;
      if (written < chunk.length) {
        queue[0] = chunk.subarray(written);
        break;
      }
      queue.shift();
    }
    this.#queued -= count;
    if (count > 0) this.#wakeSoon();
    if (this.#queued === 0) {
      this.#handlers?.drain();
      if (this.#isFinishing) this.#finishNow();
    }
    return count > 0;
  }

  /** Delivers what is there, up to a limit. */
  #pull(): boolean {
    const handlers = this.#handlers;
    if (handlers === undefined) return false;
    let left = TURN_SIZE;
    while (left > 0 && this.#mayRead && this.#in.available > 0) {
      const room = handlers.room?.();
      const chunk = room === undefined ? this.#in.read(READ_SIZE) : undefined;
      const count = room === undefined ? (chunk as Uint8Array).length : this.#in.readInto(room);
      left -= room === undefined ? TURN_SIZE : count;
      this.#isInside = room !== undefined && count < room.length;
      this.#pace.noteRead(count);
      if (this.#in.isHalfEmpty && this.#in.wakeWriter()) this.#bell.ring();
      if (chunk !== undefined) handlers.data(chunk);
      else handlers.filled?.(count);
    }
    return left < TURN_SIZE;
  }

  #finishNow(): void {
    if (this.#isOver) return;
    this.#out.end();
    this.#socket.finish();
  }

  /** What is queued goes nowhere. */
  #drop(): void {
    this.#queue.length = this.#queued = 0;
  }

  #end(error: Error | undefined): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    rest(this);
    this.#handlers?.end(error);
  }
}
