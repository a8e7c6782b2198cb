/** Sending values one after the other. */
import { FlushLimiter, host } from "@multiproc/core/internal";

/** So many are sent until the event loop has its turn: other things of the process go on, however fast the other side is. */
const MAX_SENDS_PER_TURN = 1000;

/** So many that come quickly are sent without a look at the clock. */
const MAX_SENDS_PER_CLOCK_CHECK = 64;

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
  const iterable = values as Partial<Iterable<unknown> & AsyncIterable<unknown>> | null | undefined;
  if (typeof iterable?.[Symbol.asyncIterator] === "function")
    await sendAsyncIterable(values as AsyncIterable<unknown>, sender);
  else if (typeof iterable?.[Symbol.iterator] === "function") await sendIterable(values as Iterable<unknown>, sender);
  else throw new TypeError(`sendMany() takes the values to send as an iterable, not ${String(values)}`);
}

async function sendIterable(values: Iterable<unknown>, sender: Sender): Promise<void> {
  const flushLimiter = new FlushLimiter(MAX_SENDS_PER_CLOCK_CHECK);
  let count = 0;
  try {
    for (const value of values) {
      const drained = sender.send(value);
      count += 1;
      const yieldsTurn = count % MAX_SENDS_PER_TURN === 0;
      if (drained !== undefined || yieldsTurn || flushLimiter.shouldFlush()) sender.flush();
      if (drained !== undefined) await drained;
      else if (yieldsTurn) await new Promise<void>((resolve) => host.setImmediate(resolve));
    }
  } finally {
    sender.flush();
  }
}

async function sendAsyncIterable(values: AsyncIterable<unknown>, sender: Sender): Promise<void> {
  for await (const value of values) {
    const drained = sender.send(value);
    sender.flush();
    await drained;
  }
}
