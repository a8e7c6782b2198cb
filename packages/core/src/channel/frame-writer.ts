/**
 * Writes the frames of a channel, and decides when they are flushed to the operating system.
 *
 * A message is encoded in place after the previous one: into the ring if the channel uses shared
 * memory and the ring has room, and otherwise into a buffer. The buffer is flushed
 *
 * - soon after the first message of a burst, and then coalesced (batched) until the burst ends, see
 *   `coalescer.ts`
 * - at once when it holds 48 KiB
 * - when the stream has drained: while an earlier write is pending, messages are batched behind it
 *   (like Nagle's algorithm)
 *
 * A *corked* message waits until 8 KiB have been collected, or until `flush()`. Parts are written
 * straight from the caller's memory.
 */
import { ByteWriter } from "../bytes/byte-writer.ts";
import { copyBytes } from "../bytes/copy-bytes.ts";
import { Encoder } from "../codec/encode/encoder.ts";
import { SendError } from "../errors.ts";
import type { ByteStream } from "../host/host.ts";
import type { DeliveryScope } from "../targets/shareable.ts";
import type { ChannelOptions } from "./channel.ts";
import { Coalescer } from "./coalescer.ts";
import {
  EMPTY_LIST,
  FRAME_MAGIC,
  type Frame,
  HAS_MODULES,
  HEADER_BYTES,
  MAX_MESSAGE_BYTES,
  MAX_PARTS,
  PART_LENGTH_BYTES,
  writeHeader,
} from "./frame.ts";
import type { RingStream } from "./ring-stream.ts";
import type { Upgrade } from "./transport-upgrade.ts";

/** The buffer is flushed at once when it holds this much. */
const FLUSH_AT_BYTES = 48 * 1024;
const BUFFER_BYTES = 64 * 1024;
/** A new channel starts with a small buffer, since most open channels carry little. */
const INITIAL_BUFFER_BYTES = 256;
/** A buffer that is larger than this (one huge message has grown it) is not used again. */
const MAX_SPARE_BUFFER_BYTES = 4 * BUFFER_BYTES;
/** A flush of fewer bytes to a socket copies them: a copy is cheaper than a new buffer. */
const COPY_BELOW_BYTES = 4 * 1024;
/** Flushes of one burst that are not coalesced. */
const IMMEDIATE_FLUSH_COUNT = 1;
/** Back-pressure: the channel is full while more than this is queued. */
const HIGH_WATER_BYTES = 1024 * 1024;
/**
 * `sendBytes()` sends at least this many bytes as a part, instead of copying them into the body.
 */
const PART_MIN_BYTES = 64 * 1024;
/**
 * The size of a message is unknown before it is encoded. The ring reserves this much plus twice the
 * size of the last message.
 */
const MIN_RESERVE_BYTES = 2 * 1024;
/**
 * Longer messages are copied into the ring instead of encoded in it: the peer can start to read
 * before the copy ends.
 */
const MAX_IN_PLACE_BYTES = 32 * 1024;
/**
 * Corked messages are written in batches of this size, so that the writer and the reader contend
 * for the ring less often.
 */
const CORK_BYTES = 8 * 1024;

