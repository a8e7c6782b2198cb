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
import type { Carrier } from "../targets/shareable.ts";
import { type ChannelOptions, type Frame, NONE } from "./channel.ts";
import { Burst } from "./coalescer.ts";
import { HAS_MODULES, HEADER_SIZE, MARK, MAX_MESSAGE, writeHeader } from "./frame-reader.ts";
import type { RingStream } from "./ring-stream.ts";
import type { Upgrade } from "./transport-upgrade.ts";

const FLUSH_AT = 48 * 1024;
const BUFFER_SIZE = 64 * 1024;
const FIRST_SIZE = 256;
/** Below this, a copy is cheaper than a new buffer. */
const COPY_BELOW = 4 * 1024;
const FULL_AT = 1024 * 1024;
/** From here on, bytes travel beside the frame instead of being copied into it. */
const PART_AT = 64 * 1024;
/** Room in the ring for a message whose size is not known yet: so much, and twice what the last one took. */
const SMALL = 2 * 1024;
/** What is longer is not encoded in the ring, but copied: the other side can begin to read while this one still writes. */
const LONG = 32 * 1024;
/** So much is gathered where more follows: what is written in one go is in the other side's way once. */
const GATHER = 8 * 1024;

/** The way out of one channel; see the head of this file. */
export class Outgoing {
  #stream: ByteStream;
  /** The memory, once it goes there. */
  #rings: RingStream | undefined;
  #encoder: Encoder;
  /** Small at first: most of many open channels carry little. */
  #out = new ByteWriter(FIRST_SIZE);
  #spare: ByteWriter | undefined;
  /** A buffer that is on its way; once all has left, it is used again. */
  #lent: ByteWriter | undefined;
  /** Whether memory of the callers is still to be written. */
  #borrows = false;
  /** How large the last encoded message was. */
  #lastSize = 0;
  /** Whether more follows the message that is being sent. */
  #gathers = false;
  /** What a getter of the value that is being read has asked for: it is done behind that value's message. */
  readonly #later: Array<() => void> = [];
  #isClosed = false;
  /** Is told how large each message is, while it wants to know. */
  upgrade: Upgrade | undefined;
  /** Hands what was sent to the system. */
  readonly #leaving = new Burst(() => {
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
  get queued(): number {
    return this.#stream.pending + this.#out.position;
  }

  /** As `Channel.full`. */
  get full(): boolean {
    return this.#borrows || this.queued > FULL_AT;
  }

  /** What follows goes through memory. */
  moveTo(rings: RingStream): void {
    this.#stream = this.#rings = rings;
    this.#lent = undefined; // the socket may still have to write it
  }

