/** What the calls of one process do while the items of its queue are in a ring; see `ring.ts`. */
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

/**
 * So many milliseconds a put waits for somebody to make room, before the home is asked to keep the items itself. More where
 * items are taken: who takes them may stand still for a moment, since other programs have the processors, and the home is
 * for good. But who takes them slowly must not hold up those who put, so after so many long waits in a row it is less again.
 */
const SHORT_SPACE_TIMEOUT_MS = 50;
const LONG_SPACE_TIMEOUT_MS = 500;
const MAX_LONG_WAIT_COUNT = 8;
/** Items that are put in one turn go into the ring together, but no more bytes than that. */
const MAX_BATCH_BYTES = 16 * 1024;

/** So many milliseconds who waits for an item looks again and again before it goes to sleep: to be woken costs more. */
const SPIN_MS = 0.1;

const SETTLED: Promise<void> = Promise.resolve();

/** What the process knows besides. */
export interface RingClientContext {
  readonly maxSize: number;
  /** Throws when the queue can be used no longer: its home is gone, or it was closed. */
  assertUsable(): void;
  /** Has the home keep the items itself. */
  closeRing(): void;
  /** Has the home make a place for large items; it wakes those who put then, or keeps the items itself. */
  addLargeArea(): void;
  /** Gives an item to the home, which keeps them now, before it returns: so it comes before all that is put later. */
  putToBroker(call: string, item: unknown, message: EncodedMessage, options: BlockOptions): Promise<void>;
  /** Somebody begins to wait, or has stopped: whether the program must stay alive for it. */
  waitersChanged(change: 1 | -1): void;
}

/** What is put in one turn, into a queue without a limit. */
class Batch {
  readonly messages: EncodedMessage[] = [];
  readonly frames: Frame[] = [];
  byteCount = 0;
  resolve!: (done: Promise<void> | undefined) => void;
  reject!: (error: unknown) => void;
  /** Settles when it is the queue's. */
  readonly done: Promise<void> = new Promise((resolve, reject) => {
    this.resolve = resolve as Batch["resolve"];
    this.reject = reject;
  });
}

/** A process's side of a ring. */
export class RingClient {
  readonly ring: MpmcRing;
  readonly #context: RingClientContext;
  /** What is put in this turn. */
  #batch: Batch | undefined;
  /** The last that was put so. */
  #lastPut: Promise<void> = SETTLED;
  /** Puts that wait, in order: none comes before another of the same process. */
  readonly #putOrder: object[] = [];
  /** How many that waited in line one after the other have done so for long. */
  #longWaitCount = 0;
  #isLargeAreaRequested = false;
  /** Somebody looks again and again. */
  #isSpinning = false;
  readonly #spin = new AdaptiveSpin(4);

  constructor(ring: MpmcRing, context: RingClientContext) {
    this.ring = ring;
    this.#context = context;
  }

  /** Whether the items are in the ring at this moment. */
  get isOpen(): boolean {
    return !this.ring.isClosed;
  }

  /**
   * Whether what is put goes through here: while the ring is open, and after that as long as something that was put before has not
   * its place yet.
   */
  get isInUse(): boolean {
    return this.isOpen || this.hasPendingPuts;
  }

  /** Whether something that was put before has not its place yet. */
  get hasPendingPuts(): boolean {
    return this.#batch !== undefined || this.#putOrder.length > 0;
  }

  /** Puts an item that may wait for ever, into a queue without a limit; what is put in one turn shares a promise. */
  putBatched(message: EncodedMessage): Promise<void> {
    const { frame } = message;
    if (frame.size > MAX_BATCH_BYTES) this.#ensureLargeArea(frame);
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

  /** Puts an item; at once, if there is room. */
  async put(call: string, item: unknown, message: EncodedMessage, options: BlockOptions): Promise<void> {
    const { frame } = message;
    this.flush();
    if (frame.size > MAX_BATCH_BYTES) this.#ensureLargeArea(frame);
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
    if (this.#putOrder.length > 0 && isNonBlocking(options)) throw fullError();
    if (this.#putOrder.length > 0 || !attempt()) {
      // Where there is no limit, there is room as soon as the home makes some.
      if (!(await this.#waitTurn(attempt, call, isNonBlocking(options) ? {} : options))) throw fullError();
    }
    return brokerPut;
  }

  /** Puts into the ring what was put in this turn so far. */
  flush(): void {
    const batch = this.#batch;
    if (batch === undefined) return;
    this.#batch = undefined;
    if (this.#putOrder.length === 0 && this.#putBatch(batch)) return;
    pendingWork.add(batch.done);
    this.#waitTurn(() => this.#putBatch(batch), "put()", {}).catch(batch.reject);
  }

  /** Settles when what was put here has its place. */
  async flushed(): Promise<void> {
    this.flush();
    await this.#lastPut.catch(() => {});
  }

  /** The next item, if it is there and nobody in this process has waited for it. */
  take(): Frame | undefined {
    if (this.#batch !== undefined) this.flush();
    return this.#isSpinning || this.ring.getters.isWaiting ? undefined : this.#take();
  }

  /** Waits for an item; `"moved"` if the home keeps them now. */
  async get(call: string, options: BlockOptions): Promise<Frame | "moved"> {
    let found: Frame | "moved" | undefined;
    const check = (): boolean => {
      this.#context.assertUsable();
      if (this.#isSpinning) return false;
      found = this.#take();
      if (found === undefined && this.ring.isClosed) found = "moved";
      if (found === undefined && this.ring.isShutDown) {
        // Whatever was put before the shutdown is there by now.
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

  /** Looks for an item for a moment; others of this process come after. */
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
      this.#context.closeRing(); // this process cannot map what it would take
      return undefined;
    }
  }

  /** Has a place made for a large item. */
  #ensureLargeArea(frame: Frame): void {
    if (!this.ring.fits(frame)) return this.#context.closeRing();
    if (!this.ring.needsLargeArea(frame) || this.ring.hasLargeArea) return;
    this.#isLargeAreaRequested = true;
    this.#context.addLargeArea();
  }

  readonly #flushSoon = (): void => this.flush();

  /** Whether nothing is left to do with a batch. */
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

  /** Waits until an attempt to put something is over, after those of all that came before in this process; false if the time ran out. */
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
      // Those of this process that stood behind it look again.
      if (index >= 0 && this.#putOrder.length > 0) this.ring.putters.wake(1);
    }
  }

  get #spaceTimeoutMs(): number {
    return this.ring.isUntouched || this.#longWaitCount >= MAX_LONG_WAIT_COUNT
      ? SHORT_SPACE_TIMEOUT_MS
      : LONG_SPACE_TIMEOUT_MS;
  }

  /** What may end a wait without a time limit keeps the program alive, and not the wait itself. */
  async #wait(waitQueue: WaitQueue, check: () => boolean, call: string, options: WaitOptions): Promise<boolean> {
    this.#context.waitersChanged(1);
    try {
      return await waitQueue.wait(check, call, { ...options, keepAlive: options.timeout !== undefined });
    } finally {
      this.#context.waitersChanged(-1);
    }
  }
}
