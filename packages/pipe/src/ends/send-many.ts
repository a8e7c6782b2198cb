/** `sendMany()`: sends values in order, and coalesces values that are available at once into few writes. */
import { describeValue, FlushLimiter, host } from "@multiproc/core/internal";

/** Values sent before the event loop runs once, so that a fast receiver does not starve this process. */
const MAX_SENDS_PER_TURN = 1000;

/** Values sent between two reads of the clock. */
const MAX_SENDS_PER_CLOCK_CHECK = 64;

export interface Sender {
  /** Sends a value, which may wait for `flush()`. Returns a promise if the caller must wait before the next one. */
  send(value: unknown): Promise<void> | undefined;
  flush(): void;
}

/**
 * Sends each of the values.
 *
 * @throws {TypeError} if `values` is not iterable
 */
export async function sendEach(values: Iterable<unknown> | AsyncIterable<unknown>, sender: Sender): Promise<void> {
  const iterable = values as Partial<Iterable<unknown> & AsyncIterable<unknown>> | null | undefined;
  if (typeof iterable?.[Symbol.asyncIterator] === "function")
    await sendAsyncIterable(values as AsyncIterable<unknown>, sender);
  else if (typeof iterable?.[Symbol.iterator] === "function") await sendIterable(values as Iterable<unknown>, sender);
  else throw new TypeError(`sendMany() takes the values to send as an iterable, not ${describeValue(values)}`);
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
