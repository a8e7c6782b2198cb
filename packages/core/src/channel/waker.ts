/**
 * When a reader is woken that sleeps while messages are written for it.
 *
 * What is written is there at once for who is awake. To wake a sleeper costs as much as a hundred messages do; and one that shares the
 * writer's processor takes it away, reads the one message, and sleeps again. So within a burst, while the writer does not come
 * to its event loop, a reader that falls asleep again and again is woken no more than once in a moment, and when the burst is over.
 */
import { host } from "../host/mod.ts";

/** In milliseconds. */
const MOMENT = 0.1;
/** So often a burst wakes its reader without delay. */
const FREE_WAKES = 8;
/** So many messages may go by between two looks at the clock. */
const MOST_UNSEEN = 64;

/** Wakes the reader of one stream; see the head of this file. */
export class Waker {
  readonly #wake: () => void;
  #isBurst = false;
  /** How often the reader was woken in this burst, and when last. */
  #wakes = 0;
  #woke = 0;
  /** When the clock was last looked at, how many messages go by between two looks, and how many are left. */
  #looked = 0;
  #unseen = 1;
  #left = 1;

  /** @param wake wakes the reader if it still sleeps */
  constructor(wake: () => void) {
    this.#wake = wake;
  }

  /** Something was written while the reader slept. */
  note(): void {
    if (!this.#isBurst) {
      this.#isBurst = true;
      this.#wakes = 0;
      this.#left = this.#unseen = 1;
      host.soon(this.#end);
    }
    if (this.#wakes < FREE_WAKES) this.#wakeAt(0);
    else if (--this.#left === 0) this.#look();
  }

  #look(): void {
    const now = performance.now();
    // Where messages follow each other quickly, the clock would cost more than they do.
    this.#unseen = now - this.#looked < MOMENT / 10 ? Math.min(2 * this.#unseen, MOST_UNSEEN) : 1;
    this.#left = this.#unseen;
    this.#looked = now;
    if (now - this.#woke >= MOMENT) this.#wakeAt(now);
  }

  #wakeAt(now: number): void {
    this.#wakes += 1;
    this.#woke = now;
    this.#wake();
  }

  readonly #end = (): void => {
    this.#isBurst = false;
    this.#wake();
  };
}
