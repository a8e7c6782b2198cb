/** What the calls of one process do while the items of its queue are in a ring; see `ring.ts`. */
import { type Frame, host, type WaitList, type WaitOptions } from "@multiproc/core/internal";
import { QueueEmptyError, QueueShutDownError } from "./errors.ts";
import { type BlockOptions, isNow } from "./link.ts";
import type { Ring } from "./ring.ts";

/** So many milliseconds a put waits for somebody to make room, before the home is asked to keep the items itself. */
const PATIENCE = 50;

/** So many milliseconds who waits for an item looks again and again before it goes to sleep: to be woken costs more. */
const LOOKING = 0.1;
/** After so many in vain in a row it goes to sleep at once, and tries again every so often. */
const MAX_MISSES = 4;
const TRY_AGAIN = 16;

/** What came of a put; `"moved"`: the home keeps the items now, and is to be given it. */
export type Placed = "accepted" | "full" | "moved";

/** What the process knows besides. */
export interface RingOwner {
  /** Throws when the queue can be used no longer: its home is gone, or it was closed. */
  assertUsable(): void;
  /** Has the home keep the items itself. */
  leaveRing(): void;
  /** Somebody begins to wait, or has stopped: whether the program must stay alive for it. */
  waiting(change: 1 | -1): void;
}

/** A process's side of a ring. */
export class RingSide {
  readonly ring: Ring;
  readonly #owner: RingOwner;
  /** Puts that wait, in order: none comes before another of the same process. */
  readonly #line: object[] = [];
  /** Somebody looks again and again. */
  #isLooking = false;
  #misses = 0;

  constructor(ring: Ring, owner: RingOwner) {
    this.ring = ring;
    this.#owner = owner;
  }

  /** Whether the items are in the ring at this moment. */
  get isOpen(): boolean {
    return !this.ring.isClosed;
  }

  /** Puts an item; at once, if there is room. */
  put(call: string, frame: Frame, options: BlockOptions): Placed | Promise<Placed> {
    if (this.#line.length > 0) return isNow(options) ? "full" : this.#putWaiting(call, frame, options);
    const result = this.ring.put(frame);
    switch (result) {
      case "accepted":
        return result;
      case "shut down":
        throw new QueueShutDownError(call);
      case "closed":
        return "moved";
      case "full":
        if (isNow(options)) return result;
        break;
      case "too large":
        this.#owner.leaveRing();
    }
    // Where there is no limit, there is room as soon as the home makes some.
    return this.#putWaiting(call, frame, isNow(options) ? {} : options);
  }

  /** The next item, if it is there and nobody in this process has waited for it. */
  take(): Frame | undefined {
    return this.#isLooking || this.ring.getters.isWaiting ? undefined : this.ring.take();
  }

  /** Waits for an item; `"moved"` if the home keeps them now. */
  async get(call: string, options: BlockOptions): Promise<Frame | "moved"> {
    let found: Frame | "moved" | undefined;
    const check = (): boolean => {
      this.#owner.assertUsable();
      if (this.#isLooking) return false;
      found = this.ring.take();
      if (found === undefined && this.ring.isClosed) found = "moved";
      if (found === undefined && this.ring.isShutDown) {
        // Whatever was put before the shutdown is there by now.
        found = this.ring.take();
        if (found === undefined) throw new QueueShutDownError(call);
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
    this.#misses += 1;
    if (this.#misses > MAX_MISSES && this.#misses % TRY_AGAIN !== 0) return undefined;
    this.#isLooking = true;
    let frame: Frame | undefined;
    try {
      for (const end = performance.now() + LOOKING; frame === undefined && performance.now() < end; ) {
        await new Promise<void>((resolve) => host.immediate(resolve));
        if (signal?.aborted || ring.isClosed) break;
        frame = ring.take();
      }
    } finally {
      this.#isLooking = false;
      if (ring.getters.isWaiting) ring.getters.lookSoon();
    }
    if (frame !== undefined) this.#misses = 0;
    return frame;
  }

  async #putWaiting(call: string, frame: Frame, options: WaitOptions): Promise<Placed> {
    const place = {};
    this.#line.push(place);
    let result: Placed = "full";
    let began = 0;
    const check = (): boolean => {
      this.#owner.assertUsable();
      if (this.#line[0] !== place) return false;
      const outcome = this.ring.put(frame);
      if (outcome === "shut down") throw new QueueShutDownError(call);
      if (outcome === "accepted" || outcome === "closed") {
        result = outcome === "closed" ? "moved" : outcome;
        this.#line.shift();
        return true;
      }
      began ||= performance.now();
      if (outcome === "too large" || (outcome === "no space" && performance.now() - began > PATIENCE))
        this.#owner.leaveRing();
      return false;
    };
    try {
      await this.#wait(this.ring.putters, check, call, options);
    } finally {
      const at = this.#line.indexOf(place);
      if (at >= 0) this.#line.splice(at, 1);
      // Those of this process that stood behind it look again.
      if (at >= 0 && this.#line.length > 0) this.ring.putters.wake(1);
    }
    return result;
  }

  /** What may end a wait without a time limit keeps the program alive, and not the wait itself. */
  async #wait(list: WaitList, check: () => boolean, call: string, options: WaitOptions): Promise<void> {
    this.#owner.waiting(1);
    try {
      await list.wait(check, call, { ...options, keepAlive: options.timeout !== undefined });
    } finally {
      this.#owner.waiting(-1);
    }
  }
}
