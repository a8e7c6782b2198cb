/** Sending values one after the other. */
import { FlushLimiter, host } from "@multiproc/core/internal";

/** So many are sent until the event loop has its turn: other things of the process go on, however fast the other side is. */
const AT_ONCE = 1000;

/** So many that come quickly are sent without a look at the clock. */
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
  const moments = new FlushLimiter(LONGEST_STRIDE);
  let count = 0;
  try {
    for (const value of values) {
      const room = sender.send(value);
      count += 1;
      const hasTurn = count % AT_ONCE === 0;
      if (room !== undefined || hasTurn || moments.shouldFlush()) sender.flush();
      if (room !== undefined) await room;
      else if (hasTurn) await new Promise<void>((resolve) => host.setImmediate(resolve));
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
