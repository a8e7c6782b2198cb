/**
 * Splits a stream into messages, in the wire format of CPython's `Connection`.
 *
 * ```text
 * | n: int32 | n bytes |      | -1: int32 | n: uint64 | n bytes |
 * ```
 *
 * Numbers are big-endian. The long form is for lengths that do not fit into an int32. The reader
 * checks a length against the limit before it allocates memory.
 */
import { ProtocolError } from "@multiproc/core";
import { Frame } from "@multiproc/core/internal";
import { BYTES } from "../protocol.ts";

export const SHORT_HEADER_BYTES = 4;
export const LONG_HEADER_BYTES = 12;
/** The longest message with a short header. */
export const MAX_SHORT_MESSAGE_BYTES: number = 0x7fffffff;

/** If at least this many bytes of a message are missing, the stream reads them into the message without a copy. */
const MIN_DIRECT_READ_BYTES = 64 * 1024;
const EMPTY_LIST: readonly never[] = Object.freeze([]) as never;

/** Emits the messages of a stream, in order. */
export class WireReader {
  readonly #emit: (frame: Frame) => void;
  readonly #maxMessageBytes: number;
  readonly #header = new Uint8Array(LONG_HEADER_BYTES);
  readonly #view = new DataView(this.#header.buffer);
  #headerFilledBytes = 0;
  /** The message that is being filled across chunks. Undefined while a header is read. */
  #body: Uint8Array | undefined;
  #filledBytes = 0;

  /**
   * @param emit gets each message, whose bytes do not change afterwards
   * @param maxMessageBytes the longest message that is accepted
   */
  constructor(emit: (frame: Frame) => void, maxMessageBytes: number) {
    this.#emit = emit;
    this.#maxMessageBytes = maxMessageBytes;
  }

  /** Whether a message is incomplete. */
  get isMidMessage(): boolean {
    return this.#headerFilledBytes > 0 || this.#body !== undefined;
  }

  /** The missing part of a large message, which the stream can read into without a copy. */
  get directBuffer(): Uint8Array | undefined {
    const body = this.#body;
    return body !== undefined && body.length - this.#filledBytes >= MIN_DIRECT_READ_BYTES
      ? body.subarray(this.#filledBytes)
      : undefined;
  }

  /** Reports that `count` bytes were written into the last {@link WireReader.directBuffer}. */
  filled(count: number): void {
    this.#filledBytes += count;
    if (this.#filledBytes === this.#body?.length) this.#finish(this.#body);
  }

  /**
   * Parses the next bytes of the stream. Messages are views of the chunk, so it must not change afterwards.
   *
   * @throws {ProtocolError} if the bytes are not messages
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
        `The peer announced a message of ${length} bytes; at most ${this.#maxMessageBytes} are accepted`,
      );
    this.#headerFilledBytes = 0;
    if (bodyStart + length > chunk.length) {
      this.#body = allocate(length);
      this.#filledBytes = 0;
      return bodyStart;
    }
    this.#emit(new Frame(BYTES, chunk, bodyStart, bodyStart + length, EMPTY_LIST, EMPTY_LIST));
    return bodyStart + length;
  }

  /** Bytes of the chunk that the last call of `#takeHeader()` read. */
  #headerBytesTaken = 0;

  /** Returns the length of the next message, or undefined while its header is incomplete. */
  #takeHeader(chunk: Uint8Array, offset: number): number | undefined {
    const header = this.#header;
    this.#headerBytesTaken = 0;
    for (let size = SHORT_HEADER_BYTES; ; size = LONG_HEADER_BYTES) {
      while (this.#headerFilledBytes < size && offset + this.#headerBytesTaken < chunk.length)
        header[this.#headerFilledBytes++] = chunk[offset + this.#headerBytesTaken++] as number;
      if (this.#headerFilledBytes < size) return undefined;
      const shortLength = this.#view.getInt32(0);
      if (shortLength >= 0) return shortLength;
      if (shortLength !== -1) throw new ProtocolError("The peer sent bytes that are not a message");
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
    this.#emit(new Frame(BYTES, new Uint8Array(0), 0, 0, [body], EMPTY_LIST));
  }
}

function allocate(length: number): Uint8Array {
  try {
    return new Uint8Array(length);
  } catch (cause) {
    throw new ProtocolError(`Cannot allocate memory for a message of ${length} bytes`, { cause });
  }
}
