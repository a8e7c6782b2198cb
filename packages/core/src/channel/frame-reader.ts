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
import { EMPTY_LIST, Frame } from "./channel.ts";
import { allocateReceiveBuffer } from "./receive-buffer.ts";

export const HEADER_SIZE = 8;
export const FRAME_MAGIC = 0xa4;
export const HAS_MODULES = 1;
export const IS_CONTROL = 2;
/** The longest message: what one typed array and one frame length can hold everywhere. */
export const MAX_MESSAGE_BYTES: number = 2 ** 31;

/** From here on, it pays to read into a piece directly. */
const DIRECT_READ_MIN_BYTES = 64 * 1024;
const MAX_PARTS_TABLE_BYTES = 8 * 0xffff;

/** A whole message without parts as it stands on the wire, for who has no channel to send it. @param flags see the head of this file */
export function smallFrame(kind: number, flags: number, body: Uint8Array = new Uint8Array(0)): Uint8Array {
  const frame = new Uint8Array(HEADER_SIZE + body.length);
  writeHeader(new DataView(frame.buffer), 0, body.length, kind, FRAME_MAGIC | flags, 0);
  frame.set(body, HEADER_SIZE);
  return frame;
}

/** Writes what a frame begins with; see the head of this file. */
export function writeHeader(
  view: DataView,
  offset: number,
  length: number,
  kind: number,
  magicAndFlags: number,
  partCount: number,
): void {
  view.setUint32(offset, length, true);
  view.setUint32(offset + 4, kind | (magicAndFlags << 8) | (partCount << 16), true);
}

/** Cuts a stream of chunks into frames and hands each to `emit`, in order. */
export class FrameReader {
  /** The longest message that is accepted, in bytes. */
  maxMessageBytes: number;
  /** Takes what is for the channel itself; where it is missing, such frames are noise. */
  onControlFrame: ((frame: Frame) => void) | undefined;
  readonly #emit: (frame: Frame) => void;
  readonly #header = new Uint8Array(HEADER_SIZE);
  #headerFill = 0;
  /** The piece of a frame that is being filled across chunks; the header is when it is missing. */
  #section: Uint8Array | undefined;
  #sectionFill = 0;
  #onSectionFull: (piece: Uint8Array) => void = () => {};
  #body: Uint8Array = this.#header;
  #lengths: number[] = [];
  #parts: Uint8Array[] = [];

  constructor(emit: (frame: Frame) => void, maxMessageBytes: number = MAX_MESSAGE_BYTES) {
    this.#emit = emit;
    this.maxMessageBytes = maxMessageBytes;
  }

  /** Whether the stream ended here would cut a message in two. */
  get isMidFrame(): boolean {
    return this.#headerFill > 0 || this.#section !== undefined;
  }

  /** The rest of a large piece, where the next bytes can be put without a detour. */
  get directBuffer(): Uint8Array | undefined {
    const section = this.#section;
    return section !== undefined && section.length - this.#sectionFill >= DIRECT_READ_MIN_BYTES
      ? section.subarray(this.#sectionFill)
      : undefined;
  }

  /** So many bytes were put into the last {@link FrameReader.directBuffer}. */
  filled(count: number): void {
    this.#sectionFill += count;
    if (this.#sectionFill === this.#section?.length) this.#onSectionFull(this.#section);
  }

  /**
   * Takes the next bytes of the stream; frames keep views of them.
   *
   * @throws {ProtocolError} if they are no frames
   */
  feed(chunk: Uint8Array): void {
    let offset = 0;
    while (offset < chunk.length) {
      if (this.#section === undefined && this.#headerFill === 0) {
        offset = this.#readWholeFrames(chunk, offset);
        if (offset === chunk.length) return;
      }
      offset =
        this.#section === undefined ? this.#fillHeader(chunk, offset) : this.#fillSection(this.#section, chunk, offset);
    }
  }

  /** The fast path: plain frames without parts that lie in the chunk from end to end. */
  #readWholeFrames(chunk: Uint8Array, from: number): number {
    let offset = from;
    while (chunk.length - offset >= HEADER_SIZE) {
      const length = bodyLength(chunk, offset);
      const end = offset + HEADER_SIZE + length;
      if (end > chunk.length || chunk[offset + 5] !== FRAME_MAGIC || chunk[offset + 6] !== 0 || chunk[offset + 7] !== 0)
        break;
      if (length > this.maxMessageBytes) throw tooLongError(length, this.maxMessageBytes);
      const kind = chunk[offset + 4] as number;
      this.#emit(new Frame(kind, chunk, offset + HEADER_SIZE, end, EMPTY_LIST, EMPTY_LIST));
      offset = end;
    }
    return offset;
  }

  #fillHeader(chunk: Uint8Array, from: number): number {
    const header = this.#header;
    let offset = from;
    while (this.#headerFill < HEADER_SIZE && offset < chunk.length)
      header[this.#headerFill++] = chunk[offset++] as number;
    if (this.#headerFill === HEADER_SIZE) {
      const length = bodyLength(header, 0);
      this.#checkHeader(header, 0, length);
      this.#expectSection(length, (body) => {
        this.#body = body;
        this.#expectPartsTable();
      });
    }
    return offset;
  }

