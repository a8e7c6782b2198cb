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
import { AdaptiveSpin } from "../shm/adaptive-spin.ts";
import type { SegmentAddress, SharedSegment } from "../shm/shared-memory-segment.ts";
import { currentThreadId, hasExited } from "../shm/thread-id.ts";
import { Coalescer } from "./coalescer.ts";
import { LargeMessageArea } from "./large-message-area.ts";
import { ReadCoalescer } from "./read-coalescer.ts";
import { pollNextTurn, startSpinning, stopPolling } from "./spin-poller.ts";
import { SpscByteRing, WAKE_BY_DOORBELL, WAKE_BY_FUTEX } from "./spsc-ring.ts";

const RINGS_WORD_OFFSET = 16;
const DATA_OFFSET_BYTES = 4096;
const RING_BYTES = 256 * 1024;
/** So much is read in one turn: what is made of it is used up before more comes, or the garbage collector moves it all. */
const READ_CHUNK_BYTES = 64 * 1024;
/** A large piece that is being filled may take so much in one turn. */
const MAX_BYTES_PER_TURN = 1024 * 1024;

/** Milliseconds of sleep after which who blocks asks whether the other side is still alive. */
const MIN_SLEEP_MS = 2;
const MAX_SLEEP_MS = 20;
/** So often a burst of messages wakes a reader that falls asleep again and again. */
const IMMEDIATE_WAKE_COUNT = 8;
/** So often who blocks looks before it sleeps. */
const SPIN_ITERATIONS = 5000;

/** How much memory a stream takes. */
export const RING_STREAM_BYTES: number = DATA_OFFSET_BYTES + 2 * RING_BYTES;

/** How it talks to the other side beside the memory. */
export interface PeerNotifier {
  /** Wakes the other side, which sleeps in its event loop. */
  wake(): void;
  /** Offers more memory; the other side gives it to its {@link RingStream.largeMessageArea}. */
  offerLargeArea(address: SegmentAddress): void;
}

/** The stream; see the head of this file. The owner of the socket tells it when it was rung, and when the socket ended. */
export class RingStream implements ByteStream {
  readonly #socket: ByteStream;
  readonly #memory: SharedSegment;
  readonly #words: Int32Array;
  readonly #in: SpscByteRing;
  readonly #out: SpscByteRing;
  /** Where the life of the other side stands. */
  readonly #peerThreadWord: number;
  readonly #notifier: PeerNotifier;
  /** Where large messages have room. */
  readonly largeMessageArea: LargeMessageArea;
  /**
   * Wakes the reader of what is written here. One that shares the writer's processor takes it away, reads the one message, and
   * sleeps again: not for each message of a burst.
   */
  readonly #wakeCoalescer = new Coalescer(() => this.wakeNow(), IMMEDIATE_WAKE_COUNT);
  /** Whether a large piece has been filled in part. */
  #isMidSection = false;
  readonly #readCoalescer = new ReadCoalescer();
  #handlers: StreamHandlers | undefined;
  readonly #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #isReading = false;
  #isPaused = false;
  #isFinishing = false;
  #isDestroyed = false;
  /** The socket has ended, and why; what it was the bell of may still hold something. */
  #socketEnd: { readonly error: Error | undefined } | undefined;
  /** Whether the socket still holds what was written to it before this stream was used. */
  #isSocketDraining: boolean;
  #hasEnded = false;
  /** Nobody is there to be written to, but what was sent before may still be there to be read. */
  #isPeerClosed = false;
  /** Whether the thread looks before it sleeps. */
  readonly #spin = new AdaptiveSpin(8);

