/**
 * Cuts a stream of bytes into frames, see `frame.ts` for their format.
 *
 * Frames without parts that lie whole in one chunk take a fast path without copies. For the others,
 * a small state machine collects the header, then the *sections* of the frame one by one: the body,
 * the table of lengths, each part.
 */
import { ProtocolError } from "../errors.ts";
import { host } from "../host/mod.ts";
import {
  EMPTY_LIST,
  FRAME_MAGIC,
  Frame,
  HAS_MODULES,
  HEADER_BYTES,
  IS_CONTROL,
  isPlainHeader,
  MAX_MESSAGE_BYTES,
  PART_LENGTH_BYTES,
  readBodyLength,
  readPartCount,
} from "./frame.ts";
import { allocateReceiveBuffer } from "./receive-buffer.ts";

/** A section of at least this size is read straight into its own buffer. */
const DIRECT_READ_MIN_BYTES = 64 * 1024;

/** Reads the frames of one stream and passes each to `emit`, in order. */
export class FrameReader {
  /** The longest message that is accepted, in bytes. */
  maxMessageBytes: number;
  /** Receives control frames. Without it, a control frame is a protocol error. */
  onControlFrame: ((frame: Frame) => void) | undefined;
  readonly #emit: (frame: Frame) => void;
  readonly #header = new Uint8Array(HEADER_BYTES);
  #headerFill = 0;
  /** The section that is being filled across chunks; undefined while the header is collected. */
  #section: Uint8Array | undefined;
  #sectionFill = 0;
  #onSectionFull: (section: Uint8Array) => void = () => {};
  #body: Uint8Array = this.#header;
  #lengths: number[] = [];
  #parts: Uint8Array[] = [];

  constructor(emit: (frame: Frame) => void, maxMessageBytes: number = MAX_MESSAGE_BYTES) {
    this.#emit = emit;
    this.maxMessageBytes = maxMessageBytes;
  }

  /** Whether a frame is incomplete: the end of the stream here would cut a message in two. */
  get isMidFrame(): boolean {
    return this.#headerFill > 0 || this.#section !== undefined;
  }

  /** The unfilled rest of a large section. A stream reads its next bytes into it without a copy. */
  get directBuffer(): Uint8Array | undefined {
    const section = this.#section;
    return section !== undefined && section.length - this.#sectionFill >= DIRECT_READ_MIN_BYTES
      ? section.subarray(this.#sectionFill)
      : undefined;
  }

  /** Records that `count` bytes were written into the last {@link FrameReader.directBuffer}. */
  filled(count: number): void {
    this.#sectionFill += count;
    if (this.#sectionFill === this.#section?.length) this.#onSectionFull(this.#section);
  }

  /**
   * Reads the next bytes of the stream. Frames keep views of the chunk.
   *
   * @throws {ProtocolError} if the bytes are not frames
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

  /** Emits the plain frames that lie whole in the chunk: the fast path. */
  #readWholeFrames(chunk: Uint8Array, from: number): number {
    let offset = from;
    while (chunk.length - offset >= HEADER_BYTES) {
      const length = readBodyLength(chunk, offset);
      const end = offset + HEADER_BYTES + length;
      if (end > chunk.length || !isPlainHeader(chunk, offset)) break;
      if (length > this.maxMessageBytes) throw tooLongError(length, this.maxMessageBytes);
      const kind = chunk[offset + 4] as number;
      this.#emit(new Frame(kind, chunk, offset + HEADER_BYTES, end, EMPTY_LIST, EMPTY_LIST));
      offset = end;
    }
    return offset;
  }

  #fillHeader(chunk: Uint8Array, from: number): number {
    const header = this.#header;
    let offset = from;
    while (this.#headerFill < HEADER_BYTES && offset < chunk.length)
      header[this.#headerFill++] = chunk[offset++] as number;
    if (this.#headerFill === HEADER_BYTES) {
      const length = readBodyLength(header, 0);
      this.#checkHeader(length);
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
    const partCount = readPartCount(this.#header, 0);
    this.#lengths = [];
    this.#parts = [];
    if (partCount === 0) return this.#finish();
    this.#expectSection(partCount * PART_LENGTH_BYTES, (table) => {
      const view = new DataView(table.buffer);
      let total = this.#body.length;
      for (let i = 0; i < partCount; i++) {
        const offset = i * PART_LENGTH_BYTES;
        const length = view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 2 ** 32;
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

  #expectSection(length: number, onFull: (section: Uint8Array) => void): void {
    try {
      this.#section = length < DIRECT_READ_MIN_BYTES ? new Uint8Array(length) : allocateReceiveBuffer(length);
    } catch (cause) {
      throw new ProtocolError(`Cannot allocate memory for a message of ${length} bytes`, { cause });
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

  #checkHeader(length: number): void {
    const header = this.#header;
    const flags = this.onControlFrame === undefined ? HAS_MODULES : HAS_MODULES | IS_CONTROL;
    if (((header[5] as number) & ~flags) !== FRAME_MAGIC)
      throw new ProtocolError("Malformed frame: the received bytes are not a message");
    if (length > this.maxMessageBytes) throw tooLongError(length, this.maxMessageBytes);
    if (readPartCount(header, 0) * PART_LENGTH_BYTES > this.maxMessageBytes)
      throw new ProtocolError("Malformed frame: it announces too many parts");
  }
}

function tooLongError(length: number, maxBytes: number): ProtocolError {
  return new ProtocolError(`The peer announced a message of ${length} bytes: at most ${maxBytes} are accepted`);
}

function parseModuleList(part: Uint8Array | undefined): string[] {
  try {
    const list: unknown = JSON.parse(part === undefined ? "" : host.utf8Read(part, 0, part.length));
    if (Array.isArray(list) && list.every((item) => typeof item === "string")) return list;
  } catch {} // refused below
  throw new ProtocolError("Malformed frame: its list of modules is not a JSON array of strings");
}
