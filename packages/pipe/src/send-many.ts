/** Sending values one after the other. */
import { nextTurn } from "./wait.ts";

/** So many are sent until the event loop has its turn: other things of the process go on, however fast the other side is. */
const AT_ONCE = 1000;

/**
 * Sends each of the values.
 *
 * @param send sends one; its answer is what to wait for before the next
 * @throws {TypeError} if there is nothing to iterate over
 */
export async function sendEach(
  values: Iterable<unknown> | AsyncIterable<unknown>,
  send: (value: unknown) => Promise<void> | undefined,
): Promise<void> {
  const given = values as Partial<Iterable<unknown> & AsyncIterable<unknown>> | null | undefined;
  if (typeof given?.[Symbol.asyncIterator] === "function") {
    for await (const value of values) await send(value);
  } else if (typeof given?.[Symbol.iterator] === "function") {
    let count = 0;
    for (const value of values as Iterable<unknown>) {
      const room = send(value);
      if (room !== undefined) await room;
      else if (++count % AT_ONCE === 0) await nextTurn();
    }
  } else {
    throw new TypeError(`sendMany() takes the values to send as an iterable, not ${String(values)}`);
  }
}
