/**
 * The queue between the channels that bring messages and the calls that receive them.
 *
 * *Waiters* each take one message. *Watchers* (`poll()`, `wait()`) take nothing; each is notified
 * once. Invariant: while a waiter waits, the queue is empty.
 */
import { Fifo, type Frame } from "@multiproc/core/internal";
import { MAX_RECEIVE_QUEUE_BYTES } from "../protocol.ts";

/** Called with the next frame, or with undefined at the end of the pipe. */
type Waiter = (frame: Frame | undefined) => void;

export interface ReceiveQueueHandlers {
  /** A waiter or watcher was added. */
  waiterAdded(): void;
  /** The first waiter or any watcher was added (true), or the last of all was removed (false). */
  waitersChanged(isWaiting: boolean): void;
  /** The queue was full and is at most half full now. */
  drained(): void;
}

export class ReceiveQueue {
  /** Whether no more messages will arrive; queued ones can still be taken. */
  hasEnded = false;
  /** The error that ended the queue, if there was one. */
  cause: Error | undefined;
  readonly #handlers: ReceiveQueueHandlers;
  readonly #frames = new Fifo<Frame>();
  #byteCount = 0;
  #wasFull = false;
  readonly #waiters = new Set<Waiter>();
  readonly #watchers = new Set<() => void>();

  constructor(handlers: ReceiveQueueHandlers) {
    this.#handlers = handlers;
  }

  get size(): number {
    return this.#frames.size;
  }

  /** Whether a message, or the end, can be taken at once. */
  get isReady(): boolean {
    return this.size > 0 || this.hasEnded;
  }

  get isFull(): boolean {
    return this.#byteCount > MAX_RECEIVE_QUEUE_BYTES;
  }

  /** The messages that are awaited: one for each waiter, and one for watchers if only these wait. */
  get awaitedCount(): number {
    return this.#waiters.size || Math.min(this.#watchers.size, 1);
  }

  get waiterCount(): number {
    return this.#waiters.size;
  }

  push(frame: Frame): void {
    if (this.#waiters.size > 0 && this.size === 0) {
      const [waiter] = this.#waiters as Set<Waiter> & [Waiter];
      return this.#resolveWaiter(waiter, frame);
    }
    this.#frames.push(frame);
    this.#byteCount += frame.size;
    this.#wasFull ||= this.isFull;
    this.#notifyWatchers();
  }

  /** Puts messages back in front of all others. */
  unshift(frames: readonly Frame[]): void {
    this.#frames.unshift(frames);
    for (const frame of frames) this.#byteCount += frame.size;
    this.#wasFull ||= this.isFull;
    for (const waiter of this.#waiters) {
      const frame = this.take();
      if (frame === undefined) break;
      this.#resolveWaiter(waiter, frame);
    }
    if (this.size > 0) this.#notifyWatchers();
  }

  /** Returns the next message, which stays in the queue. */
  peek(): Frame | undefined {
    return this.#frames.first;
  }

  take(): Frame | undefined {
    const frame = this.#frames.shift();
    if (frame === undefined) return undefined;
    this.#byteCount -= frame.size;
    if (this.#wasFull && this.#byteCount < MAX_RECEIVE_QUEUE_BYTES / 2) {
      this.#wasFull = false;
      this.#handlers.drained();
    }
    return frame;
  }

  takeAll(): Frame[] {
    const frames = this.#frames.toArray();
    while (this.take() !== undefined) {} // keeps the byte count right
    return frames;
  }

  /** Adds a waiter for the next message. `cancel` removes it. */
  next(): { promise: Promise<Frame | undefined>; cancel: () => void } {
    let waiter: Waiter = () => {};
    const promise = new Promise<Frame | undefined>((resolve) => {
      waiter = resolve;
    });
    this.#waiters.add(waiter);
    if (this.#waiters.size === 1) this.#handlers.waitersChanged(true);
    this.#handlers.waiterAdded();
    return { promise, cancel: () => this.#removeWaiter(waiter) };
  }

  /** Calls `run` once, when a message or the end arrives. Returns a function that cancels this. */
  watch(run: () => void): () => void {
    this.#watchers.add(run);
    this.#handlers.waitersChanged(true);
    this.#handlers.waiterAdded();
    return () => {
      if (this.#watchers.delete(run)) this.#notifyIfIdle();
    };
  }

  end(cause?: Error): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    this.cause = cause;
    for (const waiter of [...this.#waiters]) this.#resolveWaiter(waiter, undefined);
    this.#notifyWatchers();
  }

  /** Clears the end, because the other end has a holder again. */
  reopen(): void {
    this.hasEnded = false;
    this.cause = undefined;
  }

  #resolveWaiter(waiter: Waiter, frame: Frame | undefined): void {
    this.#removeWaiter(waiter);
    waiter(frame);
  }

  #removeWaiter(waiter: Waiter): void {
    if (this.#waiters.delete(waiter)) this.#notifyIfIdle();
  }

  #notifyIfIdle(): void {
    if (this.#waiters.size === 0 && this.#watchers.size === 0) this.#handlers.waitersChanged(false);
  }

  #notifyWatchers(): void {
    if (this.#watchers.size === 0) return;
    const watchers = [...this.#watchers];
    this.#watchers.clear();
    this.#notifyIfIdle();
    for (const run of watchers) run();
  }
}
