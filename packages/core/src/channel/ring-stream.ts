/**
 * A stream of bytes through shared memory, beside a socket: two ring buffers (`spsc-ring.ts`), one
 * for each direction.
 *
 * The socket stays open. A process wakes the peer that sleeps in its event loop by a message on it,
 * the *doorbell*. The end of the socket reports that the peer is gone, even after SIGKILL;
 * everything that the peer had written is in memory by then.
 *
 * ```text
 *   word  0   thread id of the creator of the memory
 *         1   thread id of the peer; 0 until it has attached the memory
 *        16   control words of the ring from the creator to the peer, then of the ring back
 *   byte 4096 their bytes
 * ```
 *
 * The reader spins before it sleeps (`spin-poller.ts`) and coalesces small reads
 * (`read-coalescer.ts`); the writer coalesces wake-ups (`coalescer.ts`). `ring-stream-blocking.ts`
 * has the calls that block the thread.
 */
import type { ByteWriter } from "../bytes/byte-writer.ts";
import type { ByteStream, StreamAddress, StreamHandlers } from "../host/host.ts";
import type { SegmentAddress, SharedSegment } from "../shm/shared-memory-segment.ts";
import { currentThreadId } from "../shm/thread-id.ts";
import { Coalescer } from "./coalescer.ts";
import { LargeMessageArea } from "./large-message-area.ts";
import { ReadCoalescer } from "./read-coalescer.ts";
import { RingStreamBlocking } from "./ring-stream-blocking.ts";
import { startSpinning, stopPolling } from "./spin-poller.ts";
import { SpscByteRing, WAKE_BY_DOORBELL } from "./spsc-ring.ts";

const RINGS_WORD_OFFSET = 16;
const DATA_OFFSET_BYTES = 4096;
const RING_BYTES = 256 * 1024;
/**
 * One turn of the event loop reads one chunk of at most this size. From a longer chunk, more values
 * are decoded before the program has used them, and the garbage collector has to move those.
 */
const READ_CHUNK_BYTES = 64 * 1024;
/** One turn reads about this much into the buffers of large parts. */
const MAX_BYTES_PER_TURN = 1024 * 1024;
/** Wake-ups in a burst that are not coalesced, for a reader that falls asleep again and again. */
const IMMEDIATE_WAKE_COUNT = 8;

/** Size of the shared memory of a stream. */
export const RING_STREAM_BYTES: number = DATA_OFFSET_BYTES + 2 * RING_BYTES;

/** Messages to the peer beside the shared memory. */
export interface PeerNotifier {
  /** Rings the doorbell of the peer, which sleeps in its event loop. */
  wake(): void;
  /**
   * Offers memory for large messages. The peer attaches it to its {@link
   * RingStream.largeMessageArea}.
   */
  offerLargeArea(address: SegmentAddress): void;
}

/**
 * A stream through shared memory. The channel forwards the doorbell, the drain and the end of the
 * socket to it. Unlike other streams, it does not call `end` after `destroy()`.
 */
export class RingStream implements ByteStream {
  readonly #socket: ByteStream;
  readonly #memory: SharedSegment;
  readonly #in: SpscByteRing;
  readonly #out: SpscByteRing;
  readonly #notifier: PeerNotifier;
  /** The large areas of both rings. */
  readonly largeMessageArea: LargeMessageArea;
  /**
   * Coalesces wake-ups of the peer. A reader on the same core as the writer preempts it, reads one
   * message and sleeps again: that must not happen for each message of a burst.
   */
  readonly #wakeCoalescer = new Coalescer(() => this.wakeNow(), IMMEDIATE_WAKE_COUNT);
  /** Whether the last read left the buffer of a large part incomplete. */
  #isMidSection = false;
  readonly #readCoalescer = new ReadCoalescer();
  #handlers: StreamHandlers | undefined;
  readonly #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #isReading = false;
  #isPaused = false;
  #isFinishing = false;
  #isDestroyed = false;
  /** Set when the socket has ended, with the reason. The ring may still hold unread bytes. */
  #socketEnd: { readonly error: Error | undefined } | undefined;
  /** Whether the socket is still writing what was sent before the upgrade. */
  #isSocketDraining: boolean;
  #hasEnded = false;
  /** Whether the peer has stopped reading. Bytes that it sent may still be unread here. */
  #isPeerClosed = false;
  /** The calls that block the thread. */
  readonly blocking: RingStreamBlocking;

