/**
 * What a channel has to send, on its way to a stream.
 *
 * Each message is encoded in place behind the last: in the ring, where the stream goes through memory and there is room, and else in
 * a buffer. That is handed to the system with the first message of a turn, then when the turn ends or lasts, see `burst.ts`, or
 * when it is large. While the system still has an earlier write to do, messages gather behind it. Parts are written from the
 * caller's memory.
 */
import { ByteWriter } from "../bytes/byte-writer.ts";
import { copyBytes } from "../bytes/copy-bytes.ts";
import { Encoder } from "../codec/encode/encoder.ts";
import { SendError } from "../errors.ts";
import type { ByteStream } from "../host/host.ts";
import type { DeliveryScope } from "../targets/shareable.ts";
import { type ChannelOptions, EMPTY_LIST, type Frame } from "./channel.ts";
import { Coalescer } from "./coalescer.ts";
import { FRAME_MAGIC, HAS_MODULES, HEADER_SIZE, MAX_MESSAGE_BYTES, writeHeader } from "./frame-reader.ts";
import type { RingStream } from "./ring-stream.ts";
import type { Upgrade } from "./transport-upgrade.ts";

const FLUSH_AT_BYTES = 48 * 1024;
const BUFFER_BYTES = 64 * 1024;
const INITIAL_BUFFER_BYTES = 256;
/** Below this, a copy is cheaper than a new buffer. */
const COPY_BELOW_BYTES = 4 * 1024;
const HIGH_WATER_BYTES = 1024 * 1024;
/** From here on, bytes travel beside the frame instead of being copied into it. */
const PART_MIN_BYTES = 64 * 1024;
/** Room in the ring for a message whose size is not known yet: so much, and twice what the last one took. */
const MIN_RESERVE_BYTES = 2 * 1024;
/** What is longer is not encoded in the ring, but copied: the other side can begin to read while this one still writes. */
const MAX_IN_PLACE_BYTES = 32 * 1024;
/** So much is gathered where more follows: what is written in one go is in the other side's way once. */
const CORK_BYTES = 8 * 1024;