  constructor(socket: ByteStream, memory: SharedSegment, side: "maker" | "other", notifier: PeerNotifier) {
    const ownIndex = side === "maker" ? 0 : 1;
    this.#socket = socket;
    this.#memory = memory;
    this.#words = new Int32Array(memory.buffer);
    const rings = [0, 1].map(
      (direction) =>
        new SpscByteRing(
          memory,
          RINGS_WORD_OFFSET + direction * SpscByteRing.CONTROL_WORDS,
          DATA_OFFSET_BYTES + direction * RING_BYTES,
          RING_BYTES,
        ),
    ) as [SpscByteRing, SpscByteRing];
    this.#out = rings[ownIndex] as SpscByteRing;
    this.#in = rings[1 - ownIndex] as SpscByteRing;
    this.#peerThreadWord = 1 - ownIndex;
    this.#notifier = notifier;
    this.largeMessageArea = new LargeMessageArea(this.#out, this.#in, (address) => notifier.offerLargeArea(address));
    this.#isSocketDraining = socket.pending > 0;
    Atomics.store(this.#words, ownIndex, currentThreadId().id);
    memory.futexWake(ownIndex * 4, 1);
  }

  get remote(): StreamAddress {
    return this.#socket.remote;
  }

  get pending(): number {
    return this.#queuedBytes + (this.#isSocketDraining ? this.#socket.pending : 0);
  }

  /** From now on it can be written to. */
  start(handlers: StreamHandlers): void {
    this.#handlers = handlers;
  }

  /** From now on what arrives is delivered. */
  startReading(): void {
    this.#isReading = true;
    startSpinning(this);
  }

  /** See {@link SpscByteRing.reserve}; nothing if something else comes first. */
  reserve(wantedBytes: number): ByteWriter | undefined {
    try {
      return this.#canWriteNow ? this.#out.reserve(wantedBytes) : undefined;
    } catch {
      return undefined; // what is wrong is told by `write()`
    }
  }

  /** Sends what stands in the draft; false if that had no room, or nobody is there. */
  commit(): boolean {
    if (this.#isDestroyed || !this.#out.commit()) return false;
    this.#wakeSoon();
    return true;
  }

  /** Writes the first so many bytes, if there is room for all of them and nothing waits; what fails is told by {@link write}. */
  tryWrite(bytes: Uint8Array, size: number): boolean {
    try {
      if (!this.#canWriteNow || !this.#out.tryWrite(bytes, size)) return false;
    } catch {
      return false;
    }
    this.#wakeSoon();
    return true;
  }

  write(chunk: Uint8Array): number {
    if (this.#socketEnd !== undefined) {
      this.#isPeerClosed = true; // reads to the end, whether anybody waits for that: so the other side's end is found
      this.resume();
    }
    if (this.#isDestroyed || this.#socketEnd !== undefined) return 0;
    let written = 0;
    // The reader may have made room since; the event loop, which would see it, need not turn between two messages.
    if (this.#queuedBytes > 0) this.#endOnError(() => this.#writeQueued());
    if (this.#queuedBytes === 0) this.#endOnError(() => (written = this.#out.write(chunk)) > 0);
    if (this.#hasEnded) return 0;
    if (written > 0) this.#wakeSoon();
    if (written < chunk.length) {
      this.#queue.push(written === 0 ? chunk : chunk.subarray(written));
      this.#queuedBytes += chunk.length - written;
      startSpinning(this);
    }
    return this.#queuedBytes;
  }

  pause(): void {
    if (!this.#isPeerClosed) this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (!this.#isDestroyed) startSpinning(this);
  }

  finish(): void {
    this.#isFinishing = true;
    if (this.#queuedBytes === 0) this.#finishNow();
  }

  destroy(): void {
    if (this.#isDestroyed) return;
    this.#isDestroyed = true;
    stopPolling(this);
    this.#dropQueue();
    this.#out.end();
    this.#socket.destroy();
    this.largeMessageArea.close();
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
    if (!this.#isDestroyed && this.#out.wakeReader()) this.#notifier.wake();
  }

  /** The other side has rung. */
  onDoorbell(): void {
    if (this.#isDestroyed) return;
    this.#pollNow();
    if (!this.#isDestroyed) startSpinning(this);
  }

  /** The socket has written all that was queued there. */
  socketDrained(): void {
    this.#isSocketDraining = false;
    if (this.#queuedBytes === 0) this.#handlers?.drain();
  }

  /** The socket has ended: what the other side had written before is still delivered. */
  socketEnded(error: Error | undefined): void {
    if (this.#isDestroyed || this.#socketEnd !== undefined) return;
    this.#socketEnd = { error };
    this.#dropQueue();
    // All at once: whoever learns by other ways that the other side has ended expects that what it said has arrived.
    while (this.#pollNow() && !this.#hasEnded);
  }

  get isMidMessage(): boolean {
    return this.#queuedBytes > 0 || this.#isMidSection;
  }

  poll(): boolean {
    return this.#readCoalescer.isDeferring ? this.#endOnError(() => this.#writeQueued()) : this.#pollNow();
  }

  #pollNow(): boolean {
    return this.#endOnError(() => {
      const hasWritten = this.#writeQueued();
      const hasRead = this.#deliver();
      if (this.#socketEnd !== undefined && this.#canRead && this.#in.available === 0) this.#end(this.#socketEnd.error);
      return hasWritten || hasRead;
    });
  }

  park(): boolean {
    const hasWork = this.#endOnError(() => {
      const canWriterSleep = this.#queuedBytes === 0 || this.#out.prepareWriterSleep(WAKE_BY_DOORBELL);
      return !canWriterSleep || (this.#canRead && !this.#in.prepareReaderSleep(WAKE_BY_DOORBELL));
    });
    return !hasWork || this.#hasEnded;
  }

  /** Blocks the thread until the other side has the memory too; false if the time is over, or it is gone. */
  waitForPeer(deadline: number): boolean {
    while (Atomics.load(this.#words, this.#peerThreadWord) === 0) {
      const remainingMs = deadline - performance.now();
      if (remainingMs <= 0 || this.#hasPeerExited()) return false;
      this.#memory.futexWait(this.#peerThreadWord * 4, 0, Math.min(remainingMs, MAX_SLEEP_MS));
    }
    return true;
  }

  /** Blocks the thread until something was delivered, or the stream has ended; false if the time is over. */
  waitSync(deadline: number): boolean {
    pollNextTurn(this); // when the thread is free again, the event loop goes on from here
    let sleepMs = MIN_SLEEP_MS;
    while (!this.#pollNow() && !this.#isDestroyed) {
      this.wakeNow(); // as in `flushSync()`
      if (this.#in.isEnded) this.socketEnded(undefined);
      else if (!this.#spinForData()) {
        const remainingMs = deadline - performance.now();
        if (remainingMs <= 0) return false;
        if (!this.#in.prepareReaderSleep(WAKE_BY_FUTEX)) continue;
        this.#in.sleepReader(Math.min(sleepMs, remainingMs));
        this.#in.markReaderRunning();
        if (sleepMs === MAX_SLEEP_MS && this.#hasPeerExited()) this.socketEnded(undefined);
        sleepMs = Math.min(2 * sleepMs, MAX_SLEEP_MS);
      }
    }
    return true;
  }

  /** Blocks the thread until all that was written is in memory, or the other side is gone. */
  flushSync(): void {
    let sleepMs = MIN_SLEEP_MS;
    while (this.#queuedBytes > 0 && !this.#isDestroyed) {
      this.wakeNow(); // while the thread is blocked, a burst cannot end by itself
      if (this.#pollNow() || !this.#out.prepareWriterSleep(WAKE_BY_FUTEX)) continue;
      this.#out.sleepWriter(sleepMs);
      this.#out.markWriterRunning();
      if (sleepMs === MAX_SLEEP_MS && this.#hasPeerExited()) this.socketEnded(undefined);
      sleepMs = Math.min(2 * sleepMs, MAX_SLEEP_MS);
    }
    this.wakeNow();
  }

  get #canWriteNow(): boolean {
    return this.#queuedBytes === 0 && !this.#isDestroyed && this.#socketEnd === undefined;
  }

  get #canRead(): boolean {
    return this.#isReading && !this.#isPaused && !this.#isDestroyed;
  }

  /** Looks for as long as to fall asleep and be woken takes, where that is mostly worth it. */
  #spinForData(): boolean {
    const hasData = this.#spin.shouldSpin && this.#in.spinForData(SPIN_ITERATIONS);
    this.#spin.record(hasData);
    return hasData;
  }

  #hasPeerExited(): boolean {
    const threadId = Atomics.load(this.#words, this.#peerThreadWord);
    const { fd } = this.#socket;
    return threadId === 0 ? fd !== undefined && hasHungUp(fd) : hasExited(threadId);
  }

  /** Something was written: wakes the other side, if it sleeps, as soon as the burst allows. */
  #wakeSoon(): void {
    this.#readCoalescer.recordWrite();
    if (this.#out.isReaderAsleep) this.#wakeCoalescer.trigger();
  }

  /** Does something with the memory, which the other side may have spoiled. */
  #endOnError(run: () => boolean): boolean {
    if (this.#isDestroyed) return false;
    try {
      return run();
    } catch (error) {
      this.#end(error as Error);
      return true;
    }
  }

  /** Writes what is queued, as far as there is room. */
  #writeQueued(): boolean {
    const queue = this.#queue;
    if (queue.length === 0) return false;
    let writtenBytes = 0;
    for (let chunk = queue[0]; chunk !== undefined; chunk = queue[0]) {
      const written = this.#out.write(chunk);
      writtenBytes += written;
      if (written < chunk.length) {
        queue[0] = chunk.subarray(written);
        break;
      }
      queue.shift();
    }
    this.#queuedBytes -= writtenBytes;
    if (writtenBytes > 0) this.#wakeSoon();
    if (this.#queuedBytes === 0) {
      this.#handlers?.drain();
      if (this.#isFinishing) this.#finishNow();
    }
    return writtenBytes > 0;
  }

  /** Delivers what is there, up to a limit. */
  #deliver(): boolean {
    const handlers = this.#handlers;
    if (handlers === undefined) return false;
    let remainingBytes = MAX_BYTES_PER_TURN;
    while (remainingBytes > 0 && this.#canRead && this.#in.available > 0) {
      const directBuffer = handlers.directBuffer?.();
      const chunk = directBuffer === undefined ? this.#in.read(READ_CHUNK_BYTES) : undefined;
      const count = directBuffer === undefined ? (chunk as Uint8Array).length : this.#in.readInto(directBuffer);
      remainingBytes -= directBuffer === undefined ? MAX_BYTES_PER_TURN : count;
      this.#isMidSection = directBuffer !== undefined && count < directBuffer.length;
      this.#readCoalescer.recordRead(count);
      if (this.#in.isHalfEmpty && this.#in.wakeWriter()) this.#notifier.wake();
      if (chunk !== undefined) handlers.data(chunk);
      else handlers.filled?.(count);
    }
    return remainingBytes < MAX_BYTES_PER_TURN;
  }

  #finishNow(): void {
    if (this.#isDestroyed) return;
    this.#out.end();
    this.#socket.finish();
  }

  /** What is queued goes nowhere. */
  #dropQueue(): void {
    this.#queue.length = this.#queuedBytes = 0;
  }

  #end(error: Error | undefined): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    stopPolling(this);
    this.#handlers?.end(error);
  }
}
