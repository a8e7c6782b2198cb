/** The steps of a connection's receiving calls: check options, wait for a message, decode it. */
import {
  checkWaitOptions,
  type Frame,
  host,
  TIMED_OUT,
  type WaitOptions,
  withTimeout,
  withTimeoutOrThrow,
} from "@multiproc/core/internal";
import { ConnectionError, EOFError } from "../errors.ts";
import type { RecvManyOptions } from "../options.ts";
import { BYTES } from "../protocol.ts";
import type { PipeEnd } from "./pipe-end.ts";
import type { ReceiveQueue } from "./receive-queue.ts";

/** Returned where no message can be taken at once. */
export const EMPTY: unique symbol = Symbol("empty");

/** Default options of a call. `beginWait()` skips their check, which would slow down each small message. */
export const NO_OPTIONS: WaitOptions = {};
const RECV_MANY_OPTIONS: readonly string[] = ["max", "timeout", "signal"];

/** Checks the options of a receiving call; see `checkWaitOptions()`. If the signal is aborted, throws its reason. */
export function beginWait(call: string, options: WaitOptions, known?: readonly string[]): void {
  if (options === NO_OPTIONS) return;
  checkWaitOptions(call, options, known);
  options.signal?.throwIfAborted();
}

/** Checks the options of `recvMany()`, and returns its limit. */
export function checkRecvMany(options: RecvManyOptions): number {
  beginWait("recvMany()", options, RECV_MANY_OPTIONS);
  const { max = Number.POSITIVE_INFINITY } = options;
  if (!(typeof max === "number" && max >= 1))
    throw new RangeError(`recvMany() takes a max of 1 or more messages, not ${String(max)}`);
  return max;
}

/** Decodes a message, whose modules must be loaded. */
export function decodeFrame(end: PipeEnd, frame: Frame): unknown {
  return frame.kind === BYTES ? messageBytes(frame) : end.decode(frame);
}

/**
 * Appends the messages that can be taken at once to `messages`, which holds the first one.
 *
 * Stops at a message that needs a module. Decoding such a message can fail, and then the messages
 * that were taken before it would be lost.
 */
export function drainReady<T>(end: PipeEnd, messages: T[], maxCount: number): T[] {
  const { receiveQueue: queue } = end;
  for (let frame = queue.peek(); frame?.modules.length === 0 && messages.length < maxCount; frame = queue.peek()) {
    queue.take();
    messages.push(decodeFrame(end, frame) as T);
  }
  return messages;
}

/** Returns the bytes of a message that was sent as bytes, in memory that belongs to the receiver. */
export function messageBytes(frame: Frame): Uint8Array {
  return frame.parts[0] ?? frame.bytes.slice(frame.start, frame.end);
}

/**
 * Waits for the next message and takes it.
 *
 * @param connection the connection that receives, which may be closed during the wait
 * @param requireBytes whether to refuse a message that was sent by `send()`; it stays in the queue
 */
export async function nextFrame(
  connection: { readonly closed: boolean },
  end: PipeEnd,
  call: string,
  options: WaitOptions,
  requireBytes = false,
): Promise<Frame> {
  const { receiveQueue: queue } = end;
  if (!queue.isReady) {
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
    throw new ConnectionError(
      `${call} was cancelled by close(): receive before you close the connection`,
      "ERR_CONNECTION_CLOSED",
    );
  throw endOfPipe(end, call);
}

/** Waits until a message or the end can be taken. Returns false if the time ran out. */
export async function pollQueue(queue: ReceiveQueue, options: WaitOptions): Promise<boolean> {
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

/** Resolves after the event loop has read the data that has arrived. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => host.afterIo(resolve));
}

/** Returns the error of a call that finds the end of the pipe. */
export function endOfPipe(end: PipeEnd, call: string): EOFError {
  const { cause } = end.receiveQueue;
  const options = cause === undefined ? {} : { cause };
  return new EOFError(
    `${call} found the end of the pipe: no message is left, and the other end is closed in every process`,
    options,
  );
}

/** Whether an error reports the end of a pipe that was closed, and not a failure of its channel. */
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

/** The iterator of `for await`. An async generator would take twice the time per message. */
export class MessageIterator<T> implements AsyncIterableIterator<T, void, undefined> {
  readonly #takeReady: () => T | typeof EMPTY;
  readonly #receive: () => Promise<T>;
  #isDone = false;

  /**
   * @param takeReady takes a message that has arrived
   * @param receive waits for a message
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
