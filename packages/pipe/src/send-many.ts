/** Sending values one after the other. */
import { host } from "@multiproc/core/internal";

/** So many are sent until the event loop has its turn: other things of the process go on, however fast the other side is. */
const AT_ONCE = 1000;

/** What comes so long after the last, in milliseconds, comes alone, and leaves at once. */
const ALONE = 0.02;
/** Others leave once in so many milliseconds. */
const MOMENT = 0.1;
const LONGEST_STRIDE = 64;

/** What sends. */
export interface Sender {
  /** Sends one value, which may wait for others behind it; the answer is what to wait for before the next. */
  send(value: unknown): Promise<void> | undefined;
  /** Sends what waits for others. */
  flush(): void;
}

/**
 * Sends each of the values. Those that are there at once leave together.
 *
 * @throws {TypeError} if there is nothing to iterate over
 */
export async function sendEach(values: Iterable<unknown> | AsyncIterable<unknown>, sender: Sender): Promise<void> {
  const given = values as Partial<Iterable<unknown> & AsyncIterable<unknown>> | null | undefined;
  if (typeof given?.[Symbol.asyncIterator] === "function") await sendAsync(values as AsyncIterable<unknown>, sender);
  else if (typeof given?.[Symbol.iterator] === "function") await sendSync(values as Iterable<unknown>, sender);
  else throw new TypeError(`sendMany() takes the values to send as an iterable, not ${String(values)}`);
}

async function sendSync(values: Iterable<unknown>, sender: Sender): Promise<void> {
  const clock = new Clock();
  let count = 0;
  try {
    for (const value of values) {
      const room = sender.send(value);
      count += 1;
      const hasTurn = count % AT_ONCE === 0;
      if (room !== undefined || hasTurn || clock.isTime()) sender.flush();
      if (room !== undefined) await room;
      else if (hasTurn) await new Promise<void>((resolve) => host.soon(resolve));
    }
  } finally {
    sender.flush();
  }
}

async function sendAsync(values: AsyncIterable<unknown>, sender: Sender): Promise<void> {
  for await (const value of values) {
    const room = sender.send(value);
    sender.flush();
    await room;
  }
}

/** Tells when what was sent has waited enough for others. It looks seldom while they come quickly: a look takes as long as a small message. */
class Clock {
  #looked = performance.now();
  /** The first one does not wait. */
  #told = 0;
  /** So many come from one look to the next. */
  #stride = 1;
  #left = 1;

  /** Another one was sent. */
  isTime(): boolean {
    this.#left -= 1;
    if (this.#left > 0) return false;
    const now = performance.now();
    const isQuick = now - this.#looked < ALONE;
    this.#looked = now;
    this.#stride = this.#left = isQuick ? Math.min(2 * this.#stride, LONGEST_STRIDE) : 1;
    if (isQuick && now - this.#told < MOMENT) return false;
    this.#told = now;
    return true;
  }
}
