/**
 * `put()` and `get()` of one process while the items are in a ring (`mpmc-ring.ts`). The puts of a
 * process keep their order, also across the move from the ring to the broker.
 */
import {
  AdaptiveSpin,
  type EncodedMessage,
  type Frame,
  host,
  pendingWork,
  type WaitOptions,
  type WaitQueue,
} from "@multiproc/core/internal";
import { type BlockOptions, isNonBlocking, withRemainingTimeout } from "../backend.ts";
import { QueueEmptyError, QueueFullError, QueueShutDownError } from "../errors.ts";
import type { MpmcRing } from "./mpmc-ring.ts";
import { MAX_INLINE_BODY_BYTES } from "./records.ts";

/**
 * How long a put waits for memory before it asks the owner process to close the ring. The short
 * timeout applies until a consumer has taken the first item. The long timeout applies after that,
 * because the consumer may only lack a CPU for a moment, and a closed ring stays closed. Slow
 * consumers must not delay producers, though. The short timeout therefore applies again after
 * MAX_LONG_WAIT_COUNT puts in a row that waited for more than SHORT_SPACE_TIMEOUT_MS.
 */
const SHORT_SPACE_TIMEOUT_MS = 50;
const LONG_SPACE_TIMEOUT_MS = 500;
const MAX_LONG_WAIT_COUNT = 8;
/** Puts of one event-loop turn enter the ring as one batch, up to this size. */
const MAX_BATCH_BYTES = 16 * 1024;

/** How long a consumer spins before it sleeps. A wakeup takes longer than that. */
const SPIN_MS = 0.1;

const SETTLED: Promise<void> = Promise.resolve();

/** The services of a backend that its ring client uses. */
export interface RingClientContext {
  readonly maxSize: number;
  /** Throws if the queue is closed in this process, or its owner process is gone. */
  assertUsable(): void;
  /** Asks the owner process to close the ring. */
  closeRing(): void;
  /**
   * Asks the owner process for the large-payload area. The owner process allocates the area and
   * wakes the producers. If it cannot, it closes the ring.
   */
  addLargeArea(): void;
  /**
   * Sends an item to the broker, after the ring was closed. The item has its place in the order of
   * puts when this call returns, before the promise settles.
   */
  putToBroker(call: string, item: unknown, message: EncodedMessage, options: BlockOptions): Promise<void>;
  /** Counts the waiting calls of this process, which may keep the program alive. */
  waitersChanged(change: 1 | -1): void;
}

/** The puts of one event-loop turn into an unbounded queue. */
class Batch {
  readonly messages: EncodedMessage[] = [];
  readonly frames: Frame[] = [];
  byteCount = 0;
  resolve!: (done: Promise<void> | undefined) => void;
  reject!: (error: unknown) => void;
  /** Settles when all items belong to the queue. */
  readonly done: Promise<void> = new Promise((resolve, reject) => {
    this.resolve = resolve as Batch["resolve"];
    this.reject = reject;
  });
}

/** Puts and takes the items of one process in a ring; see the header of this file. */
export class RingClient {
  readonly ring: MpmcRing;
  readonly #context: RingClientContext;
  /** The puts of this event-loop turn that are not in the ring yet. */
  #batch: Batch | undefined;
  /** The promise of the last batch. */
  #lastPut: Promise<void> = SETTLED;
  /** Waiting puts, in order. Only the first may enter the ring. */
  readonly #putOrder: object[] = [];
  /** Successful puts in a row that waited for more than SHORT_SPACE_TIMEOUT_MS. */
  #longWaitCount = 0;
  #isLargeAreaRequested = false;
  /** Whether a `get()` of this process spins. */
  #isSpinning = false;
  readonly #spin = new AdaptiveSpin(4);

  constructor(ring: MpmcRing, context: RingClientContext) {
    this.ring = ring;
    this.#context = context;
  }

  /** Whether the items are in the ring. */
  get isOpen(): boolean {
    return !this.ring.isClosed;
  }

  /**
   * Whether puts go through this object. They do while the ring is open. After that, they do until
   * all earlier puts have their place in the order.
   */
  get isInUse(): boolean {
    return this.isOpen || this.hasPendingPuts;
  }

  /** Whether an earlier put has no place in the order yet. */
  get hasPendingPuts(): boolean {
    return this.#batch !== undefined || this.#putOrder.length > 0;
  }

