/**
 * Coalesces an expensive action over a burst of messages: a flush to the operating system, or the
 * wake-up of a sleeping reader. One such action costs as much as about a hundred messages. The
 * limits for the size of a batch are in `frame-writer.ts`.
 *
 * - The first messages of a burst run the action soon: in the next microtask, before the code that
 *   awaits their `send()` continues.
 * - Later messages are batched: the action runs once at the end of the burst. A burst ends with the
 *   turn of the event loop.
 * - A sender that computes between two messages keeps the turn from ending. Then a message that
 *   comes alone runs the action at once. Messages in quick succession run it once per interval of
 *   `flush-limiter.ts`.
 */
import { host } from "../host/mod.ts";
import { FlushLimiter } from "./flush-limiter.ts";

/** Schedules microtasks without the async context that Node creates for each `queueMicrotask()`. */
const SETTLED: Promise<void> = Promise.resolve();

/** Coalesces the action of one stream. */
export class Coalescer {
  readonly #action: () => void;
  readonly #immediateLimit: number;
  #isInBurst = false;
  #isScheduled = false;
  /** Immediate runs of the action in this burst. */
  #immediateRuns = 0;
  /** Limits the action after the immediate runs. The 1 makes it read the clock for each message. */
  readonly #limiter = new FlushLimiter(1);

  /**
   * @param action must do nothing if there is nothing to flush or to wake
   * @param immediateLimit how often the action runs immediately in a burst
   */
  constructor(action: () => void, immediateLimit: number) {
    this.#action = action;
    this.#immediateLimit = immediateLimit;
  }

  /** Requests the action for a message. */
  trigger(): void {
    if (!this.#isInBurst) this.#startBurst();
    if (this.#isScheduled) return;
    if (this.#immediateRuns < this.#immediateLimit) {
      this.#isScheduled = true;
      SETTLED.then(this.#runImmediately);
    } else if (this.#limiter.shouldFlush()) this.#action();
  }

  #startBurst(): void {
    this.#isInBurst = true;
    this.#immediateRuns = 0;
    host.setImmediate(this.#endBurst);
  }

  readonly #runImmediately = (): void => {
    this.#isScheduled = false;
    this.#immediateRuns += 1;
    this.#action();
  };

  readonly #endBurst = (): void => {
    this.#isInBurst = false;
    this.#action();
  };
}