/** The sending half of one channel. */
export class FrameWriter {
  #stream: ByteStream;
  /** Set once the channel writes to shared memory. */
  #ringStream: RingStream | undefined;
  #encoder: Encoder;
  #out = new ByteWriter(INITIAL_BUFFER_BYTES);
  #spareBuffer: ByteWriter | undefined;
  /** A buffer that the stream is still writing. It is used again after the drain. */
  #bufferInFlight: ByteWriter | undefined;
  /** Whether the stream still has to write memory that callers own. */
  #hasBorrowedMemory = false;
  /** The size of the last encoded message. */
  #lastSize = 0;
  /** Whether the message that is being sent is corked. */
  #isCorked = false;
  /**
   * Calls that a getter of a value made while the value was encoded. They run after the message of
   * the value.
   */
  readonly #deferred: Array<() => void> = [];
  #isClosed = false;
  /** Counts messages until it offers shared memory. */
  upgrade: Upgrade | undefined;
  /**
   * Flushes to the operating system, unless an earlier write is pending: then `onDrain()` flushes.
   */
  readonly #flushCoalescer = new Coalescer(() => {
    if (this.#stream.pending === 0) this.#flush();
  }, IMMEDIATE_FLUSH_COUNT);

  constructor(stream: ByteStream, shapes: ChannelOptions["shapes"]) {
    this.#stream = stream;
    this.#encoder = new Encoder({ shapes: shapes ?? "inline" });
  }

  /** Sets how the shapes of later messages are encoded. */
  set shapes(shapes: "inline" | "dictionary") {
    this.#encoder = new Encoder({ shapes });
  }

  /** The stream that later messages go to. */
  get stream(): ByteStream {
    return this.#stream;
  }

  /** Bytes that the operating system does not have yet. */
  get queuedBytes(): number {
    return this.#stream.pending + this.#out.position;
  }

  /** As `Channel.full`. */
  get full(): boolean {
    return this.#hasBorrowedMemory || this.queuedBytes > HIGH_WATER_BYTES;
  }

  /** Sends later messages through shared memory. */
  switchTo(ringStream: RingStream): void {
    this.#stream = this.#ringStream = ringStream;
    this.#bufferInFlight = undefined; // the socket may still be writing it
  }

  /** As `Channel.send()`. */
  send(
    kind: number,
    value: unknown,
    root: string | undefined,
    scope: DeliveryScope | undefined,
    corked: boolean,
  ): boolean {
    const encoder = this.#encoder;
    const out = corked ? this.#out : this.#outputFor(MIN_RESERVE_BYTES + 2 * this.#lastSize);
    const start = out.position;
    out.ensure(HEADER_BYTES);
    out.position = start + HEADER_BYTES;
    let isEncoded = false;
    let isInRing = false;
    try {
      encoder.encode(value, out, root);
      isEncoded = true;
      this.#isCorked = corked;
      this.#lastSize = out.position - start;
      isInRing = this.#finishFrame(out, start, kind, encoder.parts, encoder.modules, root);
    } catch (error) {
      out.position = start;
      if (isEncoded) encoder.discard(); // the receiver never sees the definitions in this message
      throw error;
    } finally {
      if (this.#deferred.length > 0) for (const run of this.#deferred.splice(0)) run();
    }
    if (encoder.parts.length > 0) this.#noteBorrowedMemory();
    encoder.commit(scope);
    return isInRing || !this.full;
  }

  /** As `Channel.sendBytes()`. */
  sendBytes(kind: number, bytes: Uint8Array): void {
    if (bytes.length < PART_MIN_BYTES) return this.#forward(kind, bytes, 0, bytes.length, EMPTY_LIST, EMPTY_LIST);
    this.#forward(kind, bytes, 0, 0, [bytes], EMPTY_LIST);
    this.#noteBorrowedMemory();
  }

  /** As `Channel.forward()`. */
  forward(kind: number, { bytes, start, end, parts, modules }: Frame, isBorrowed: boolean): void {
    this.#forward(kind, bytes, start, end, parts, modules);
    if (isBorrowed && parts.length > 0) this.#noteBorrowedMemory();
  }

  /** As `Channel.forwardBytes()`. */
  forwardBytes(kind: number, bytes: Uint8Array, start: number, end: number): void {
    this.#forward(kind, bytes, start, end, EMPTY_LIST, EMPTY_LIST);
  }

  /** Flushes now, and wakes the reader of a ring. */
  flush(): void {
    this.#flush();
    this.#ringStream?.wakeNow();
  }

  /** Handles the drain of the stream: it has written everything. */
  onDrain(): void {
    if (this.#bufferInFlight !== undefined && this.#bufferInFlight.bytes.length <= MAX_SPARE_BUFFER_BYTES)
      this.#spareBuffer ??= this.#bufferInFlight;
    this.#bufferInFlight = undefined;
    this.#hasBorrowedMemory = false;
    this.#flush();
  }

  /** Ends the stream after everything that was sent. */
  finish(): void {
    if (this.#encoder.isBusy) return void this.#deferred.push(() => this.finish());
    this.flush();
    this.#stream.finish();
  }

  /** Drops everything that is queued and closes the stream. */
  destroy(): void {
    this.#isClosed = true;
    this.#stream.destroy();
  }

  /**
   * Returns the writer for the next message: the ring if it has `room` bytes free, or else the
   * buffer.
   */
  #outputFor(room: number): ByteWriter {
    if (this.#ringStream === undefined || room > MAX_IN_PLACE_BYTES || this.#out.position > 0 || this.#encoder.isBusy)
      return this.#out;
    return this.#ringStream.reserve(room) ?? this.#out;
  }

  #forward(
    kind: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    parts: readonly Uint8Array[],
    modules: readonly string[],
  ): void {
    if (this.#encoder.isBusy) {
      const copy = bytes.slice(start, end);
      const copies = parts.map((part) => part.slice());
      return void this.#deferred.push(() => this.#forward(kind, copy, 0, copy.length, copies, modules));
    }
    const size = HEADER_BYTES + end - start;
    const out = this.#outputFor(size);
    const frameStart = out.position;
    out.ensure(size);
    copyBytes(bytes, start, end, out.bytes, frameStart + HEADER_BYTES);
    out.position = frameStart + size;
    this.#isCorked = false;
    this.#finishFrame(out, frameStart, kind, parts, modules);
  }

  /**
   * Completes the frame whose body was written from `start`, and publishes or queues it.
   *
   * @returns whether it is in the ring already
   */
  #finishFrame(
    out: ByteWriter,
    start: number,
    kind: number,
    parts: readonly Uint8Array[],
    modules: readonly string[],
    root = "value",
  ): boolean {
    const length = out.position - start - HEADER_BYTES;
    const allParts = modules.length === 0 ? parts : [...parts, new TextEncoder().encode(JSON.stringify(modules))];
    const total = allParts.length === 0 ? length : allParts.reduce((sum, part) => sum + part.byteLength, length);
    if (total > MAX_MESSAGE_BYTES)
      throw new SendError(root, `it takes ${total} bytes, and a message holds at most ${MAX_MESSAGE_BYTES}`);
    if (allParts.length > MAX_PARTS)
      throw new SendError(
        root,
        `it has ${allParts.length} large binary parts, and a message holds at most ${MAX_PARTS}`,
      );
    const magicAndFlags = modules.length === 0 ? FRAME_MAGIC : FRAME_MAGIC | HAS_MODULES;
    writeHeader(out.view, start, length, kind, magicAndFlags, allParts.length);
    const isInRing = allParts.length === 0 && out !== this.#out && this.#ringStream?.commit() === true;
    if (!isInRing) this.#enqueue(out, start, allParts, total);
    if (this.upgrade?.isCounting === true) this.upgrade.recordMessage(total);
    return isInRing;
  }

  /** Queues a frame that was not committed to the ring. */
  #enqueue(source: ByteWriter, start: number, parts: readonly Uint8Array[], total: number): void {
    const out = this.#out;
    if (source !== out) {
      // The frame was begun in the ring, but it outgrew the reservation, or it has parts. A frame
      // with parts is copied too, since the ring may switch to its large area for it.
      const size = source.position - start;
      out.ensure(size);
      copyBytes(source.bytes, start, source.position, out.bytes, out.position);
      out.position += size;
    }
    if (parts.length > 0) this.#writeParts(parts, total);
    else if (this.#isCorked && out.position < CORK_BYTES) return;
    else if (this.#ringStream?.tryWrite(out.bytes, out.position) === true) out.position = 0;
    else if (out.position > FLUSH_AT_BYTES) this.#flush();
    else this.#flushCoalescer.trigger();
  }

  /** @param total bytes of the body and all parts */
  #writeParts(parts: readonly Uint8Array[], total: number): void {
    const out = this.#out;
    out.ensure(parts.length * PART_LENGTH_BYTES);
    for (const part of parts) {
      out.view.setUint32(out.position, part.byteLength % 2 ** 32, true);
      out.view.setUint32(out.position + 4, Math.floor(part.byteLength / 2 ** 32), true);
      out.position += PART_LENGTH_BYTES;
    }
    this.#ringStream?.largeMessageArea.announce(total);
    this.#flush();
    for (const part of parts) if (part.byteLength > 0) this.#stream.write(part);
  }

  #flush(): void {
    const out = this.#out;
    const size = out.position;
    // While a value is encoded, its frame in the buffer has no header yet.
    if (size === 0 || this.#isClosed || this.#encoder.isBusy) return;
    this.#ringStream?.largeMessageArea.announce(size);
    out.position = 0;
    if (size < COPY_BELOW_BYTES && this.#ringStream === undefined) this.#stream.write(out.bytes.slice(0, size));
    // If nothing is pending, the stream has copied everything, and the buffer is free.
    else if (this.#stream.write(out.bytes.subarray(0, size)) > 0) {
      this.#out = this.#spareBuffer ?? new ByteWriter(BUFFER_BYTES);
      this.#spareBuffer = undefined;
      this.#bufferInFlight ??= out;
    }
  }

  /** Makes the channel full while the stream has not written the parts that the caller owns. */
  #noteBorrowedMemory(): void {
    this.#hasBorrowedMemory ||= this.#stream.pending > 0;
  }
}
