/**
 * The channel over a stream of bytes: that of a socket at first, and one through memory when much is said, see `upgrade.ts`. What it
 * sends is in `outgoing.ts`, how it reads in `frame-reader.ts`.
 */
import { Decoder } from "../codec/decode/decoder.ts";
import { ChannelClosedError, ProtocolError } from "../errors.ts";
import type { ByteStream, StreamHandlers } from "../host/host.ts";
import { hasHungUp } from "../native/unix-socket.ts";
import type { Carrier } from "../targets/shareable.ts";
import { type ChannelHandlers, type ChannelOptions, type Frame, isReset, type SyncChannel } from "./channel.ts";
import { FrameReader, MAX_MESSAGE } from "./frame-reader.ts";
import { Outgoing } from "./frame-writer.ts";
import { flushNow, openChannels } from "./open-channels.ts";
import type { RingStream } from "./ring-stream.ts";
import { type Movable, Upgrade } from "./transport-upgrade.ts";

/** A channel over a stream of bytes. */
export class SocketChannel implements SyncChannel {
  closed = false;
  /** What the other side is, for errors. */
  peer: string;
  readonly #socket: ByteStream;
  /** Where it reads. */
  #source: ByteStream;
  #upgrade: Upgrade | undefined;
  readonly #outgoing: Outgoing;
  readonly #decoder = new Decoder();
  readonly #reader: FrameReader;
  /** Of what arrives through memory. */
  #memoryReader: FrameReader | undefined;
  #isPaused = false;
  #ending = false;
  #handlers: ChannelHandlers | undefined;
  #reason: Error | undefined;
  #drained: Array<() => void> = [];
  #flushed: Array<() => void> = [];
  readonly #ends: Array<() => void> = [];

  constructor(stream: ByteStream, options: ChannelOptions = {}) {
    this.#socket = this.#source = stream;
    this.#outgoing = new Outgoing(stream, options.shapes);
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
    this.#outgoing.shapes = shapes;
  }

  start(handlers: ChannelHandlers): void {
    const isFirst = this.#handlers === undefined;
    this.#handlers = handlers;
    if (!isFirst) return;
    this.#socket.start({
      ...this.#feeding(this.#reader),
      end: (error) => (this.#source === this.#socket ? this.#ended(error) : this.#upgrade?.rings?.socketEnded(error)),
      drain: () => (this.#outgoing.stream === this.#socket ? this.#drain() : this.#upgrade?.rings?.socketDrained()),
    });
  }

  /** Has it move into memory when much is said; one of the two sides offers that, the other lets itself be moved. */
  mayMove(isOffering: boolean): Upgrade {
    const upgrade = new Upgrade(this.#socket, isOffering, this.#movable());
    this.#reader.control = (frame) => upgrade.take(frame);
    this.#upgrade = this.#outgoing.upgrade = upgrade;
    return upgrade;
  }

  get isInMemory(): boolean {
    return this.#outgoing.stream !== this.#socket && this.#source !== this.#socket;
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

  send(kind: number, value: unknown, root?: string, carrier?: Carrier, gathers = false): boolean {
    this.#assertOpen();
    return this.#outgoing.send(kind, value, root, carrier, gathers);
  }

  sendBytes(kind: number, bytes: Uint8Array): void {
    this.#assertOpen();
    this.#outgoing.sendBytes(kind, bytes);
  }

  forward(kind: number, frame: Frame, isBorrowed = false): void {
    this.#assertOpen();
    this.#outgoing.forward(kind, frame, isBorrowed);
  }

  forwardBytes(kind: number, bytes: Uint8Array, start: number, end: number): void {
    this.#assertOpen();
    this.#outgoing.forwardBytes(kind, bytes, start, end);
  }

  decode(frame: Frame): unknown {
    return this.#decoder.decode(frame.bytes, frame.start, frame.end, frame.parts);
  }

  get full(): boolean {
    return this.#outgoing.full;
  }

  drained(): Promise<void> {
    return this.full && !this.closed ? new Promise((resolve) => this.#drained.push(resolve)) : Promise.resolve();
  }

  flushed(): Promise<void> {
    this.flush();
    return this.#outgoing.queued > 0 && !this.closed
      ? new Promise((resolve) => this.#flushed.push(resolve))
      : Promise.resolve();
  }

  flush(): void {
    this.#outgoing.flush();
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
    this.#ending = true;
    this.#outgoing.finish();
  }

  destroy(reason?: Error): void {
    if (this.closed) return;
    this.#reason ??= reason;
    this.#ended();
  }

  ref(): void {
    this.#outgoing.stream.ref();
  }

  unref(): void {
    this.#outgoing.stream.unref();
  }

  onEnd(run: () => void): void {
    if (this.closed) run();
    else this.#ends.push(run);
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
    if (!this.#ending) this.#outgoing.moveTo(rings);
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
    this.#outgoing.drained();
    if (!this.full) for (const resolve of this.#drained.splice(0)) resolve();
    if (this.#outgoing.queued === 0) for (const resolve of this.#flushed.splice(0)) resolve();
  }

  #ended(error?: Error): void {
    if (this.closed) return;
    this.closed = true;
    if (this.#reader.isInside || this.#memoryReader?.isInside === true)
      this.#reason ??= new ProtocolError(`The channel to ${this.peer} ended in the middle of a message`);
    if (error !== undefined && !isReset(error)) this.#reason ??= error;
    this.#outgoing.destroy();
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
