/**
 * The channel over a stream of bytes: that of a socket at first, and one through memory when much is said, see `upgrade.ts`.
 *
 * Each message is encoded in place behind the last. The buffer is handed to the system with the first message of a turn, then when
 * the turn ends or lasts, see `burst.ts`, or when it is large; memory takes each message at once. While the system still has an
 * earlier write to do, messages gather behind it. Parts are written from the caller's memory.
 */

import { ByteWriter } from "../codec/byte-writer.ts";
import { Decoder } from "../codec/decoder.ts";
import { Encoder } from "../codec/encoder.ts";
import { copyBytes } from "../copy-bytes.ts";
import { ChannelClosedError, ProtocolError, SendError } from "../errors.ts";
import type { ByteStream, StreamHandlers } from "../host/host.ts";
import { hasHungUp } from "../native/unix-socket.ts";
import { flushNow, openChannels } from "../open-channels.ts";
import type { Carrier } from "../shareable.ts";
import { Burst } from "./burst.ts";
import { type ChannelHandlers, type ChannelOptions, type Frame, isReset, NONE, type SyncChannel } from "./channel.ts";
import { FrameReader, HAS_MODULES, HEADER_SIZE, MARK, MAX_MESSAGE } from "./frame-reader.ts";
import type { RingStream } from "./ring-stream.ts";
import { type Movable, Upgrade } from "./upgrade.ts";

const FLUSH_AT = 48 * 1024;
const BUFFER_SIZE = 64 * 1024;
const FIRST_SIZE = 256;
/** Below this, a copy is cheaper than a new buffer. */
const COPY_BELOW = 4 * 1024;
const FULL_AT = 1024 * 1024;
/** From here on, bytes travel beside the frame instead of being copied into it. */
const PART_AT = 64 * 1024;

