/**
 * A channel to a process that speaks the wire format of CPython's `multiprocessing.connection`. It
 * carries bytes only, because the peer need not be a process of this library.
 */
import { ChannelClosedError, ProtocolError, SendError } from "@multiproc/core";
import {
  type ByteStream,
  type Channel,
  type ChannelHandlers,
  type Frame,
  isReset,
  MAX_MESSAGE_BYTES,
  openChannels,
  StreamChannel,
} from "@multiproc/core/internal";
import { LONG_HEADER_BYTES, MAX_SHORT_MESSAGE_BYTES, SHORT_HEADER_BYTES, WireReader } from "./wire-reader.ts";

const WRITE_BUFFER_BYTES = 64 * 1024;
/** Messages of this size and more are written directly from the caller's memory. */
const MIN_DIRECT_WRITE_BYTES = 16 * 1024;
const HIGH_WATER_BYTES = 1024 * 1024;

/** Returns a channel to an authenticated peer: for values if the peer uses this library, otherwise for bytes. */
export function authenticatedChannel(stream: ByteStream, isMultiproc: boolean, peer: string): Channel {
  return isMultiproc ? new StreamChannel(stream, { peer }) : new WireChannel(stream, peer);
}

/** A channel of messages without kinds. Coalesces small messages into one write, at the next microtask. */
export class WireChannel implements Channel {
  closed = false;
  readonly #stream: ByteStream;
  readonly #peer: string;
  readonly #reader: WireReader;
  #handlers: ChannelHandlers | undefined;
  #reason: Error | undefined;
  #buffer = new Uint8Array(WRITE_BUFFER_BYTES);
  #bufferedBytes = 0;
  #isFlushScheduled = false;
  /** Whether the stream still holds memory of a caller. */
  #hasBorrowedMemory = false;
  #isEnding = false;
  readonly #drainWaiters: Array<() => void> = [];
  readonly #flushWaiters: Array<() => void> = [];
  readonly #endListeners: Array<() => void> = [];

