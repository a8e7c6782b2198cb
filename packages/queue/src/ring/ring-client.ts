/** What the calls of one process do while the items of its queue are in a ring; see `ring.ts`. */
import {
  type EncodedMessage,
  type Frame,
  host,
  leaving,
  Odds,
  type WaitList,
  type WaitOptions,
} from "@multiproc/core/internal";
import { type BlockOptions, isNow, remaining } from "../backend.ts";
import { QueueEmptyError, QueueFullError, QueueShutDownError } from "../errors.ts";
import type { Ring } from "./mpmc-ring.ts";

/**
 * So many milliseconds a put waits for somebody to make room, before the home is asked to keep the items itself. More where
 * items are taken: who takes them may stand still for a moment, since other programs have the processors, and the home is
 * for good. But who takes them slowly must not hold up those who put, so after so many long waits in a row it is less again.
 */
const PATIENCE = 50;
const LONGEST_PATIENCE = 500;
const MAX_LONG_WAITS = 8;
/** Items that are put in one turn go into the ring together, but no more bytes than that. */
const BATCH_SIZE = 16 * 1024;

/** So many milliseconds who waits for an item looks again and again before it goes to sleep: to be woken costs more. */
const LOOKING = 0.1;

const SETTLED: Promise<void> = Promise.resolve();

/** What the process knows besides. */
export interface RingOwner {
  readonly maxSize: number;
  /** Throws when the queue can be used no longer: its home is gone, or it was closed. */
  assertUsable(): void;
  /** Has the home keep the items itself. */
  leaveRing(): void;
  /** Has the home make a place for large items; it wakes those who put then, or keeps the items itself. */
  enlarge(): void;
  /** Gives an item to the home, which keeps them now, before it returns: so it comes before all that is put later. */
  moved(call: string, item: unknown, message: EncodedMessage, options: BlockOptions): Promise<void>;
  /** Somebody begins to wait, or has stopped: whether the program must stay alive for it. */
  waiting(change: 1 | -1): void;
}

/** What is put in one turn, into a queue without a limit. */
class Batch {
  readonly messages: EncodedMessage[] = [];
  readonly frames: Frame[] = [];
  size = 0;
  resolve!: (over: Promise<void> | undefined) => void;
  reject!: (error: unknown) => void;
  /** Settles when it is the queue's. */
  readonly over: Promise<void> = new Promise((resolve, reject) => {
    this.resolve = resolve as Batch["resolve"];
    this.reject = reject;
  });
}

/** A process's side of a ring. */
export class RingSide {
  readonly ring: Ring;
  readonly #owner: RingOwner;
  /** What is put in this turn. */
  #batch: Batch | undefined;
  /** The last that was put so. */
  #last: Promise<void> = SETTLED;
  /** Puts that wait, in order: none comes before another of the same process. */
  readonly #line: object[] = [];
  /** How many that waited in line one after the other have done so for long. */
  #longWaits = 0;
  #isEnlarging = false;
  /** Somebody looks again and again. */
  #isLooking = false;
  readonly #odds = new Odds(4);

  constructor(ring: Ring, owner: RingOwner) {
    this.ring = ring;
    this.#owner = owner;
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
    return this.isOpen || this.isBehind;
  }

  /** Whether something that was put before has not its place yet. */
  get isBehind(): boolean {
    return this.#batch !== undefined || this.#line.length > 0;
  }