/** The way out of one channel; see the head of this file. */
export class FrameWriter {
  #stream: ByteStream;
  /** The memory, once it goes there. */
  #ringStream: RingStream | undefined;
  #encoder: Encoder;
  /** Small at first: most of many open channels carry little. */
  #out = new ByteWriter(INITIAL_BUFFER_BYTES);
  #spareBuffer: ByteWriter | undefined;
  /** A buffer that is on its way; once all has left, it is used again. */
  #bufferInFlight: ByteWriter | undefined;
  /** Whether memory of the callers is still to be written. */
  #hasBorrowedMemory = false;
  /** How large the last encoded message was. */
  #lastSize = 0;
  /** Whether more follows the message that is being sent. */
  #corked = false;
  /** What a getter of the value that is being read has asked for: it is done behind that value's message. */
  readonly #deferred: Array<() => void> = [];
  #isClosed = false;
  /** Is told how large each message is, while it wants to know. */
  upgrade: Upgrade | undefined;
  /** Hands what was sent to the system. */
  readonly #flushCoalescer = new Coalescer(() => {
    if (this.#stream.pending === 0) this.#flush();
  }, 1);

  constructor(stream: ByteStream, shapes: ChannelOptions["shapes"]) {
    this.#stream = stream;
    this.#encoder = new Encoder({ shapes: shapes ?? "inline" });
  }

  /** How messages are encoded from now on. */
  set shapes(shapes: "inline" | "dictionary") {
    this.#encoder = new Encoder({ shapes });
  }

  /** Where it goes. */
  get stream(): ByteStream {
    return this.#stream;
  }

  /** How much waits until the system has it. */
  get queuedBytes(): number {
    return this.#stream.pending + this.#out.position;
  }

  /** As `Channel.full`. */
  get full(): boolean {
    return this.#hasBorrowedMemory || this.queuedBytes > HIGH_WATER_BYTES;
  }

  /** What follows goes through memory. */
  switchTo(ringStream: RingStream): void {
    this.#stream = this.#ringStream = ringStream;
    this.#bufferInFlight = undefined; // the socket may still have to write it
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
    out.ensure(HEADER_SIZE);
    out.position = start + HEADER_SIZE;
    let isEncoded = false;
    let isInRing = false;
    try {
      encoder.encode(value, out, root);
      isEncoded = true;
      this.#corked = corked;
      this.#lastSize = out.position - start;
      isInRing = this.#finishFrame(out, start, kind, encoder.parts, encoder.modules, root);
    } catch (error) {
      out.position = start;
      if (isEncoded) encoder.discard(); // the receiver will not learn what this message defined
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

  /** Hands what is queued to the system now, and has it read. */
  flush(): void {
    this.#flush();
    this.#ringStream?.wakeNow();
  }

  /** The stream has written all that it was given. */
  onDrain(): void {
    // One that a huge message has grown is not worth keeping.
    if (this.#bufferInFlight !== undefined && this.#bufferInFlight.bytes.length <= 4 * BUFFER_BYTES)
      this.#spareBuffer ??= this.#bufferInFlight;
    this.#bufferInFlight = undefined;
    this.#hasBorrowedMemory = false;
    this.#flush();
  }

  /** Ends the stream behind all that was sent. */
  finish(): void {
    if (this.#encoder.isBusy) return void this.#deferred.push(() => this.finish());
    this.flush();
    this.#stream.finish();
  }

  /** Drops what is queued, for good. */
  destroy(): void {
    this.#isClosed = true;
    this.#stream.destroy();
  }

  /** Where the next message is written: in the ring, if that has so much room, or behind the last one. */
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
    const size = HEADER_SIZE + end - start;
    const out = this.#outputFor(size);
    const frameStart = out.position;
    out.ensure(size);
    copyBytes(bytes, start, end, out.bytes, frameStart + HEADER_SIZE);
    out.position = frameStart + size;
    this.#corked = false;
    this.#finishFrame(out, frameStart, kind, parts, modules);
  }

  /** Completes the frame that was written from `start` on, and sees to it that it leaves; whether it is in the ring already. */
  #finishFrame(
    out: ByteWriter,
    start: number,
    kind: number,
    parts: readonly Uint8Array[],
    modules: readonly string[],
    root = "value",
  ): boolean {
    const length = out.position - start - HEADER_SIZE;
    const allParts = modules.length === 0 ? parts : [...parts, new TextEncoder().encode(JSON.stringify(modules))];
    const total = allParts.length === 0 ? length : allParts.reduce((sum, part) => sum + part.byteLength, length);
    if (total > MAX_MESSAGE_BYTES)
      throw new SendError(root, `it takes ${total} bytes, and a message holds at most ${MAX_MESSAGE_BYTES}`);
    if (allParts.length > 0xffff)
      throw new SendError(root, `it has ${allParts.length} large binary parts, and a message holds at most 65535`);
    writeHeader(
      out.view,
      start,
      length,
      kind,
      modules.length === 0 ? FRAME_MAGIC : FRAME_MAGIC | HAS_MODULES,
      allParts.length,
    );
    const isInRing = allParts.length === 0 && out !== this.#out && this.#ringStream?.commit() === true;
    if (!isInRing) this.#enqueue(out, start, allParts, total);
    if (this.upgrade?.isCounting === true) this.upgrade.recordMessage(total);
    return isInRing;
  }

  /** Queues a frame that is not yet where it goes. */
  #enqueue(source: ByteWriter, start: number, parts: readonly Uint8Array[], total: number): void {
    const out = this.#out;
    if (source !== out) {
      // It was begun in the ring, and either has found no room there, or has parts, before which that may change over to another area.
      const size = source.position - start;
      out.ensure(size);
      copyBytes(source.bytes, start, source.position, out.bytes, out.position);
      out.position += size;
    }
    if (parts.length > 0) this.#writeParts(parts, total);
    else if (this.#corked && out.position < CORK_BYTES) return;
    else if (this.#ringStream?.tryWrite(out.bytes, out.position) === true) out.position = 0;
    else if (out.position > FLUSH_AT_BYTES) this.#flush();
    else this.#flushCoalescer.trigger();
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
    this.#ringStream?.largeMessageArea.announce(total);
    this.#flush();
    for (const part of parts) if (part.byteLength > 0) this.#stream.write(part);
  }

  #flush(): void {
    const out = this.#out;
    const size = out.position;
    // Where a value is being read, the frame behind the last one has no header yet.
    if (size === 0 || this.#isClosed || this.#encoder.isBusy) return;
    this.#ringStream?.largeMessageArea.announce(size);
    out.position = 0;
    if (size < COPY_BELOW_BYTES && this.#ringStream === undefined) this.#stream.write(out.bytes.slice(0, size));
    // Where nothing waits all has been copied, and the buffer is free.
    else if (this.#stream.write(out.bytes.subarray(0, size)) > 0) {
      this.#out = this.#spareBuffer ?? new ByteWriter(BUFFER_BYTES);
      this.#spareBuffer = undefined;
      this.#bufferInFlight ??= out;
    }
  }

  /** Has the sender wait while parts that were just sent are still in its memory alone. */
  #noteBorrowedMemory(): void {
    this.#hasBorrowedMemory ||= this.#stream.pending > 0;
  }
}
