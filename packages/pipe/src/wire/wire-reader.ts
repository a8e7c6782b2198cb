/**
 * Messages out of a stream as CPython's `Connection` writes them.
 *
 * ```text
 * | n: int32 | n bytes |      | -1: int32 | n: uint64 | n bytes |
 * ```
 *
 * Numbers are big-endian; the second form is for what is longer than an int32 can say. Lengths are checked against the limit
 * before anything is allocated.
 */
import { ProtocolError } from "@multiproc/core";
import { Frame } from "@multiproc/core/internal";
import { BYTES } from "../protocol.ts";

export const SHORT_HEADER_BYTES = 4;
export const LONG_HEADER_BYTES = 12;
/** The longest message that the first form can announce. */
export const MAX_SHORT_MESSAGE_BYTES: number = 0x7fffffff;

/** From here on, it pays to read into a message directly. */
const MIN_DIRECT_READ_BYTES = 64 * 1024;
const NONE: readonly never[] = Object.freeze([]) as never;

/** Cuts a stream of chunks into messages and hands each to `emit`, in order. */
export class WireReader {
  readonly #emit: (frame: Frame) => void;
  readonly #maxMessageBytes: number;
  readonly #header = new Uint8Array(LONG_HEADER_BYTES);
  readonly #view = new DataView(this.#header.buffer);
  #headerFilledBytes = 0;
  /** The message that is being filled across chunks; the header is when it is missing. */
  #body: Uint8Array | undefined;
  #filledBytes = 0;

  /**
   * @param emit gets each message, whose bytes are never written to again
   * @param limit the longest message that is accepted, in bytes
   */
  constructor(emit: (frame: Frame) => void, maxMessageBytes: number) {
    this.#emit = emit;
    this.#maxMessageBytes = maxMessageBytes;
  }

  /** Whether the stream ended here would cut a message in two. */
  get isMidMessage(): boolean {
    return this.#headerFilledBytes > 0 || this.#body !== undefined;
  }

  /** The rest of a large message, where the next bytes can be put without a detour. */
  get directBuffer(): Uint8Array | undefined {
    const body = this.#body;
    return body !== undefined && body.length - this.#filledBytes >= MIN_DIRECT_READ_BYTES
      ? body.subarray(this.#filledBytes)
      : undefined;
  }

  /** So many bytes were put into the last {@link WireReader.directBuffer}. */
  filled(count: number): void {
    this.#filledBytes += count;
    if (this.#filledBytes === this.#body?.length) this.#finish(this.#body);
  }

  /**
   * Takes the next bytes of the stream; messages keep views of them.
   *
   * @throws {ProtocolError} if they are no messages
   */
  feed(chunk: Uint8Array): void {
    for (let offset = 0; offset < chunk.length; ) offset = this.#parse(chunk, offset);
  }

  #parse(chunk: Uint8Array, offset: number): number {
    if (this.#body !== undefined) return this.#fillBody(this.#body, chunk, offset);
    const length = this.#takeHeader(chunk, offset);
    const bodyStart = offset + this.#headerBytesTaken;
    if (length === undefined) return bodyStart;
    if (length > this.#maxMessageBytes)
      throw new ProtocolError(
        `A message of ${length} bytes is announced; at most ${this.#maxMessageBytes} are accepted`,
      );
    this.#headerFilledBytes = 0;
    if (bodyStart + length > chunk.length) {
      this.#body = allocate(length);
      this.#filledBytes = 0;
      return bodyStart;
    }
    this.#emit(new Frame(BYTES, chunk, bodyStart, bodyStart + length, NONE, NONE));
    return bodyStart + length;
  }

  /** How many bytes the last call of {@link WireReader.#takeHeader} took. */
  #headerBytesTaken = 0;

  /** The length of the next message, once its header is whole. */
  #takeHeader(chunk: Uint8Array, offset: number): number | undefined {
    const header = this.#header;
    this.#headerBytesTaken = 0;
    for (let size = SHORT_HEADER_BYTES; ; size = LONG_HEADER_BYTES) {
      while (this.#headerFilledBytes < size && offset + this.#headerBytesTaken < chunk.length)
        header[this.#headerFilledBytes++] = chunk[offset + this.#headerBytesTaken++] as number;
      if (this.#headerFilledBytes < size) return undefined;
      const shortLength = this.#view.getInt32(0);
      if (shortLength >= 0) return shortLength;
      if (shortLength !== -1) throw new ProtocolError("The bytes that arrived are no message");
      if (size === LONG_HEADER_BYTES) return Number(this.#view.getBigUint64(SHORT_HEADER_BYTES));
    }
  }

  #fillBody(body: Uint8Array, chunk: Uint8Array, bodyStart: number): number {
    const byteCount = Math.min(body.length - this.#filledBytes, chunk.length - bodyStart);
    body.set(chunk.subarray(bodyStart, bodyStart + byteCount), this.#filledBytes);
    this.#filledBytes += byteCount;
    if (this.#filledBytes === body.length) this.#finish(body);
    return bodyStart + byteCount;
  }

  #finish(body: Uint8Array): void {
    this.#body = undefined;
    this.#emit(new Frame(BYTES, new Uint8Array(0), 0, 0, [body], NONE));
  }
}

function allocate(length: number): Uint8Array {
  try {
    return new Uint8Array(length);
  } catch (cause) {
    throw new ProtocolError(`There is no memory for a message of ${length} bytes`, { cause });
  }
}
