/**
 * The channel over a stream of bytes: a socket first, and shared memory once many messages were
 * sent (`transport-upgrade.ts`).
 *
 * `frame-writer.ts` does the sending (flush, batch, cork), `frame-reader.ts` the receiving. After
 * the upgrade the socket stays open: it carries wake-ups, and its end reports the death of the
 * peer.
 */
import { Decoder } from "../codec/decode/decoder.ts";
import { ChannelClosedError, ProtocolError } from "../errors.ts";
import type { ByteStream, StreamHandlers } from "../host/host.ts";
import { hasHungUp } from "../native/unix-socket.ts";
import type { DeliveryScope } from "../targets/shareable.ts";
import { type ChannelHandlers, type ChannelOptions, isReset, type SyncChannel } from "./channel.ts";
import { type Frame, MAX_MESSAGE_BYTES } from "./frame.ts";
import { FrameReader } from "./frame-reader.ts";
import { FrameWriter } from "./frame-writer.ts";
import { flushNow, openChannels } from "./open-channels.ts";
import type { RingStream } from "./ring-stream.ts";
import { Upgrade, type UpgradeTarget } from "./transport-upgrade.ts";

/** A channel over a socket, which can be upgraded to shared memory. */
export class StreamChannel implements SyncChannel {
  closed = false;
  /** The name of the peer in errors. */
  peer: string;
  readonly #socket: ByteStream;
  /** The stream that messages are read from: the socket, or the ring stream after the upgrade. */
  #source: ByteStream;
  #upgrade: Upgrade | undefined;
  readonly #frameWriter: FrameWriter;
  readonly #decoder = new Decoder();
  readonly #socketReader: FrameReader;
  /** The reader of the ring stream. */
  #memoryReader: FrameReader | undefined;
  #isPaused = false;
  #isEnding = false;
  #handlers: ChannelHandlers | undefined;
  /** The error that closed the channel; undefined if it was closed in order. */
  #reason: Error | undefined;
  #drainWaiters: Array<() => void> = [];
  #flushWaiters: Array<() => void> = [];
  readonly #endCallbacks: Array<() => void> = [];

  constructor(stream: ByteStream, options: ChannelOptions = {}) {
    this.#socket = this.#source = stream;
    this.#frameWriter = new FrameWriter(stream, options.shapes);
    this.#socketReader = new FrameReader(this.#emit, options.maxMessageBytes ?? MAX_MESSAGE_BYTES);
    this.peer = options.peer ?? "the other process";
    stream.unref();
    openChannels.add(this);
  }

