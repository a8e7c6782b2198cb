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

export const SHORT_HEADER = 4;
export const LONG_HEADER = 12;
/** The longest message that the first form can announce. */
export const LONGEST_SHORT: number = 0x7fffffff;

/** From here on, it pays to read into a message directly. */
const LARGE = 64 * 1024;
const NONE: readonly never[] = Object.freeze([]) as never;

/** Cuts a stream of chunks into messages and hands each to `emit`, in order. */
export class WireReader {
  readonly #emit: (frame: Frame) => void;
  readonly #limit: number;
  readonly #header = new Uint8Array(LONG_HEADER);
  readonly #view = new DataView(this.#header.buffer);
  #headerFill = 0;
  /** The message that is being filled across chunks; the header is when it is missing. */
  #body: Uint8Array | undefined;
  #fill = 0;

  /**
   * @param emit gets each message, whose bytes are never written to again
   * @param limit the longest message that is accepted, in bytes
   */
  constructor(emit: (frame: Frame) => void, limit: number) {
    this.#emit = emit;
    this.#limit = limit;
  }

  /** Whether the stream ended here would cut a message in two. */
  get isInside(): boolean {
    return this.#headerFill > 0 || this.#body !== undefined;
  }

  /** The rest of a large message, where the next bytes can be put without a detour. */
  get room(): Uint8Array | undefined {
    const body = this.#body;
    return body !== undefined && body.length - this.#fill >= LARGE ? body.subarray(this.#fill) : undefined;
  }

  /** So many bytes were put into the last {@link WireReader.room}. */
  filled(count: number): void {
    this.#fill += count;
    if (this.#fill === this.#body?.length) this.#finish(this.#body);
  }

  /**
   * Takes the next bytes of the stream; messages keep views of them.
   *
   * @throws {ProtocolError} if they are no messages
   */
  feed(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length; ) at = this.#step(chunk, at);
  }

  #step(chunk: Uint8Array, at: number): number {
    if (this.#body !== undefined) return this.#fillBody(this.#body, chunk, at);
    const length = this.#takeHeader(chunk, at);
    const from = at + this.#taken;
    if (length === undefined) return from;
    if (length > this.#limit)
      throw new ProtocolError(`A message of ${length} bytes is announced; at most ${this.#limit} are accepted`);
    this.#headerFill = 0;
    if (from + length > chunk.length) {
      this.#body = allocate(length);
      this.#fill = 0;
      return from;
    }
    this.#emit(new Frame(BYTES, chunk, from, from + length, NONE, NONE));
    return from + length;
  }

  /** How many bytes the last call of {@link WireReader.#takeHeader} took. */
  #taken = 0;

  /** The length of the next message, once its header is whole. */
  #takeHeader(chunk: Uint8Array, at: number): number | undefined {
    const header = this.#header;
    this.#taken = 0;
    for (let size = SHORT_HEADER; ; size = LONG_HEADER) {
      while (this.#headerFill < size && at + this.#taken < chunk.length)
        header[this.#headerFill++] = chunk[at + this.#taken++] as number;
      if (this.#headerFill < size) return undefined;
      const short = this.#view.getInt32(0);
      if (short >= 0) return short;
      if (short !== -1) throw new ProtocolError("The bytes that arrived are no message");
      if (size === LONG_HEADER) return Number(this.#view.getBigUint64(SHORT_HEADER));
    }
  }

  #fillBody(body: Uint8Array, chunk: Uint8Array, from: number): number {
    const n = Math.min(body.length - this.#fill, chunk.length - from);
    body.set(chunk.subarray(from, from + n), this.#fill);
    this.#fill += n;
    if (this.#fill === body.length) this.#finish(body);
    return from + n;
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