  #fillSection(section: Uint8Array, chunk: Uint8Array, from: number): number {
    const byteCount = Math.min(section.length - this.#sectionFill, chunk.length - from);
    section.set(
      from === 0 && byteCount === chunk.length ? chunk : chunk.subarray(from, from + byteCount),
      this.#sectionFill,
    );
    this.#sectionFill += byteCount;
    if (this.#sectionFill === section.length) this.#onSectionFull(section);
    return from + byteCount;
  }

  #expectPartsTable(): void {
    const partCount = (this.#header[6] as number) | ((this.#header[7] as number) << 8);
    this.#lengths = [];
    this.#parts = [];
    if (partCount === 0) return this.#finish();
    this.#expectSection(partCount * 8, (table) => {
      const view = new DataView(table.buffer);
      let total = this.#body.length;
      for (let i = 0; i < partCount; i++) {
        const length = view.getUint32(i * 8, true) + view.getUint32(i * 8 + 4, true) * 2 ** 32;
        total += length;
        this.#lengths.push(length);
      }
      if (total > this.maxMessageBytes) throw tooLongError(total, this.maxMessageBytes);
      this.#expectParts();
    });
  }

  #expectParts(): void {
    const length = this.#lengths[this.#parts.length];
    if (length === undefined) return this.#finish();
    this.#expectSection(length, (part) => {
      this.#parts.push(part);
      this.#expectParts();
    });
  }

  #expectSection(length: number, onFull: (piece: Uint8Array) => void): void {
    try {
      this.#section = length < DIRECT_READ_MIN_BYTES ? new Uint8Array(length) : allocateReceiveBuffer(length);
    } catch (cause) {
      throw new ProtocolError(`There is no memory for a message of ${length} bytes`, { cause });
    }
    this.#sectionFill = 0;
    this.#onSectionFull = onFull;
    if (length === 0) onFull(this.#section);
  }

  #finish(): void {
    const { 4: kind, 5: magicAndFlags } = this.#header as unknown as { 4: number; 5: number };
    const body = this.#body;
    const parts = this.#parts;
    const modules = (magicAndFlags & HAS_MODULES) === 0 ? EMPTY_LIST : parseModuleList(parts.pop());
    this.#headerFill = 0;
    this.#section = undefined;
    this.#body = this.#header;
    this.#parts = [];
    const frame = new Frame(kind, body, 0, body.length, parts.length === 0 ? EMPTY_LIST : parts, modules);
    if ((magicAndFlags & IS_CONTROL) === 0) this.#emit(frame);
    else this.onControlFrame?.(frame);
  }

  #checkHeader(header: Uint8Array, offset: number, length: number): void {
    const flags = this.onControlFrame === undefined ? HAS_MODULES : HAS_MODULES | IS_CONTROL;
    if (((header[offset + 5] as number) & ~flags) !== FRAME_MAGIC)
      throw new ProtocolError("The bytes that arrived are no message");
    if (length > this.maxMessageBytes) throw tooLongError(length, this.maxMessageBytes);
    if (
      ((header[offset + 6] as number) | ((header[offset + 7] as number) << 8)) * 8 >
      Math.min(MAX_PARTS_TABLE_BYTES, this.maxMessageBytes)
    ) {
      throw new ProtocolError("The message that arrived has too many parts");
    }
  }
}

function bodyLength(header: Uint8Array, offset: number): number {
  return (
    ((header[offset] as number) |
      ((header[offset + 1] as number) << 8) |
      ((header[offset + 2] as number) << 16) |
      ((header[offset + 3] as number) << 24)) >>>
    0
  );
}

function tooLongError(length: number, maxBytes: number): ProtocolError {
  return new ProtocolError(`A message of ${length} bytes is announced; at most ${maxBytes} are accepted`);
}

function parseModuleList(part: Uint8Array | undefined): string[] {
  try {
    const list: unknown = JSON.parse(part === undefined ? "" : host.utf8Read(part, 0, part.length));
    if (Array.isArray(list) && list.every((item) => typeof item === "string")) return list;
  } catch {} // refused below
  throw new ProtocolError("The list of modules in the message that arrived is malformed");
}
