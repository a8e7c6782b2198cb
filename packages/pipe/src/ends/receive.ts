/** Receiving: what a connection does with the messages of its inbox. */
import { type Frame, TIMED_OUT, type WaitOptions, withTimeout, withTimeoutOrThrow } from "@multiproc/core/internal";
import { ConnectionError, EOFError } from "../errors.ts";
import { BYTES } from "../protocol.ts";
import { nextTurn } from "../wait.ts";
import type { PipeEnd } from "./pipe-end.ts";
import type { ReceiveQueue } from "./receive-queue.ts";

/** There is no message that could be given at once. */
export const EMPTY: unique symbol = Symbol("nothing");

/** What a message says; its modules must be loaded. */
export function decodeFrame(end: PipeEnd, frame: Frame): unknown {
  return frame.kind === BYTES ? messageBytes(frame) : end.decode(frame);
}

/**
 * Adds what else is there to messages that were received. Only such as need no module: what they say can be told without fail, and
 * nothing that was taken before is lost.
 */
export function drainReady<T>(end: PipeEnd, messages: T[], maxCount: number): T[] {
  const { receiveQueue: queue } = end;
  for (let frame = queue.peek(); frame?.modules.length === 0 && messages.length < maxCount; frame = queue.peek()) {
    queue.take();
    messages.push(decodeFrame(end, frame) as T);
  }
  return messages;
}

/** The bytes of a message that was sent as such; its memory is the receiver's own. */
export function messageBytes(frame: Frame): Uint8Array {
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
  end: PipeEnd,
  call: string,
  options: WaitOptions,
  requireBytes = false,
): Promise<Frame> {
  const { receiveQueue: queue } = end;
  if (queue.size === 0 && !queue.ended) {
    const { promise, cancel } = queue.next();
    try {
      const frame = await withTimeoutOrThrow(promise, call, options);
      if (frame !== undefined) {
        if (!isWrongKind(frame, requireBytes)) return frame;
        queue.unshift([frame]);
        throw notBytesError(call);
      }
    } finally {
      cancel();
    }
  }
  const frame = queue.peek();
  if (frame !== undefined) {
    if (isWrongKind(frame, requireBytes)) throw notBytesError(call);
    queue.take();
    return frame;
  }
  if (connection.closed)
    throw new ConnectionError(`${call} ended: the connection was closed meanwhile`, "ERR_CONNECTION_CLOSED");
  throw endOfPipe(end, call);
}

/** Whether something arrives in an inbox, or its end does, before the time is over. */
export async function pollQueue(queue: ReceiveQueue, options: WaitOptions): Promise<boolean> {
  options.signal?.throwIfAborted();
  let cancel = (): void => {};
  const ready = new Promise<true>((resolve) => {
    cancel = queue.watch(() => resolve(true));
  });
  try {
    if (options.timeout === 0) return await Promise.race([ready, nextTurn().then(() => queue.isReady)]);
    return (await withTimeout(ready, "poll()", options)) !== TIMED_OUT;
  } finally {
    cancel();
  }
}

/** The end: nobody is left who could send. */
export function endOfPipe(end: PipeEnd, call: string): EOFError {
  const { cause } = end.receiveQueue;
  const options = cause === undefined ? {} : { cause };
  return new EOFError(`${call} found no message, and nobody holds the other end any more`, options);
}

/** Whether that is how the receiving calls tell that no more will come, and nothing went wrong. */
export function isEndOfPipe(error: unknown): boolean {
  return error instanceof EOFError && error.cause === undefined;
}

function isWrongKind(frame: Frame, requireBytes: boolean): boolean {
  return requireBytes && frame.kind !== BYTES;
}

function notBytesError(call: string): ConnectionError {
  return new ConnectionError(`${call} found a value that was sent by send(): receive it with recv()`, "ERR_NOT_BYTES");
}

const DONE: IteratorResult<never, void> = { done: true, value: undefined };

/** What `for await` goes through: all messages until the other end is gone. A generator would take twice the time for each. */
export class MessageIterator<T> implements AsyncIterableIterator<T, void, undefined> {
  readonly #takeReady: () => T | typeof EMPTY;
  readonly #receive: () => Promise<T>;
  #isDone = false;

  /**
   * @param take gives what is there
   * @param wait gives what comes
   */
  constructor(takeReady: () => T | typeof EMPTY, receive: () => Promise<T>) {
    this.#takeReady = takeReady;
    this.#receive = receive;
  }

  next(): Promise<IteratorResult<T, void>> {
    if (this.#isDone) return Promise.resolve(DONE);
    try {
      const value = this.#takeReady();
      return value === EMPTY ? this.#nextLater() : Promise.resolve({ done: false, value });
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

  async #nextLater(): Promise<IteratorResult<T, void>> {
    try {
      return { done: false, value: await this.#receive() };
    } catch (error) {
      this.#isDone = true;
      if (isEndOfPipe(error)) return DONE;
      throw error;
    }
  }
}