/** A channel over a stream of bytes. */
export class SocketChannel implements SyncChannel {
  closed = false;
  /** What the other side is, for errors. */
  peer: string;
  readonly #socket: ByteStream;
  /** Where it writes; and where it reads. */
  #stream: ByteStream;
  #source: ByteStream;
  /** The memory, once it writes there. */
  #rings: RingStream | undefined;
  #upgrade: Upgrade | undefined;
  #encoder: Encoder;
  readonly #decoder = new Decoder();
  readonly #reader: FrameReader;
  /** Of what arrives through memory. */
  #memoryReader: FrameReader | undefined;
  #isPaused = false;
  /** Small at first: most of many open channels carry little. */
  #out = new ByteWriter(FIRST_SIZE);
  #spare: ByteWriter | undefined;
  /** Hands what was sent to the system. */
  readonly #leaving = new Burst(() => {
    if (this.#stream.pending === 0) this.#flush();
  }, 1);
  #ending = false;
  #handlers: ChannelHandlers | undefined;
  #reason: Error | undefined;
  #drained: Array<() => void> = [];
  #flushed: Array<() => void> = [];
  readonly #ends: Array<() => void> = [];

  constructor(stream: ByteStream, options: ChannelOptions = {}) {
    this.#socket = this.#stream = this.#source = stream;
    this.#encoder = new Encoder({ shapes: options.shapes ?? "inline" });
    this.#reader = new FrameReader(this.#emit, options.limit ?? MAX_MESSAGE);
    this.peer = options.peer ?? "the other process";
    stream.unref();
    openChannels.add(this);
  }

  /** The longest message that is accepted from now on, in bytes. */
  set limit(bytes: number) {
    this.#reader.limit = bytes;
    if (this.#memoryReader !== undefined) this.#memoryReader.limit = bytes;
  }

  /** How messages are encoded from now on. */
  set shapes(shapes: "inline" | "dictionary") {
    this.#encoder = new Encoder({ shapes });
  }

  start(handlers: ChannelHandlers): void {
    const isFirst = this.#handlers === undefined;
    this.#handlers = handlers;
    if (!isFirst) return;
    this.#socket.start({
      ...this.#feeding(this.#reader),
      end: (error) => (this.#source === this.#socket ? this.#ended(error) : this.#upgrade?.rings?.socketEnded(error)),
      drain: () => (this.#stream === this.#socket ? this.#drain() : this.#upgrade?.rings?.socketDrained()),
    });
  }

  /** Has it move into memory when much is said; one of the two sides offers that, the other lets itself be moved. */
  mayMove(isOffering: boolean): Upgrade {
    const upgrade = new Upgrade(this.#socket, isOffering, this.#movable());
    this.#reader.control = (frame) => upgrade.take(frame);
    this.#upgrade = upgrade;
    return upgrade;
  }

  get isInMemory(): boolean {
    return this.#stream !== this.#socket && this.#source !== this.#socket;
  }

  get canBlock(): boolean {
    return !this.closed && this.#socket.file !== undefined && this.#upgrade?.rings !== undefined;
  }

  moveSync(until: number): boolean {
    if (this.closed) return false;
    if (this.canBlock || this.#upgrade?.moveSync(until) === true) return true;
    const { file } = this.#socket;
    if (file !== undefined && hasHungUp(file)) {
      this.#socket.readNow?.(); // what had arrived before
      this.#ended();
    }
    return false;
  }

  // Somebody may wait for what was said in this turn on any channel, and who is blocked says no more.

  waitSync(until: number): boolean {
    flushNow();
    return this.#upgrade?.rings?.waitSync(until) ?? true;
  }

  flushSync(): void {
    flushNow();
    this.#upgrade?.rings?.flushSync();
  }

  send(kind: number, value: unknown, root?: string, carrier?: Carrier): void {
    this.#assertOpen();
    const out = this.#out;
    const start = out.position;
    out.ensure(HEADER_SIZE);
    out.position = start + HEADER_SIZE;
    const encoder = this.#encoder;
    let isEncoded = false;
    try {
      encoder.encode(value, out, root);
      isEncoded = true;
      this.#close(kind, start, encoder.parts, encoder.modules, root);
    } catch (error) {
      out.position = start;
      if (isEncoded) encoder.discard(); // the receiver will not learn what this message defined
      throw error;
    }
    if (encoder.parts.length > 0) this.#borrow();
    encoder.commit(carrier);
  }

  sendBytes(kind: number, bytes: Uint8Array): void {
    if (bytes.length < PART_AT) return this.forwardBytes(kind, bytes, 0, bytes.length);
    this.#assertOpen();
    this.#close(kind, this.#append(bytes, 0, 0), [bytes], NONE);
    this.#borrow();
  }

  forward(kind: number, frame: Frame, isBorrowed = false): void {
    this.#assertOpen();
    this.#close(kind, this.#append(frame.bytes, frame.start, frame.end), frame.parts, frame.modules);
    if (isBorrowed && frame.parts.length > 0) this.#borrow();
  }

  forwardBytes(kind: number, bytes: Uint8Array, start: number, end: number): void {
    this.#assertOpen();
    this.#close(kind, this.#append(bytes, start, end), NONE, NONE);
  }

  decode(frame: Frame): unknown {
    return this.#decoder.decode(frame.bytes, frame.start, frame.end, frame.parts);
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
    this.#flush();
    this.#rings?.wakeNow();
  }

  #flush(): void {
    const out = this.#out;
    const size = out.position;
    if (size === 0 || this.closed) return;
    this.#rings?.wide.expect(size);
    out.position = 0;
    if (size < COPY_BELOW && this.#stream === this.#socket) this.#stream.write(out.bytes.slice(0, size));
    // Where nothing waits all has been copied, and the buffer is free.
    else if (this.#stream.write(out.bytes.subarray(0, size)) > 0) {
      this.#out = this.#spare ?? new ByteWriter(BUFFER_SIZE);
      this.#spare = undefined;
      this.#lent ??= out;
    }
  }

  pause(): void {
    this.#isPaused = true;
    this.#source.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#source.resume();
  }

  end(): void {
    if (this.closed || this.#ending) return;
    this.flush();
    this.#ending = true;
    this.#stream.finish();
  }

  destroy(reason?: Error): void {
    if (this.closed) return;
    this.#reason ??= reason;
    this.#stream.destroy();
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

  /** A buffer that is on its way; once all has left, it is used again. */
  #lent: ByteWriter | undefined;

  /** Whether memory of the callers is still to be written. */
  #borrows = false;

  /** Has the sender wait while parts that were just sent are still in its memory alone. */
  #borrow(): void {
    this.#borrows ||= this.#stream.pending > 0;
  }

  get #queued(): number {
    return this.#stream.pending + this.#out.position;
  }

  /** Appends a frame with these bytes as its body, and no header yet; answers where it begins. */
  #append(bytes: Uint8Array, start: number, end: number): number {
    const out = this.#out;
    const at = out.position;
    const length = end - start;
    out.ensure(HEADER_SIZE + length);
    const body = at + HEADER_SIZE;
    copyBytes(bytes, start, end, out.bytes, body);
    out.position = body + length;
    return at;
  }

  /** Completes the frame that began at `start`, and sees to it that it leaves. */
  #close(kind: number, start: number, parts: readonly Uint8Array[], modules: readonly string[], root = "value"): void {
    const out = this.#out;
    const length = out.position - start - HEADER_SIZE;
    const list = modules.length === 0 ? parts : [...parts, new TextEncoder().encode(JSON.stringify(modules))];
    const total = list.length === 0 ? length : list.reduce((sum, part) => sum + part.byteLength, length);
    if (total > MAX_MESSAGE)
      throw new SendError(root, `it takes ${total} bytes, and a message holds at most ${MAX_MESSAGE}`);
    if (list.length > 0xffff)
      throw new SendError(root, `it has ${list.length} large binary parts, and a message holds at most 65535`);
    const { bytes } = out;
    bytes[start] = length;
    bytes[start + 1] = length >> 8;
    bytes[start + 2] = length >> 16;
    bytes[start + 3] = length >> 24;
    bytes[start + 4] = kind;
    bytes[start + 5] = modules.length === 0 ? MARK : MARK | HAS_MODULES;
    bytes[start + 6] = list.length;
    bytes[start + 7] = list.length >> 8;
    if (list.length > 0) this.#writeParts(list, total);
    else if (this.#rings?.put(bytes, out.position) === true) out.position = 0;
    else if (out.position > FLUSH_AT) this.#flush();
    else this.#leaving.note();
    if (this.#upgrade?.isWatching === true) this.#upgrade.noteTraffic(total);
  }

  /** @param total how many bytes the message has, with its body */
  #writeParts(parts: readonly Uint8Array[], total: number): void {
    const out = this.#out;
    out.ensure(parts.length * 8);
    for (const part of parts) {
      out.view.setUint32(out.position, part.byteLength % 2 ** 32, true);
      out.view.setUint32(out.position + 4, Math.floor(part.byteLength / 2 ** 32), true);
      out.position += 8;
    }
    this.#rings?.wide.expect(total);
    this.#flush();
    for (const part of parts) if (part.byteLength > 0) this.#stream.write(part);
  }

  readonly #emit = (frame: Frame): void => {
    if (this.#upgrade?.isWatching === true) this.#upgrade.noteTraffic(frame.size);
    this.#handlers?.message(frame);
  };

  #movable(): Movable {
    return {
      isEnding: () => this.#ending,
      flush: () => this.flush(),
      writeTo: (rings) => this.#moveWriting(rings),
      readFrom: (rings) => this.#moveReading(rings),
    };
  }

  #moveWriting(rings: RingStream): void {
    if (!this.#ending) this.#stream = this.#rings = rings;
    this.#lent = undefined; // the socket may still have to write it
    const reader = new FrameReader(this.#emit, this.#reader.limit);
    this.#memoryReader = reader;
    rings.start({ ...this.#feeding(reader), end: (error) => this.#ended(error), drain: () => this.#drain() });
  }

  #moveReading(rings: RingStream): void {
    this.#source = rings;
    if (this.#isPaused) rings.pause();
    this.#socket.resume();
    rings.startReading();
  }

  /** What becomes of the bytes that arrive. */
  #feeding(reader: FrameReader): Pick<StreamHandlers, "data" | "room" | "filled"> {
    return {
      data: (chunk) => this.#read(() => reader.feed(chunk)),
      room: () => reader.room,
      filled: (count) => this.#read(() => reader.filled(count)),
    };
  }

  #read(run: () => void): void {
    if (this.closed) return;
    try {
      run();
    } catch (error) {
      this.destroy(
        error instanceof Error
          ? error
          : new ProtocolError(`A message from ${this.peer} could not be taken`, { cause: error }),
      );
    }
  }

  #drain(): void {
    // One that a huge message has grown is not worth keeping.
    if (this.#lent !== undefined && this.#lent.bytes.length <= 4 * BUFFER_SIZE) this.#spare ??= this.#lent;
    this.#lent = undefined;
    this.#borrows = false;
    this.#flush();
    if (!this.full) for (const resolve of this.#drained.splice(0)) resolve();
    if (this.#queued === 0) for (const resolve of this.#flushed.splice(0)) resolve();
  }

  #ended(error?: Error): void {
    if (this.closed) return;
    this.closed = true;
    if (this.#reader.isInside || this.#memoryReader?.isInside === true)
      this.#reason ??= new ProtocolError(`The channel to ${this.peer} ended in the middle of a message`);
    if (error !== undefined && !isReset(error)) this.#reason ??= error;
    this.#stream.destroy();
    this.#upgrade?.end();
    openChannels.delete(this);
    for (const run of [...this.#drained.splice(0), ...this.#flushed.splice(0), ...this.#ends.splice(0)]) run();
    this.#handlers?.closed(this.#reason);
  }

  #assertOpen(): void {
    if (this.closed || this.#ending)
      throw new ChannelClosedError(`The channel to ${this.peer} is closed`, { cause: this.#reason });
  }
}
