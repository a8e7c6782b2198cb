/**
 * Frames out of a stream of bytes.
 *
 * ```text
 * 0   4     5      6        8
 * | n | kind| mark | parts p | body: n bytes | p × length (u64) | p parts …
 * ```
 *
 * All numbers are little-endian. The mark tells a frame from noise; its lowest bit says that the last part is no binary
 * part but the JSON list of the modules that the body names, the next one that the frame is for the channel itself, see
 * `upgrade.ts`. The table of lengths follows the body, so that a sender
 * knows it when it is written. Lengths are checked against the limit before anything is allocated.
 */
import { ProtocolError } from "../errors.ts";
import { host } from "../host/mod.ts";
import { Frame, NONE } from "./channel.ts";
import { memoryForPiece } from "./receive-buffer.ts";

export const HEADER_SIZE = 8;
export const MARK = 0xa4;
export const HAS_MODULES = 1;
export const IS_CONTROL = 2;
/** The longest message: what one typed array and one frame length can hold everywhere. */
export const MAX_MESSAGE: number = 2 ** 31;

/** From here on, it pays to read into a piece directly. */
const LARGE = 64 * 1024;
const MAX_PARTS_TABLE = 8 * 0xffff;

/** A whole message without parts as it stands on the wire, for who has no channel to send it. @param flags see the head of this file */
export function smallFrame(kind: number, flags: number, body: Uint8Array = new Uint8Array(0)): Uint8Array {
  const frame = new Uint8Array(HEADER_SIZE + body.length);
  writeHeader(new DataView(frame.buffer), 0, body.length, kind, MARK | flags, 0);
  frame.set(body, HEADER_SIZE);
  return frame;
}

/** Writes what a frame begins with; see the head of this file. */
export function writeHeader(
  view: DataView,
  at: number,
  length: number,
  kind: number,
  mark: number,
  parts: number,
): void {
  view.setUint32(at, length, true);
  view.setUint32(at + 4, kind | (mark << 8) | (parts << 16), true);
}

/** Cuts a stream of chunks into frames and hands each to `emit`, in order. */
export class FrameReader {
  /** The longest message that is accepted, in bytes. */
  limit: number;
  /** Takes what is for the channel itself; where it is missing, such frames are noise. */
  control: ((frame: Frame) => void) | undefined;
  readonly #emit: (frame: Frame) => void;
  readonly #header = new Uint8Array(HEADER_SIZE);
  #headerFill = 0;
  /** The piece of a frame that is being filled across chunks; the header is when it is missing. */
  #piece: Uint8Array | undefined;
  #fill = 0;
  #done: (piece: Uint8Array) => void = () => {};
  #body: Uint8Array = this.#header;
  #lengths: number[] = [];
  #parts: Uint8Array[] = [];

  constructor(emit: (frame: Frame) => void, limit: number = MAX_MESSAGE) {
    this.#emit = emit;
    this.limit = limit;
  }

  /** Whether the stream ended here would cut a message in two. */
  get isInside(): boolean {
    return this.#headerFill > 0 || this.#piece !== undefined;
  }

  /** The rest of a large piece, where the next bytes can be put without a detour. */
  get room(): Uint8Array | undefined {
    const piece = this.#piece;
    return piece !== undefined && piece.length - this.#fill >= LARGE ? piece.subarray(this.#fill) : undefined;
  }