  constructor(socket: ByteStream, memory: SharedSegment, side: "creator" | "peer", notifier: PeerNotifier) {
    const ownIndex = side === "creator" ? 0 : 1;
    this.#socket = socket;
    this.#memory = memory;
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
    this.#notifier = notifier;
    this.largeMessageArea = new LargeMessageArea(this.#out, this.#in, (address) => notifier.offerLargeArea(address));
    this.#isSocketDraining = socket.pending > 0;
    this.blocking = new RingStreamBlocking(this, {
      socket,
      memory,
      in: this.#in,
      out: this.#out,
      peerIndex: 1 - ownIndex,
    });
    Atomics.store(new Int32Array(memory.buffer), ownIndex, currentThreadId().id);
    memory.futexWake(ownIndex * 4, 1);
  }

  get remote(): StreamAddress {
    return this.#socket.remote;
  }

  get pending(): number {
    return this.#queuedBytes + (this.#isSocketDraining ? this.#socket.pending : 0);
  }

  /** Starts the stream for writing. */
  start(handlers: StreamHandlers): void {
    this.#handlers = handlers;
  }

  /** Starts the delivery of arriving bytes. */
  startReading(): void {
    this.#isReading = true;
    startSpinning(this);
  }

  /**
   * Reserves room in the ring, see {@link SpscByteRing.reserve}; returns undefined while earlier
   * bytes are queued.
   */
  reserve(wantedBytes: number): ByteWriter | undefined {
    try {
      return this.#canWriteNow ? this.#out.reserve(wantedBytes) : undefined;
    } catch {
      return undefined; // `write()` reports the error
    }
  }

  /** Sends the reserved message; returns false if it outgrew its room, or the stream is closed. */
  commit(): boolean {
    if (this.#isDestroyed || !this.#out.commit()) return false;
    this.#wakeSoon();
    return true;
  }

  /**
   * Writes the first `size` bytes if there is room for all of them and nothing is queued. {@link
   * write} reports errors.
   */
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
      // The stream reports its end after the last byte. So it reads all bytes, even if the reader
      // has paused.
      this.#isPeerClosed = true;
      this.resume();
    }
    if (this.#isDestroyed || this.#socketEnd !== undefined) return 0;
    let written = 0;
    // The peer may have made room since this turn of the event loop began.
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

  /** Wakes the peer if it sleeps. */
  wakeNow(): void {
    if (!this.#isDestroyed && this.#out.wakeReader()) this.#notifier.wake();
  }

  /** Handles a ring of the doorbell. */
  onDoorbell(): void {
    if (this.#isDestroyed) return;
    this.pollNow();
    if (!this.#isDestroyed) startSpinning(this);
  }

  /** Handles the drain of the socket: everything that was sent before the upgrade is written. */
  socketDrained(): void {
    this.#isSocketDraining = false;
    if (this.#queuedBytes === 0) this.#handlers?.drain();
  }

  /** Handles the end of the socket. Bytes that the peer wrote before are still delivered. */
  socketEnded(error: Error | undefined): void {
    if (this.#isDestroyed || this.#socketEnd !== undefined) return;
    this.#socketEnd = { error };
    this.#dropQueue();
    // Everything is delivered at once. Code that learns of the end of the peer in another way
    // expects that its messages have arrived.
    while (this.pollNow() && !this.#hasEnded);
  }

  get hasQueuedBytes(): boolean {
    return this.#queuedBytes > 0;
  }

  get isDestroyed(): boolean {
    return this.#isDestroyed;
  }

  get isMidMessage(): boolean {
    return this.#queuedBytes > 0 || this.#isMidSection;
  }

  poll(): boolean {
    return this.#readCoalescer.isDeferring ? this.#endOnError(() => this.#writeQueued()) : this.pollNow();
  }

  /** Reads and writes what is possible, without the delay of the read coalescer. */
  pollNow(): boolean {
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

  get #canWriteNow(): boolean {
    return this.#queuedBytes === 0 && !this.#isDestroyed && this.#socketEnd === undefined;
  }

  get #canRead(): boolean {
    return this.#isReading && !this.#isPaused && !this.#isDestroyed;
  }

  /** Wakes the peer after a write if it sleeps, coalesced over a burst. */
  #wakeSoon(): void {
    this.#readCoalescer.recordWrite();
    if (this.#out.isReaderAsleep) this.#wakeCoalescer.trigger();
  }

  /** Runs an operation on the memory, and ends the stream if the peer has corrupted it. */
  #endOnError(run: () => boolean): boolean {
    if (this.#isDestroyed) return false;
    try {
      return run();
    } catch (error) {
      this.#end(error as Error);
      return true;
    }
  }

  /** Writes queued bytes as far as there is room; returns whether any were written. */
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

  /** Delivers arrived bytes up to the limit of one turn; returns whether there were any. */
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