  /** As `Channel.send()`. */
  send(
    kind: number,
    value: unknown,
    root: string | undefined,
    carrier: Carrier | undefined,
    gathers: boolean,
  ): boolean {
    const encoder = this.#encoder;
    const out = gathers ? this.#out : this.#place(SMALL + 2 * this.#lastSize);
    const start = out.position;
    out.ensure(HEADER_SIZE);
    out.position = start + HEADER_SIZE;
    let isEncoded = false;
    let isThere = false;
    try {
      encoder.encode(value, out, root);
      isEncoded = true;
      this.#gathers = gathers;
      this.#lastSize = out.position - start;
      isThere = this.#close(out, start, kind, encoder.parts, encoder.modules, root);
    } catch (error) {
      out.position = start;
      if (isEncoded) encoder.discard(); // the receiver will not learn what this message defined
      throw error;
    } finally {
      if (this.#later.length > 0) for (const run of this.#later.splice(0)) run();
    }
    if (encoder.parts.length > 0) this.#borrow();
    encoder.commit(carrier);
    return isThere || !this.full;
  }

  /** As `Channel.sendBytes()`. */
  sendBytes(kind: number, bytes: Uint8Array): void {
    if (bytes.length < PART_AT) return this.#forward(kind, bytes, 0, bytes.length, NONE, NONE);
    this.#forward(kind, bytes, 0, 0, [bytes], NONE);
    this.#borrow();
  }

  /** As `Channel.forward()`. */
  forward(kind: number, { bytes, start, end, parts, modules }: Frame, isBorrowed: boolean): void {
    this.#forward(kind, bytes, start, end, parts, modules);
    if (isBorrowed && parts.length > 0) this.#borrow();
  }

  /** As `Channel.forwardBytes()`. */
  forwardBytes(kind: number, bytes: Uint8Array, start: number, end: number): void {
    this.#forward(kind, bytes, start, end, NONE, NONE);
  }

  /** Hands what is queued to the system now, and has it read. */
  flush(): void {
    this.#flush();
    this.#rings?.wakeNow();
  }

  /** The stream has written all that it was given. */
  drained(): void {
    // One that a huge message has grown is not worth keeping.
    if (this.#lent !== undefined && this.#lent.bytes.length <= 4 * BUFFER_SIZE) this.#spare ??= this.#lent;
    this.#lent = undefined;
    this.#borrows = false;
    this.#flush();
  }

  /** Ends the stream behind all that was sent. */
  finish(): void {
    if (this.#encoder.isBusy) return void this.#later.push(() => this.finish());
    this.flush();
    this.#stream.finish();
  }

  /** Drops what is queued, for good. */
  destroy(): void {
    this.#isClosed = true;
    this.#stream.destroy();
  }

  /** Where the next message is written: in the ring, if that has so much room, or behind the last one. */
  #place(room: number): ByteWriter {
    if (this.#rings === undefined || room > LONG || this.#out.position > 0 || this.#encoder.isBusy) return this.#out;
    return this.#rings.draft(room) ?? this.#out;
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
      return void this.#later.push(() => this.#forward(kind, copy, 0, copy.length, copies, modules));
    }
    const size = HEADER_SIZE + end - start;
    const out = this.#place(size);
    const at = out.position;
    out.ensure(size);
    copyBytes(bytes, start, end, out.bytes, at + HEADER_SIZE);
    out.position = at + size;
    this.#gathers = false;
    this.#close(out, at, kind, parts, modules);
  }

  /** Completes the frame that was written from `start` on, and sees to it that it leaves; whether it is in the ring already. */
  #close(
    out: ByteWriter,
    start: number,
    kind: number,
    parts: readonly Uint8Array[],
    modules: readonly string[],
    root = "value",
  ): boolean {
    const length = out.position - start - HEADER_SIZE;
    const list = modules.length === 0 ? parts : [...parts, new TextEncoder().encode(JSON.stringify(modules))];
    const total = list.length === 0 ? length : list.reduce((sum, part) => sum + part.byteLength, length);
    if (total > MAX_MESSAGE)
      throw new SendError(root, `it takes ${total} bytes, and a message holds at most ${MAX_MESSAGE}`);
    if (list.length > 0xffff)
      throw new SendError(root, `it has ${list.length} large binary parts, and a message holds at most 65535`);
    writeHeader(out.view, start, length, kind, modules.length === 0 ? MARK : MARK | HAS_MODULES, list.length);
    const isThere = list.length === 0 && out !== this.#out && this.#rings?.publish() === true;
    if (!isThere) this.#queue(out, start, list, total);
    if (this.upgrade?.isWatching === true) this.upgrade.noteTraffic(total);
    return isThere;
  }

  /** Queues a frame that is not yet where it goes. */
  #queue(written: ByteWriter, start: number, parts: readonly Uint8Array[], total: number): void {
    const out = this.#out;
    if (written !== out) {
      // It was begun in the ring, and either has found no room there, or has parts, before which that may change over to another area.
      const size = written.position - start;
      out.ensure(size);
      copyBytes(written.bytes, start, written.position, out.bytes, out.position);
      out.position += size;
    }
    if (parts.length > 0) this.#writeParts(parts, total);
    else if (this.#gathers && out.position < GATHER) return;
    else if (this.#rings?.put(out.bytes, out.position) === true) out.position = 0;
    else if (out.position > FLUSH_AT) this.#flush();
    else this.#leaving.note();
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

  #flush(): void {
    const out = this.#out;
    const size = out.position;
    // Where a value is being read, the frame behind the last one has no header yet.
    if (size === 0 || this.#isClosed || this.#encoder.isBusy) return;
    this.#rings?.wide.expect(size);
    out.position = 0;
    if (size < COPY_BELOW && this.#rings === undefined) this.#stream.write(out.bytes.slice(0, size));
    // Where nothing waits all has been copied, and the buffer is free.
    else if (this.#stream.write(out.bytes.subarray(0, size)) > 0) {
      this.#out = this.#spare ?? new ByteWriter(BUFFER_SIZE);
      this.#spare = undefined;
      this.#lent ??= out;
    }
  }

  /** Has the sender wait while parts that were just sent are still in its memory alone. */
  #borrow(): void {
    this.#borrows ||= this.#stream.pending > 0;
  }
}