  /** So many bytes were put into the last {@link FrameReader.room}. */
  filled(count: number): void {
    this.#fill += count;
    if (this.#fill === this.#piece?.length) this.#done(this.#piece);
  }

  /**
   * Takes the next bytes of the stream; frames keep views of them.
   *
   * @throws {ProtocolError} if they are no frames
   */
  feed(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#piece === undefined && this.#headerFill === 0) {
        at = this.#wholeFrames(chunk, at);
        if (at === chunk.length) return;
      }
      at = this.#piece === undefined ? this.#fillHeader(chunk, at) : this.#fillPiece(this.#piece, chunk, at);
    }
  }

  /** The fast path: plain frames without parts that lie in the chunk from end to end. */
  #wholeFrames(chunk: Uint8Array, from: number): number {
    let at = from;
    while (chunk.length - at >= HEADER_SIZE) {
      const length = bodyLength(chunk, at);
      const end = at + HEADER_SIZE + length;
      if (end > chunk.length || chunk[at + 5] !== MARK || chunk[at + 6] !== 0 || chunk[at + 7] !== 0) break;
      if (length > this.limit) throw tooLong(length, this.limit);
      const kind = chunk[at + 4] as number;
      this.#emit(new Frame(kind, chunk, at + HEADER_SIZE, end, NONE, NONE));
      at = end;
    }
    return at;
  }

  #fillHeader(chunk: Uint8Array, from: number): number {
    const header = this.#header;
    let at = from;
    while (this.#headerFill < HEADER_SIZE && at < chunk.length) header[this.#headerFill++] = chunk[at++] as number;
    if (this.#headerFill === HEADER_SIZE) {
      const length = bodyLength(header, 0);
      this.#check(header, 0, length);
      this.#await(length, (body) => {
        this.#body = body;
        this.#awaitTable();
      });
    }
    return at;
  }

  #fillPiece(piece: Uint8Array, chunk: Uint8Array, from: number): number {
    const n = Math.min(piece.length - this.#fill, chunk.length - from);
    piece.set(from === 0 && n === chunk.length ? chunk : chunk.subarray(from, from + n), this.#fill);
    this.#fill += n;
    if (this.#fill === piece.length) this.#done(piece);
    return from + n;
  }

  #awaitTable(): void {
    const parts = (this.#header[6] as number) | ((this.#header[7] as number) << 8);
    this.#lengths = [];
    this.#parts = [];
    if (parts === 0) return this.#finish();
    this.#await(parts * 8, (table) => {
      const view = new DataView(table.buffer);
      let total = this.#body.length;
      for (let i = 0; i < parts; i++) {
        const length = view.getUint32(i * 8, true) + view.getUint32(i * 8 + 4, true) * 2 ** 32;
        total += length;
        this.#lengths.push(length);
      }
      if (total > this.limit) throw tooLong(total, this.limit);
      this.#awaitParts();
    });
  }

  #awaitParts(): void {
    const length = this.#lengths[this.#parts.length];
    if (length === undefined) return this.#finish();
    this.#await(length, (part) => {
      this.#parts.push(part);
      this.#awaitParts();
    });
  }

  #await(length: number, done: (piece: Uint8Array) => void): void {
    try {
      this.#piece = length < LARGE ? new Uint8Array(length) : memoryForPiece(length);
    } catch (cause) {
      throw new ProtocolError(`There is no memory for a message of ${length} bytes`, { cause });
    }
    this.#fill = 0;
    this.#done = done;
    if (length === 0) done(this.#piece);
  }

  #finish(): void {
    const { 4: kind, 5: mark } = this.#header as unknown as { 4: number; 5: number };
    const body = this.#body;
    const parts = this.#parts;
    const modules = (mark & HAS_MODULES) === 0 ? NONE : moduleList(parts.pop());
    this.#headerFill = 0;
    this.#piece = undefined;
    this.#body = this.#header;
    this.#parts = [];
    const frame = new Frame(kind, body, 0, body.length, parts.length === 0 ? NONE : parts, modules);
    if ((mark & IS_CONTROL) === 0) this.#emit(frame);
    else this.control?.(frame);
  }

  #check(header: Uint8Array, at: number, length: number): void {
    const flags = this.control === undefined ? HAS_MODULES : HAS_MODULES | IS_CONTROL;
    if (((header[at + 5] as number) & ~flags) !== MARK)
      throw new ProtocolError("The bytes that arrived are no message");
    if (length > this.limit) throw tooLong(length, this.limit);
    if (((header[at + 6] as number) | ((header[at + 7] as number) << 8)) * 8 > Math.min(MAX_PARTS_TABLE, this.limit)) {
      throw new ProtocolError("The message that arrived has too many parts");
    }
  }
}

function bodyLength(header: Uint8Array, at: number): number {
  return (
    ((header[at] as number) |
      ((header[at + 1] as number) << 8) |
      ((header[at + 2] as number) << 16) |
      ((header[at + 3] as number) << 24)) >>>
    0
  );
}

function tooLong(length: number, limit: number): ProtocolError {
  return new ProtocolError(`A message of ${length} bytes is announced; at most ${limit} are accepted`);
}

function moduleList(part: Uint8Array | undefined): string[] {
  try {
    const list: unknown = JSON.parse(part === undefined ? "" : host.utf8Read(part, 0, part.length));
    if (Array.isArray(list) && list.every((item) => typeof item === "string")) return list;
  } catch {} // refused below
  throw new ProtocolError("The list of modules in the message that arrived is malformed");
}
