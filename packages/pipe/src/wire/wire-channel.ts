/** A channel to a process that speaks CPython's `multiprocessing.connection`: it carries bytes alone. */
import { ChannelClosedError, ProtocolError, SendError } from "@multiproc/core";
import {
  type ByteStream,
  type Channel,
  type ChannelHandlers,
  type Frame,
  isReset,
  MAX_MESSAGE_BYTES,
  openChannels,
} from "@multiproc/core/internal";
import { LONG_HEADER, LONGEST_SHORT, SHORT_HEADER, WireReader } from "./wire-reader.ts";

const BUFFER_SIZE = 64 * 1024;
/** From here on, a message is written from the caller's memory. */
const LARGE = 16 * 1024;
const FULL_AT = 1024 * 1024;

/** Small messages that are sent within one turn leave in one write. */
export class WireChannel implements Channel {
  closed = false;
  readonly #stream: ByteStream;
  readonly #peer: string;
  readonly #reader: WireReader;
  #handlers: ChannelHandlers | undefined;
  #reason: Error | undefined;
  #out = new Uint8Array(BUFFER_SIZE);
  #size = 0;
  #isFlushPlanned = false;
  /** Whether memory of the callers is still to be written. */
  #borrows = false;
  #isEnding = false;
  readonly #drained: Array<() => void> = [];
  readonly #flushed: Array<() => void> = [];
  readonly #ends: Array<() => void> = [];

  /**
   * @param peer what the other side is, for errors
   * @param check looks at the first message; what it throws closes the channel
   */
  constructor(stream: ByteStream, peer: string, check?: (message: Uint8Array) => void) {
    this.#stream = stream;
    this.#peer = peer;
    let isFirst = check !== undefined;
    this.#reader = new WireReader((frame) => {
      if (isFirst) check?.(contentOf(frame));
      isFirst = false;
      this.#handlers?.message(frame);
    }, MAX_MESSAGE_BYTES);
    stream.unref();
    openChannels.add(this);
  }

  start(handlers: ChannelHandlers): void {
    this.#handlers = handlers;
    this.#stream.start({
      data: (chunk) => this.#read(() => this.#reader.feed(chunk)),
      directBuffer: () => this.#reader.room,
      filled: (count) => this.#read(() => this.#reader.filled(count)),
      end: (error) => this.#ended(error),
      drain: () => this.#drain(),
    });
  }

  send(_kind: number, _value: unknown, root = "value"): never {
    throw new SendError(root, "the other side takes bytes alone");
  }

  sendBytes(_kind: number, bytes: Uint8Array): void {
    this.#write(bytes, true);
  }

  forward(_kind: number, frame: Frame): void {
    this.#write(contentOf(frame), false);
  }

  forwardBytes(_kind: number, bytes: Uint8Array, start: number, end: number): void {
    this.#write(bytes.subarray(start, end), false);
  }

  decode(frame: Frame): never {
    throw new ProtocolError(`A message of ${frame.size} bytes from ${this.#peer} is no value`);
  }

  get full(): boolean {
    return this.#borrows || this.#queued > FULL_AT;
  }

  drained(): Promise<void> {
    return this.full && !this.closed ? new Promise((resolve) => this.#drained.push(resolve)) : Promise.resolve();
  }

  flushed(): Promise<void> {
    this.flush();
    return this.#queued > 0 && !this.closed ? new Promise((resolve) => this.#flushed.push(resolve)) : Promise.resolve();
  }

  flush(): void {
    if (this.#size === 0 || this.closed) return;
    const size = this.#size;
    this.#size = 0;
    this.#stream.write(this.#out.slice(0, size));
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
    this.#ended();
  }

  ref(): void {
    this.#stream.ref();
  }

  unref(): void {
    this.#stream.unref();
  }

  onEnd(run: () => void): void {
    if (this.closed) run();
    else this.#ends.push(run);
  }

  get #queued(): number {
    return this.#stream.pending + this.#size;
  }

  #write(bytes: Uint8Array, isBorrowed: boolean): void {
    if (this.closed || this.#isEnding)
      throw new ChannelClosedError(`The channel to ${this.#peer} is closed`, { cause: this.#reason });
    const { length } = bytes;
    if (length > MAX_MESSAGE_BYTES)
      throw new SendError("bytes", `it takes ${length} bytes, and a message holds at most ${MAX_MESSAGE_BYTES}`);
    if (this.#size + LONG_HEADER + Math.min(length, LARGE) > BUFFER_SIZE) this.flush();
    this.#writeHeader(length);
    if (length >= LARGE) {
      this.flush();
      this.#stream.write(bytes);
      this.#borrows ||= isBorrowed && this.#stream.pending > 0;
      return;
    }
    this.#out.set(bytes, this.#size);
    this.#size += length;
    this.#flushSoon();
  }

  #writeHeader(length: number): void {
    const view = new DataView(this.#out.buffer, this.#size);
    if (length <= LONGEST_SHORT) {
      view.setInt32(0, length);
      this.#size += SHORT_HEADER;
    } else {
      view.setInt32(0, -1);
      view.setBigUint64(SHORT_HEADER, BigInt(length));
      this.#size += LONG_HEADER;
    }
  }

  #flushSoon(): void {
    if (this.#isFlushPlanned) return;
    this.#isFlushPlanned = true;
    void Promise.resolve().then(() => {
      this.#isFlushPlanned = false;
      this.flush();
    });
  }

  #read(run: () => void): void {
    if (this.closed) return;
    try {
      run();
    } catch (error) {
      this.destroy(error as Error);
    }
  }

  #drain(): void {
    this.#borrows = false;
    if (!this.full) for (const resolve of this.#drained.splice(0)) resolve();
    if (this.#queued === 0) for (const resolve of this.#flushed.splice(0)) resolve();
  }

  #ended(error?: Error): void {
    if (this.closed) return;
    this.closed = true;
    if (this.#reader.isInside)
      this.#reason ??= new ProtocolError(`The connection to ${this.#peer} ended in the middle of a message`);
    if (error !== undefined && !isReset(error)) this.#reason ??= error;
    this.#stream.destroy();
    openChannels.delete(this);
    for (const run of [...this.#drained.splice(0), ...this.#flushed.splice(0), ...this.#ends.splice(0)]) run();
    this.#handlers?.closed(this.#reason);
  }
}

function contentOf(frame: Frame): Uint8Array {
  return frame.parts[0] ?? frame.bytes.subarray(frame.start, frame.end);
}
