/** Messages that have arrived and wait to be received, and those who wait for one. */
import { Fifo, type Frame } from "@multiproc/core/internal";
import { MAX_RECEIVE_QUEUE_BYTES } from "../protocol.ts";

/** Someone who waits; `frame` is missing when the inbox has ended. */
type Waiter = (frame: Frame | undefined) => void;

/** What an inbox tells its owner. */
export interface ReceiveQueueHandlers {
  /** Someone began to wait while there was nothing. */
  waiterAdded(): void;
  /** The first began to wait, or the last has stopped. */
  waitersChanged(isWaiting: boolean): void;
  /** There is room again after the inbox was full. */
  drained(): void;
}

/** A queue of messages in order. */
export class ReceiveQueue {
  /** Whether no more will come; what is there can still be taken. */
  ended = false;
  /** What ended it, if that was an error. */
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

  /** Whether a message or the end can be taken at once. */
  get isReady(): boolean {
    return this.size > 0 || this.ended;
  }

  /** Whether senders should wait. */
  get full(): boolean {
    return this.#byteCount > MAX_RECEIVE_QUEUE_BYTES;
  }

  /** How many wait for a message. */
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
    this.#wasFull ||= this.full;
    this.#notifyWatchers();
  }

  /** Puts messages back before all others. */
  unshift(frames: readonly Frame[]): void {
    this.#frames.unshift(frames);
    for (const frame of frames) this.#byteCount += frame.size;
    this.#wasFull ||= this.full;
    for (const waiter of this.#waiters) {
      const frame = this.take();
      if (frame === undefined) break;
      this.#resolveWaiter(waiter, frame);
    }
    if (this.size > 0) this.#notifyWatchers();
  }

  /** The next message, without taking it. */
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
    while (this.take() !== undefined) {} // counts them out
    return frames;
  }

  /** Waits for the next message; {@link Waiting.cancel} gives the place up. */
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

  /** Calls back once, as soon as a message is there or the end is. */
  watch(run: () => void): () => void {
    this.#watchers.add(run);
    this.#handlers.waitersChanged(true);
    this.#handlers.waiterAdded();
    return () => {
      if (this.#watchers.delete(run)) this.#notifyIfIdle();
    };
  }

  end(cause?: Error): void {
    if (this.ended) return;
    this.ended = true;
    this.cause = cause;
    for (const waiter of [...this.#waiters]) this.#resolveWaiter(waiter, undefined);
    this.#notifyWatchers();
  }

  /** Takes the end back: there is somebody again who could send. */
  reopen(): void {
    this.ended = false;
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