  /** Puts an item that may wait for ever, into a queue without a limit; what is put in one turn shares a promise. */
  putSoon(message: EncodedMessage): Promise<void> {
    const { frame } = message;
    if (frame.size > BATCH_SIZE) this.#makePlace(frame);
    let batch = this.#batch;
    if (batch === undefined) {
      this.#batch = batch = new Batch();
      this.#last = batch.over;
      void SETTLED.then(this.#flushSoon);
    }
    batch.messages.push(message);
    batch.frames.push(frame);
    batch.size += frame.size;
    if (batch.size > BATCH_SIZE) this.flush();
    return batch.over;
  }

  /** Puts an item; at once, if there is room. */
  async put(call: string, item: unknown, message: EncodedMessage, options: BlockOptions): Promise<void> {
    const { frame } = message;
    this.flush();
    if (frame.size > BATCH_SIZE) this.#makePlace(frame);
    const began = performance.now();
    const full = (): QueueFullError => new QueueFullError(call, this.#owner.maxSize, item);
    let over: Promise<void> | undefined;
    const attempt = (): boolean => {
      const result = this.ring.put([frame]);
      if (result === "shut down") throw new QueueShutDownError(call);
      if (result === "full" && isNow(options)) throw full();
      if (result === "closed") over = this.#owner.moved(call, item, message, remaining(options, began));
      else if (result !== "accepted") return false;
      else message.commit(undefined);
      return true;
    };
    if (this.#line.length > 0 && isNow(options)) throw full();
    if (this.#line.length > 0 || !attempt()) {
      // Where there is no limit, there is room as soon as the home makes some.
      if (!(await this.#inLine(attempt, call, isNow(options) ? {} : options))) throw full();
    }
    return over;
  }

  /** Puts into the ring what was put in this turn so far. */
  flush(): void {
    const batch = this.#batch;
    if (batch === undefined) return;
    this.#batch = undefined;
    if (this.#line.length === 0 && this.#place(batch)) return;
    leaving.wait(batch.over);
    this.#inLine(() => this.#place(batch), "put()", {}).catch(batch.reject);
  }

  /** Settles when what was put here has its place. */
  async flushed(): Promise<void> {
    this.flush();
    await this.#last.catch(() => {});
  }

  /** The next item, if it is there and nobody in this process has waited for it. */
  take(): Frame | undefined {
    if (this.#batch !== undefined) this.flush();
    return this.#isLooking || this.ring.getters.isWaiting ? undefined : this.#take();
  }

  /** Waits for an item; `"moved"` if the home keeps them now. */
  async get(call: string, options: BlockOptions): Promise<Frame | "moved"> {
    let found: Frame | "moved" | undefined;
    const check = (): boolean => {
      this.#owner.assertUsable();
      if (this.#isLooking) return false;
      found = this.#take();
      if (found === undefined && this.ring.isClosed) found = "moved";
      if (found === undefined && this.ring.isShutDown) {
        // Whatever was put before the shutdown is there by now.
        found = this.#take();
        if (found === undefined && this.ring.isEmpty) throw new QueueShutDownError(call);
      }
      return found !== undefined;
    };
    if (!isNow(options)) found = await this.#look(options);
    if (found === undefined && isNow(options)) check();
    else if (found === undefined) await this.#wait(this.ring.getters, check, call, options);
    if (found === undefined) throw new QueueEmptyError(call);
    return found;
  }

  /** Looks for an item for a moment; others of this process come after. */
  async #look({ timeout = LOOKING, signal }: WaitOptions): Promise<Frame | undefined> {
    const { ring } = this;
    if (this.#isLooking || ring.getters.isWaiting || timeout < LOOKING) return undefined;
    if (!this.#odds.areGood) {
      this.#odds.note(false);
      return undefined;
    }
    this.#isLooking = true;
    let frame: Frame | undefined;
    try {
      for (const end = performance.now() + LOOKING; frame === undefined && performance.now() < end; ) {
        await new Promise<void>((resolve) => host.soon(resolve));
        if (signal?.aborted || ring.isClosed) break;
        frame = this.#take();
      }
    } finally {
      this.#isLooking = false;
      if (ring.getters.isWaiting) ring.getters.lookSoon();
    }
    this.#odds.note(frame !== undefined);
    return frame;
  }

  #take(): Frame | undefined {
    try {
      return this.ring.take();
    } catch {
      this.#owner.leaveRing(); // this process cannot map what it would take
      return undefined;
    }
  }

  /** Has a place made for a large item. */
  #makePlace(frame: Frame): void {
    if (!this.ring.fits(frame)) return this.#owner.leaveRing();
    if (!this.ring.isLarge(frame) || this.ring.isEnlarged) return;
    this.#isEnlarging = true;
    this.#owner.enlarge();
  }

  readonly #flushSoon = (): void => this.flush();

  /** Whether nothing is left to do with a batch. */
  #place({ messages, frames, resolve, reject }: Batch): boolean {
    switch (this.ring.put(frames)) {
      case "accepted":
        for (const { commit } of messages) commit(undefined);
        resolve(undefined);
        return true;
      case "closed":
        resolve(this.#allMoved(messages));
        return true;
      case "shut down":
        reject(new QueueShutDownError("put()"));
        return true;
      default:
        return false;
    }
  }

  async #allMoved(messages: readonly EncodedMessage[]): Promise<void> {
    await Promise.all(messages.map((message) => this.#owner.moved("put()", undefined, message, {})));
  }

  /** Waits until an attempt to put something is over, after those of all that came before in this process; false if the time ran out. */
  async #inLine(attempt: () => boolean, call: string, options: WaitOptions): Promise<boolean> {
    const place = {};
    this.#line.push(place);
    let began = 0;
    const check = (): boolean => {
      this.#owner.assertUsable();
      if (this.#line[0] !== place) return false;
      const now = performance.now();
      began ||= now;
      if (attempt()) {
        if (now > began) this.#longWaits = now - began > PATIENCE ? this.#longWaits + 1 : 0;
        this.#line.shift();
        return true;
      }
      const waitsForHome = this.#isEnlarging && !this.ring.isEnlarged;
      if (!waitsForHome && !this.ring.isFull && now - began > this.#patience) this.#owner.leaveRing();
      return false;
    };
    try {
      return await this.#wait(this.ring.putters, check, call, options);
    } finally {
      const at = this.#line.indexOf(place);
      if (at >= 0) this.#line.splice(at, 1);
      // Those of this process that stood behind it look again.
      if (at >= 0 && this.#line.length > 0) this.ring.putters.wake(1);
    }
  }

  get #patience(): number {
    return this.ring.isUntouched || this.#longWaits >= MAX_LONG_WAITS ? PATIENCE : LONGEST_PATIENCE;
  }

  /** What may end a wait without a time limit keeps the program alive, and not the wait itself. */
  async #wait(list: WaitList, check: () => boolean, call: string, options: WaitOptions): Promise<boolean> {
    this.#owner.waiting(1);
    try {
      return await list.wait(check, call, { ...options, keepAlive: options.timeout !== undefined });
    } finally {
      this.#owner.waiting(-1);
    }
  }
}
