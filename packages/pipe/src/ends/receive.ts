/** Receiving: what a connection does with the messages of its inbox. */
import { type Frame, TIMED_OUT, type WaitOptions, withTimeout, withTimeoutOrThrow } from "@multiproc/core/internal";
import { ConnectionError, EOFError } from "../errors.ts";
import { BYTES } from "../protocol.ts";
import { nextTurn } from "../wait.ts";
import type { Link } from "./pipe-end.ts";
import type { Inbox } from "./receive-queue.ts";

/** There is no message that could be given at once. */
export const NOTHING: unique symbol = Symbol("nothing");

/** What a message says; its modules must be loaded. */
export function contentOf(link: Link, frame: Frame): unknown {
  return frame.kind === BYTES ? bytesOf(frame) : link.decode(frame);
}

/**
 * Adds what else is there to messages that were received. Only such as need no module: what they say can be told without fail, and
 * nothing that was taken before is lost.
 */
export function takeMore<T>(link: Link, messages: T[], most: number): T[] {
  const { inbox } = link;
  for (let frame = inbox.peek(); frame?.modules.length === 0 && messages.length < most; frame = inbox.peek()) {
    inbox.take();
    messages.push(contentOf(link, frame) as T);
  }
  return messages;
}

/** The bytes of a message that was sent as such; its memory is the receiver's own. */
export function bytesOf(frame: Frame): Uint8Array {
  return frame.parts[0] ?? frame.bytes.slice(frame.start, frame.end);
}

/**
 * The next message; waits while there is none.
 *
 * @param connection whose it is, which may be closed meanwhile
 * @param bytesOnly whether a message that was sent by `send()` is refused; it stays
 */
export async function nextFrame(
  connection: { readonly closed: boolean },
  link: Link,
  call: string,
  options: WaitOptions,
  bytesOnly = false,
): Promise<Frame> {
  const { inbox } = link;
  if (inbox.size === 0 && !inbox.ended) {
    const { promise, cancel } = inbox.next();
    try {
      const frame = await withTimeoutOrThrow(promise, call, options);
      if (frame !== undefined) {
        if (!isRefused(frame, bytesOnly)) return frame;
        inbox.unshift([frame]);
        throw notBytes(call);
      }
    } finally {
      cancel();
    }
  }
  const frame = inbox.peek();
  if (frame !== undefined) {
    if (isRefused(frame, bytesOnly)) throw notBytes(call);
    inbox.take();
    return frame;
  }
  if (connection.closed)
    throw new ConnectionError(`${call} ended: the connection was closed meanwhile`, "ERR_CONNECTION_CLOSED");
  throw nothingLeft(link, call);
}

/** Whether something arrives in an inbox, or its end does, before the time is over. */
export async function pollInbox(inbox: Inbox, options: WaitOptions): Promise<boolean> {
  options.signal?.throwIfAborted();
  let cancel = (): void => {};
  const arrival = new Promise<true>((resolve) => {
    cancel = inbox.watch(() => resolve(true));
  });
  try {
    if (options.timeout === 0) return await Promise.race([arrival, nextTurn().then(() => inbox.isReady)]);
    return (await withTimeout(arrival, "poll()", options)) !== TIMED_OUT;
  } finally {
    cancel();
  }
}

/** The end: nobody is left who could send. */
export function nothingLeft(link: Link, call: string): EOFError {
  const { cause } = link.inbox;
  const options = cause === undefined ? {} : { cause };
  return new EOFError(`${call} found no message, and nobody holds the other end any more`, options);
}

/** Whether that is how the receiving calls tell that no more will come, and nothing went wrong. */
export function isEnd(error: unknown): boolean {
  return error instanceof EOFError && error.cause === undefined;
}

function isRefused(frame: Frame, bytesOnly: boolean): boolean {
  return bytesOnly && frame.kind !== BYTES;
}

function notBytes(call: string): ConnectionError {
  return new ConnectionError(`${call} found a value that was sent by send(): receive it with recv()`, "ERR_NOT_BYTES");
}

const DONE: IteratorResult<never, void> = { done: true, value: undefined };

/** What `for await` goes through: all messages until the other end is gone. A generator would take twice the time for each. */
export class Messages<T> implements AsyncIterableIterator<T, void, undefined> {
  readonly #take: () => T | typeof NOTHING;
  readonly #wait: () => Promise<T>;
  #isDone = false;

  /**
   * @param take gives what is there
   * @param wait gives what comes
   */
  constructor(take: () => T | typeof NOTHING, wait: () => Promise<T>) {
    this.#take = take;
    this.#wait = wait;
  }

  next(): Promise<IteratorResult<T, void>> {
    if (this.#isDone) return Promise.resolve(DONE);
    try {
      const value = this.#take();
      return value === NOTHING ? this.#waited() : Promise.resolve({ done: false, value });
    } catch (error) {
      this.#isDone = true;
      return Promise.reject(error);
    }
  }

  return(): Promise<IteratorResult<T, void>> {
    this.#isDone = true;
    return Promise.resolve(DONE);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async #waited(): Promise<IteratorResult<T, void>> {
    try {
      return { done: false, value: await this.#wait() };
    } catch (error) {
      this.#isDone = true;
      if (isEnd(error)) return DONE;
      throw error;
    }
  }
}