  /**
   * @param peer name of the peer, for errors
   * @param checkFirstMessage checks the first message; an error that it throws closes the channel
   */
  constructor(stream: ByteStream, peer: string, checkFirstMessage?: (message: Uint8Array) => void) {
    this.#stream = stream;
    this.#peer = peer;
    let isFirst = checkFirstMessage !== undefined;
    this.#reader = new WireReader((frame) => {
      if (isFirst) checkFirstMessage?.(messageView(frame));
      isFirst = false;
      this.#handlers?.message(frame);
    }, MAX_MESSAGE_BYTES);
    stream.unref();
    openChannels.add(this);
  }

  start(handlers: ChannelHandlers): void {
    this.#handlers = handlers;
    this.#stream.start({
      data: (chunk) => this.#feedReader(() => this.#reader.feed(chunk)),
      directBuffer: () => this.#reader.directBuffer,
      filled: (count) => this.#feedReader(() => this.#reader.filled(count)),
      end: (error) => this.#handleEnd(error),
      drain: () => this.#handleDrain(),
    });
  }

  send(_kind: number, _value: unknown, root = "value"): never {
    throw new SendError(root, "the peer takes bytes only");
  }

  sendBytes(_kind: number, bytes: Uint8Array): void {
    this.#write(bytes, true);
  }

  forward(_kind: number, frame: Frame): void {
    this.#write(messageView(frame), false);
  }

  forwardBytes(_kind: number, bytes: Uint8Array, start: number, end: number): void {
    this.#write(bytes.subarray(start, end), false);
  }

  decode(frame: Frame): never {
    throw new ProtocolError(`A message of ${frame.size} bytes from ${this.#peer} is not a value: receive it as bytes`);
  }

  get full(): boolean {
    return this.#hasBorrowedMemory || this.#queuedBytes > HIGH_WATER_BYTES;
  }

  drained(): Promise<void> {
    return this.full && !this.closed ? new Promise((resolve) => this.#drainWaiters.push(resolve)) : Promise.resolve();
  }

  flushed(): Promise<void> {
    this.flush();
    return this.#queuedBytes > 0 && !this.closed
      ? new Promise((resolve) => this.#flushWaiters.push(resolve))
      : Promise.resolve();
  }

  flush(): void {
    if (this.#bufferedBytes === 0 || this.closed) return;
    const size = this.#bufferedBytes;
    this.#bufferedBytes = 0;
    this.#stream.write(this.#buffer.slice(0, size));
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  end(): void {
    if (this.closed || this.#isEnding) return;
    this.flush();
    this.#isEnding = true;
    this.#stream.finish();
  }

  destroy(reason?: Error): void {
    if (this.closed) return;
    this.#reason ??= reason;
    this.#handleEnd();
  }

  ref(): void {
    this.#stream.ref();
  }

  unref(): void {
    this.#stream.unref();
  }

  onEnd(run: () => void): void {
    if (this.closed) run();
    else this.#endListeners.push(run);
  }

  get #queuedBytes(): number {
    return this.#stream.pending + this.#bufferedBytes;
  }

  #write(bytes: Uint8Array, isBorrowed: boolean): void {
    if (this.closed || this.#isEnding)
      throw new ChannelClosedError(`The channel to ${this.#peer} is closed`, { cause: this.#reason });
    const { length } = bytes;
    if (length > MAX_MESSAGE_BYTES)
      throw new SendError("bytes", `it takes ${length} bytes, and a message holds at most ${MAX_MESSAGE_BYTES}`);
    if (this.#bufferedBytes + LONG_HEADER_BYTES + Math.min(length, MIN_DIRECT_WRITE_BYTES) > WRITE_BUFFER_BYTES)
      this.flush();
    this.#writeHeader(length);
    if (length >= MIN_DIRECT_WRITE_BYTES) {
      this.flush();
      this.#stream.write(bytes);
      this.#hasBorrowedMemory ||= isBorrowed && this.#stream.pending > 0;
      return;
    }
    this.#buffer.set(bytes, this.#bufferedBytes);
    this.#bufferedBytes += length;
    this.#flushSoon();
  }

  #writeHeader(length: number): void {
    const view = new DataView(this.#buffer.buffer, this.#bufferedBytes);
    if (length <= MAX_SHORT_MESSAGE_BYTES) {
      view.setInt32(0, length);
      this.#bufferedBytes += SHORT_HEADER_BYTES;
    } else {
      view.setInt32(0, -1);
      view.setBigUint64(SHORT_HEADER_BYTES, BigInt(length));
      this.#bufferedBytes += LONG_HEADER_BYTES;
    }
  }

  #flushSoon(): void {
    if (this.#isFlushScheduled) return;
    this.#isFlushScheduled = true;
    void Promise.resolve().then(() => {
      this.#isFlushScheduled = false;
      this.flush();
    });
  }

  #feedReader(run: () => void): void {
    if (this.closed) return;
    try {
      run();
    } catch (error) {
      this.destroy(error as Error);
    }
  }

  #handleDrain(): void {
    this.#hasBorrowedMemory = false;
    if (!this.full) for (const resolve of this.#drainWaiters.splice(0)) resolve();
    if (this.#queuedBytes === 0) for (const resolve of this.#flushWaiters.splice(0)) resolve();
  }

  #handleEnd(error?: Error): void {
    if (this.closed) return;
    this.closed = true;
    if (this.#reader.isMidMessage)
      this.#reason ??= new ProtocolError(`The connection to ${this.#peer} ended in the middle of a message`);
    if (error !== undefined && !isReset(error)) this.#reason ??= error;
    this.#stream.destroy();
    openChannels.delete(this);
    for (const run of [
      ...this.#drainWaiters.splice(0),
      ...this.#flushWaiters.splice(0),
      ...this.#endListeners.splice(0),
    ])
      run();
    this.#handlers?.closed(this.#reason);
  }
}

function messageView(frame: Frame): Uint8Array {
  return frame.parts[0] ?? frame.bytes.subarray(frame.start, frame.end);
}