  /**
   * Puts an item into an unbounded queue, and waits as long as necessary. The puts of one
   * event-loop turn share a promise.
   */
  putBatched(message: EncodedMessage): Promise<void> {
    const { frame } = message;
    if (frame.size > MAX_INLINE_BODY_BYTES) this.#ensureLargeArea(frame);
    let batch = this.#batch;
    if (batch === undefined) {
      this.#batch = batch = new Batch();
      this.#lastPut = batch.done;
      void SETTLED.then(this.#flushSoon);
    }
    batch.messages.push(message);
    batch.frames.push(frame);
    batch.byteCount += frame.size;
    if (batch.byteCount > MAX_BATCH_BYTES) this.flush();
    return batch.done;
  }

  /** Puts an item; waits while the ring has no space or earlier puts wait. */
  async put(call: string, item: unknown, message: EncodedMessage, options: BlockOptions): Promise<void> {
    const { frame } = message;
    this.flush();
    if (frame.size > MAX_INLINE_BODY_BYTES) this.#ensureLargeArea(frame);
    const startedAt = performance.now();
    const fullError = (): QueueFullError => new QueueFullError(call, this.#context.maxSize, item);
    let brokerPut: Promise<void> | undefined;
    const attempt = (): boolean => {
      const result = this.ring.put([frame]);
      if (result === "shut down") throw new QueueShutDownError(call);
      if (result === "full" && isNonBlocking(options)) throw fullError();
      if (result === "closed")
        brokerPut = this.#context.putToBroker(call, item, message, withRemainingTimeout(options, startedAt));
      else if (result !== "accepted") return false;
      else message.commit(undefined);
      return true;
    };
    // A non-blocking put must not wait behind earlier puts, and must not overtake them.
    if (this.#putOrder.length > 0 && isNonBlocking(options)) throw fullError();
    if (this.#putOrder.length > 0 || !attempt()) {
      // If the ring lacks memory, even a non-blocking put waits, because the queue is not full. The
      // ring is closed after the timeout, and the broker accepts the item.
      if (!(await this.#waitTurn(attempt, call, isNonBlocking(options) ? {} : options))) throw fullError();
    }
    return brokerPut;
  }

  /** Puts the batch of this event-loop turn into the ring, or lets it wait for space. */
  flush(): void {
    const batch = this.#batch;
    if (batch === undefined) return;
    this.#batch = undefined;
    if (this.#putOrder.length === 0 && this.#putBatch(batch)) return;
    pendingWork.add(batch.done);
    this.#waitTurn(() => this.#putBatch(batch), "put()", {}).catch(batch.reject);
  }

  /** Settles when the last batch belongs to the queue, or was refused. */
  async flushed(): Promise<void> {
    this.flush();
    await this.#lastPut.catch(() => {});
  }

  /** Takes the next item. Returns undefined if an earlier `get()` of this process waits for it. */
  take(): Frame | undefined {
    if (this.#batch !== undefined) this.flush();
    return this.#isSpinning || this.ring.getters.isWaiting ? undefined : this.#take();
  }

  /** Waits for an item. Returns `"moved"` if the items have moved to the broker. */
  async get(call: string, options: BlockOptions): Promise<Frame | "moved"> {
    let found: Frame | "moved" | undefined;
    const check = (): boolean => {
      this.#context.assertUsable();
      if (this.#isSpinning) return false;
      found = this.#take();
      if (found === undefined && this.ring.isClosed) found = "moved";
      if (found === undefined && this.ring.isShutDown) {
        // Every item that was put before the shutdown is in the ring by now.
        found = this.#take();
        if (found === undefined && this.ring.isEmpty) throw new QueueShutDownError(call);
      }
      return found !== undefined;
    };
    if (!isNonBlocking(options)) found = await this.#spinForItem(options);
    if (found === undefined && isNonBlocking(options)) check();
    else if (found === undefined) await this.#wait(this.ring.getters, check, call, options);
    if (found === undefined) throw new QueueEmptyError(call);
    return found;
  }

  /** Spins for SPIN_MS until an item arrives. Later calls of `get()` must wait for that long. */
  async #spinForItem({ timeout = SPIN_MS, signal }: WaitOptions): Promise<Frame | undefined> {
    const { ring } = this;
    if (this.#isSpinning || ring.getters.isWaiting || timeout < SPIN_MS) return undefined;
    if (!this.#spin.shouldSpin) {
      this.#spin.record(false);
      return undefined;
    }
    this.#isSpinning = true;
    let frame: Frame | undefined;
    try {
      for (const end = performance.now() + SPIN_MS; frame === undefined && performance.now() < end; ) {
        await new Promise<void>((resolve) => host.setImmediate(resolve));
        if (signal?.aborted || ring.isClosed) break;
        frame = this.#take();
      }
    } finally {
      this.#isSpinning = false;
      if (ring.getters.isWaiting) ring.getters.recheckSoon();
    }
    this.#spin.record(frame !== undefined);
    return frame;
  }

  #take(): Frame | undefined {
    try {
      return this.ring.take();
    } catch {
      this.#context.closeRing(); // this process cannot map the large parts
      return undefined;
    }
  }

  /** Requests the large-payload area if an item needs it. Closes the ring if it does not fit. */
  #ensureLargeArea(frame: Frame): void {
    if (!this.ring.fits(frame)) return this.#context.closeRing();
    if (!this.ring.needsLargeArea(frame) || this.ring.hasLargeArea) return;
    this.#isLargeAreaRequested = true;
    this.#context.addLargeArea();
  }

  readonly #flushSoon = (): void => this.flush();

  /** Tries to put a batch. Returns false if the batch must wait. */
  #putBatch({ messages, frames, resolve, reject }: Batch): boolean {
    switch (this.ring.put(frames)) {
      case "accepted":
        for (const { commit } of messages) commit(undefined);
        resolve(undefined);
        return true;
      case "closed":
        resolve(this.#putAllToBroker(messages));
        return true;
      case "shut down":
        reject(new QueueShutDownError("put()"));
        return true;
      default:
        return false;
    }
  }

  async #putAllToBroker(messages: readonly EncodedMessage[]): Promise<void> {
    await Promise.all(messages.map((message) => this.#context.putToBroker("put()", undefined, message, {})));
  }

  /**
   * Waits until all earlier puts of this process have left the order and `attempt` has succeeded.
   *
   * @returns false if the timeout expired
   */
  async #waitTurn(attempt: () => boolean, call: string, options: WaitOptions): Promise<boolean> {
    const turn = {};
    this.#putOrder.push(turn);
    let startedAt = 0;
    const check = (): boolean => {
      this.#context.assertUsable();
      if (this.#putOrder[0] !== turn) return false;
      const now = performance.now();
      startedAt ||= now;
      if (attempt()) {
        if (now > startedAt)
          this.#longWaitCount = now - startedAt > SHORT_SPACE_TIMEOUT_MS ? this.#longWaitCount + 1 : 0;
        this.#putOrder.shift();
        return true;
      }
      const waitsForLargeArea = this.#isLargeAreaRequested && !this.ring.hasLargeArea;
      if (!waitsForLargeArea && !this.ring.isFull && now - startedAt > this.#spaceTimeoutMs) this.#context.closeRing();
      return false;
    };
    try {
      return await this.#wait(this.ring.putters, check, call, options);
    } finally {
      const index = this.#putOrder.indexOf(turn);
      if (index >= 0) this.#putOrder.splice(index, 1);
      // This put has failed, so the next one in order may try.
      if (index >= 0 && this.#putOrder.length > 0) this.ring.putters.wake(1);
    }
  }

  get #spaceTimeoutMs(): number {
    return this.ring.isUntouched || this.#longWaitCount >= MAX_LONG_WAIT_COUNT
      ? SHORT_SPACE_TIMEOUT_MS
      : LONG_SPACE_TIMEOUT_MS;
  }

  /**
   * Waits until `check` returns true. A wait with a timeout keeps the program alive by itself. During
   * any other wait, the connections to the processes that may end it keep the program alive.
   */
  async #wait(waitQueue: WaitQueue, check: () => boolean, call: string, options: WaitOptions): Promise<boolean> {
    this.#context.waitersChanged(1);
    try {
      return await waitQueue.wait(check, call, { ...options, keepAlive: options.timeout !== undefined });
    } finally {
      this.#context.waitersChanged(-1);
    }
  }
}