  /** Sets the longest message that is accepted, in bytes. */
  set maxMessageBytes(bytes: number) {
    this.#socketReader.maxMessageBytes = bytes;
    if (this.#memoryReader !== undefined) this.#memoryReader.maxMessageBytes = bytes;
  }

  /** Sets how the shapes of later messages are encoded. */
  set shapes(shapes: "inline" | "dictionary") {
    this.#frameWriter.shapes = shapes;
  }

  start(handlers: ChannelHandlers): void {
    const isFirst = this.#handlers === undefined;
    this.#handlers = handlers;
    if (!isFirst) return;
    this.#socket.start({
      ...this.#dataHandlers(this.#socketReader),
      end: (error) =>
        this.#source === this.#socket ? this.#close(error) : this.#upgrade?.ringStream?.socketEnded(error),
      drain: () =>
        this.#frameWriter.stream === this.#socket ? this.#onDrain() : this.#upgrade?.ringStream?.socketDrained(),
    });
  }

  /**
   * Allows the upgrade to shared memory.
   *
   * @param isOffering whether this end offers the memory; the other end then accepts it
   */
  enableUpgrade(isOffering: boolean): Upgrade {
    const upgrade = new Upgrade(this.#socket, isOffering, this.#upgradeTarget());
    this.#socketReader.onControlFrame = (frame) => upgrade.handleControlFrame(frame);
    this.#upgrade = this.#frameWriter.upgrade = upgrade;
    return upgrade;
  }

  get isInMemory(): boolean {
    return this.#frameWriter.stream !== this.#socket && this.#source !== this.#socket;
  }

  get canBlock(): boolean {
    return !this.closed && this.#socket.fd !== undefined && this.#upgrade?.ringStream !== undefined;
  }

  upgradeSync(deadline: number): boolean {
    if (this.closed) return false;
    if (this.canBlock || this.#upgrade?.upgradeSync(deadline) === true) return true;
    const { fd } = this.#socket;
    if (fd !== undefined && hasHungUp(fd)) {
      this.#socket.readNow?.(); // delivers what had arrived
      this.#close();
    }
    return false;
  }

  // Before this thread blocks, it flushes all its channels: another process may wait for a message
  // of this turn, and a blocked thread cannot flush.

  waitSync(deadline: number): boolean {
    flushNow();
    return this.#upgrade?.ringStream?.blocking.waitSync(deadline) ?? true;
  }

  flushSync(): void {
    flushNow();
    this.#upgrade?.ringStream?.blocking.flushSync();
  }

  send(kind: number, value: unknown, root?: string, scope?: DeliveryScope, corked = false): boolean {
    this.#assertOpen();
    return this.#frameWriter.send(kind, value, root, scope, corked);
  }

  sendBytes(kind: number, bytes: Uint8Array): void {
    this.#assertOpen();
    this.#frameWriter.sendBytes(kind, bytes);
  }

  forward(kind: number, frame: Frame, isBorrowed = false): void {
    this.#assertOpen();
    this.#frameWriter.forward(kind, frame, isBorrowed);
  }

  forwardBytes(kind: number, bytes: Uint8Array, start: number, end: number): void {
    this.#assertOpen();
    this.#frameWriter.forwardBytes(kind, bytes, start, end);
  }

  decode(frame: Frame): unknown {
    return this.#decoder.decode(frame.bytes, frame.start, frame.end, frame.parts);
  }

  get full(): boolean {
    return this.#frameWriter.full;
  }

  drained(): Promise<void> {
    return this.full && !this.closed ? new Promise((resolve) => this.#drainWaiters.push(resolve)) : Promise.resolve();
  }

  flushed(): Promise<void> {
    this.flush();
    return this.#frameWriter.queuedBytes > 0 && !this.closed
      ? new Promise((resolve) => this.#flushWaiters.push(resolve))
      : Promise.resolve();
  }

  flush(): void {
    this.#frameWriter.flush();
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
    if (this.closed || this.#isEnding) return;
    this.#isEnding = true;
    this.#frameWriter.finish();
  }

  destroy(reason?: Error): void {
    if (this.closed) return;
    this.#reason ??= reason;
    this.#close();
  }

  ref(): void {
    this.#frameWriter.stream.ref();
  }

  unref(): void {
    this.#frameWriter.stream.unref();
  }

  onEnd(run: () => void): void {
    if (this.closed) run();
    else this.#endCallbacks.push(run);
  }

  readonly #emit = (frame: Frame): void => {
    if (this.#upgrade?.isCounting === true) this.#upgrade.recordMessage(frame.size);
    this.#handlers?.message(frame);
  };

  #upgradeTarget(): UpgradeTarget {
    return {
      isEnding: () => this.#isEnding,
      flush: () => this.flush(),
      writeTo: (ringStream) => this.#switchWriting(ringStream),
      readFrom: (ringStream) => this.#switchReading(ringStream),
    };
  }

  #switchWriting(ringStream: RingStream): void {
    if (!this.#isEnding) this.#frameWriter.switchTo(ringStream);
    const reader = new FrameReader(this.#emit, this.#socketReader.maxMessageBytes);
    this.#memoryReader = reader;
    ringStream.start({
      ...this.#dataHandlers(reader),
      end: (error) => this.#close(error),
      drain: () => this.#onDrain(),
    });
  }

  #switchReading(ringStream: RingStream): void {
    this.#source = ringStream;
    if (this.#isPaused) ringStream.pause();
    this.#socket.resume();
    ringStream.startReading();
  }

  /** The handlers that pass arriving bytes to a frame reader. */
  #dataHandlers(reader: FrameReader): Pick<StreamHandlers, "data" | "directBuffer" | "filled"> {
    return {
      data: (chunk) => this.#feed(() => reader.feed(chunk)),
      directBuffer: () => reader.directBuffer,
      filled: (count) => this.#feed(() => reader.filled(count)),
    };
  }

  #feed(run: () => void): void {
    if (this.closed) return;
    try {
      run();
    } catch (error) {
      this.destroy(
        error instanceof Error
          ? error
          : new ProtocolError(`A message handler of the channel to ${this.peer} failed`, { cause: error }),
      );
    }
  }

  #onDrain(): void {
    this.#frameWriter.onDrain();
    if (!this.full) for (const resolve of this.#drainWaiters.splice(0)) resolve();
    if (this.#frameWriter.queuedBytes === 0) for (const resolve of this.#flushWaiters.splice(0)) resolve();
  }

  #close(error?: Error): void {
    if (this.closed) return;
    this.closed = true;
    if (this.#socketReader.isMidFrame || this.#memoryReader?.isMidFrame === true)
      this.#reason ??= new ProtocolError(`The channel to ${this.peer} ended in the middle of a message`);
    if (error !== undefined && !isReset(error)) this.#reason ??= error;
    this.#frameWriter.destroy();
    this.#upgrade?.end();
    openChannels.delete(this);
    for (const run of [
      ...this.#drainWaiters.splice(0),
      ...this.#flushWaiters.splice(0),
      ...this.#endCallbacks.splice(0),
    ])
      run();
    this.#handlers?.closed(this.#reason);
  }

  #assertOpen(): void {
    if (this.closed || this.#isEnding)
      throw new ChannelClosedError(`The channel to ${this.peer} is closed`, { cause: this.#reason });
  }
}
