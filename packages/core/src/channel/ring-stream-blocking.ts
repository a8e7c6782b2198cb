/**
 * The blocking half of a ring stream: waits and writes while the thread is blocked, for calls such
 * as `recvSync()`.
 *
 * A blocked thread runs no event loop, so the doorbell cannot wake it. It spins first, then sleeps
 * on a futex in the shared memory. The event loop does not report the end of the socket either, so
 * the thread checks between two sleeps whether the thread of the peer still exists.
 */
import type { ByteStream } from "../host/host.ts";
import { hasHungUp } from "../native/unix-socket.ts";
import { AdaptiveSpin } from "../shm/adaptive-spin.ts";
import type { SharedSegment } from "../shm/shared-memory-segment.ts";
import { hasExited } from "../shm/thread-id.ts";
import { type Pollable, pollNextTurn } from "./spin-poller.ts";
import { type SpscByteRing, WAKE_BY_FUTEX } from "./spsc-ring.ts";

/** The first sleep; each one is twice as long as the last. */
const MIN_SLEEP_MS = 2;
/** The longest sleep. After it, the thread checks whether the peer is alive. */
const MAX_SLEEP_MS = 20;
/** Checks of the ring before the thread sleeps. */
const SPIN_ITERATIONS = 5000;
/** Failed spins in a row after which the thread usually sleeps at once. */
const MAX_FAILED_SPINS = 8;

/** The ring stream as the blocking calls use it. */
export interface BlockableStream extends Pollable {
  readonly isDestroyed: boolean;
  readonly hasQueuedBytes: boolean;
  pollNow(): boolean;
  wakeNow(): void;
  socketEnded(error: Error | undefined): void;
}

/** The parts of a ring stream that it shares with its blocking half. */
export interface RingStreamParts {
  readonly socket: ByteStream;
  readonly memory: SharedSegment;
  readonly in: SpscByteRing;
  readonly out: SpscByteRing;
  /** The word that holds the thread id of the peer. */
  readonly peerIndex: number;
}

/** The calls of one stream that block the thread. Deadlines are on the clock of `performance`. */
export class RingStreamBlocking {
  readonly #stream: BlockableStream;
  readonly #parts: RingStreamParts;
  readonly #words: Int32Array;
  readonly #spin = new AdaptiveSpin(MAX_FAILED_SPINS);

  constructor(stream: BlockableStream, parts: RingStreamParts) {
    this.#stream = stream;
    this.#parts = parts;
    this.#words = new Int32Array(parts.memory.buffer);
  }

  /**
   * Blocks until the peer has attached the memory; returns false after the deadline, or if the peer
   * is gone.
   */
  waitForPeer(deadline: number): boolean {
    const { memory, peerIndex } = this.#parts;
    while (Atomics.load(this.#words, peerIndex) === 0) {
      const remainingMs = deadline - performance.now();
      if (remainingMs <= 0 || this.#hasPeerExited()) return false;
      memory.futexWait(peerIndex * 4, 0, Math.min(remainingMs, MAX_SLEEP_MS));
    }
    return true;
  }

  /**
   * Blocks until something was delivered or the stream has ended; returns false after the deadline.
   */
  waitSync(deadline: number): boolean {
    const stream = this.#stream;
    const ring = this.#parts.in;
    pollNextTurn(stream); // the event loop polls the stream when the thread is free again
    let sleepMs = MIN_SLEEP_MS;
    while (!stream.pollNow() && !stream.isDestroyed) {
      stream.wakeNow(); // coalesced wake-ups wait for the event loop, which a blocked thread never reaches
      if (ring.isEnded) stream.socketEnded(undefined);
      else if (!this.#spinForData()) {
        const remainingMs = deadline - performance.now();
        if (remainingMs <= 0) return false;
        if (!ring.prepareReaderSleep(WAKE_BY_FUTEX)) continue;
        ring.sleepReader(Math.min(sleepMs, remainingMs));
        ring.markReaderRunning();
        sleepMs = this.#checkPeerAfter(sleepMs);
      }
    }
    return true;
  }

  /** Blocks until everything that was written is in the ring, or the peer is gone. */
  flushSync(): void {
    const stream = this.#stream;
    const ring = this.#parts.out;
    let sleepMs = MIN_SLEEP_MS;
    while (stream.hasQueuedBytes && !stream.isDestroyed) {
      stream.wakeNow(); // as in `waitSync()`
      if (stream.pollNow() || !ring.prepareWriterSleep(WAKE_BY_FUTEX)) continue;
      ring.sleepWriter(sleepMs);
      ring.markWriterRunning();
      sleepMs = this.#checkPeerAfter(sleepMs);
    }
    stream.wakeNow();
  }

  /**
   * Ends the stream if the last sleep was the longest one and the peer has exited; returns the
   * length of the next sleep.
   */
  #checkPeerAfter(sleepMs: number): number {
    if (sleepMs === MAX_SLEEP_MS && this.#hasPeerExited()) this.#stream.socketEnded(undefined);
    return Math.min(2 * sleepMs, MAX_SLEEP_MS);
  }

  #spinForData(): boolean {
    const hasData = this.#spin.shouldSpin && this.#parts.in.spinForData(SPIN_ITERATIONS);
    this.#spin.record(hasData);
    return hasData;
  }

  #hasPeerExited(): boolean {
    const threadId = Atomics.load(this.#words, this.#parts.peerIndex);
    const { fd } = this.#parts.socket;
    return threadId === 0 ? fd !== undefined && hasHungUp(fd) : hasExited(threadId);
  }
}
