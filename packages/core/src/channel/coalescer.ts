/**
 * When something is done for messages that come in bursts, and costs as much as a hundred of them do: to hand them to the system, or
 * to wake who sleeps and should read them.
 *
 * The first messages of a burst have it done at once, each in the next microtask, before who awaited its `send()` goes on. For those
 * behind them it is done when the burst is over, which is when the event loop turns; and while that does not turn, because
 * the sender computes between two messages, for each that comes alone, and of those that come together once in a moment.
 */
import { host } from "../host/mod.ts";
import { Moments } from "./flush-limiter.ts";

/** Its reactions are microtasks without the context that Node makes for each of `queueMicrotask()`. */
const SETTLED: Promise<void> = Promise.resolve();

/** Does it for one stream; see the head of this file. */
export class Burst {
  readonly #act: () => void;
  readonly #atOnce: number;
  #isOn = false;
  #isPlanned = false;
  /** How often it was done at once in this burst. */
  #acts = 0;
  /** Of the messages after the first ones. */
  readonly #moments = new Moments(1);

  /**
   * @param act what is done; that may turn out to be nothing
   * @param atOnce how often in a burst that is done at once
   */
  constructor(act: () => void, atOnce: number) {
    this.#act = act;
    this.#atOnce = atOnce;
  }

  /** A message wants it done. */
  note(): void {
    if (!this.#isOn) this.#begin();
    if (this.#isPlanned) return;
    if (this.#acts < this.#atOnce) {
      this.#isPlanned = true;
      SETTLED.then(this.#actNow);
    } else if (this.#moments.isDue()) this.#act();
  }

  #begin(): void {
    this.#isOn = true;
    this.#acts = 0;
    host.soon(this.#end);
  }

  readonly #actNow = (): void => {
    this.#isPlanned = false;
    this.#acts += 1;
    this.#act();
  };

  readonly #end = (): void => {
    this.#isOn = false;
    this.#act();
  };
}
