/**
 * When something is done for messages that come in bursts, and costs as much as a hundred of them do: to hand them to the system, or
 * to wake who sleeps and should read them.
 *
 * The first messages of a burst have it done at once, each in the next microtask, before who awaited its `send()` goes on. For those
 * behind them it is done when the burst is over, which is when the event loop turns; and while that does not turn, because
 * the sender computes between two messages, for each that comes alone, and of those that come together once in a moment.
 */
import { host } from "../host/mod.ts";
import { FlushLimiter } from "./flush-limiter.ts";

/** Its reactions are microtasks without the context that Node makes for each of `queueMicrotask()`. */
const SETTLED: Promise<void> = Promise.resolve();

/** Does it for one stream; see the head of this file. */
export class Coalescer {
  readonly #action: () => void;
  readonly #immediateLimit: number;
  #isInBurst = false;
  #isScheduled = false;
  /** How often it was done at once in this burst. */
  #immediateRuns = 0;
  /** Of the messages after the first ones. */
  readonly #limiter = new FlushLimiter(1);

  /**
   * @param act what is done; that may turn out to be nothing
   * @param atOnce how often in a burst that is done at once
   */
  constructor(action: () => void, immediateLimit: number) {
    this.#action = action;
    this.#immediateLimit = immediateLimit;
  }

  /** A message wants it done. */
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
