/**
 * A frame: one message of a channel on the wire. `frame-writer.ts` writes it, `frame-reader.ts`
 * reads it.
 *
 * ```text
 *   byte 0              4      5       6              8
 *        | body length n | kind | flags | part count p | body: n bytes | p lengths (u64) | p parts …
 * ```
 *
 * All numbers are little-endian. The flags byte is {@link FRAME_MAGIC}, which distinguishes a frame
 * from noise, combined with {@link HAS_MODULES} and {@link IS_CONTROL}. The lengths of the parts
 * follow the body, since the sender knows them only after it has encoded the body. The reader
 * checks every length against its limit before it allocates memory.
 */

/** Length of the header. */
export const HEADER_BYTES = 8;
/** The flags byte of a frame without flags. */
export const FRAME_MAGIC = 0xa4;
/** Flag: the last part is the JSON list of the modules that the body names. */
export const HAS_MODULES = 1;
/** Flag: the frame is for the channel itself, see `transport-upgrade.ts`. */
export const IS_CONTROL = 2;
/** The longest message: a typed array and a frame length can hold this much on every host. */
export const MAX_MESSAGE_BYTES: number = 2 ** 31;
/** The part count is a 16-bit number. */
export const MAX_PARTS = 0xffff;
/** Size of a part's length in the table. */
export const PART_LENGTH_BYTES = 8;

/** The empty list of parts or modules. */
export const EMPTY_LIST: readonly never[] = Object.freeze([]) as never;

/**
 * A message as it arrived. It is not decoded yet, so it can be stored, forwarded or decoded later.
 */
export class Frame {
  /** A small number that the layer above gives a meaning to. */
  readonly kind: number;
  /** The body is at `bytes[start]` to `bytes[end - 1]`. Nothing writes to these bytes again. */
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** The large binary parts, each with a buffer of its own. */
  readonly parts: readonly Uint8Array[];
  /** The modules that the body names. */
  readonly modules: readonly string[];

  constructor(
    kind: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    parts: readonly Uint8Array[],
    modules: readonly string[],
  ) {
    this.kind = kind;
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.parts = parts;
    this.modules = modules;
  }

  /** Bytes of the body and all parts. */
  get size(): number {
    let size = this.end - this.start;
    // This getter runs several times per message. An iterator over an empty list would dominate its
    // cost.
    if (this.parts.length > 0) for (const part of this.parts) size += part.byteLength;
    return size;
  }
}

/** Writes the header of a frame. */
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

/** Reads the length of the body from a header. */
export function readBodyLength(header: Uint8Array, offset: number): number {
  return (
    ((header[offset] as number) |
      ((header[offset + 1] as number) << 8) |
      ((header[offset + 2] as number) << 16) |
      ((header[offset + 3] as number) << 24)) >>>
    0
  );
}

/** Reads the number of parts from a header. */
export function readPartCount(header: Uint8Array, offset: number): number {
  return (header[offset + 6] as number) | ((header[offset + 7] as number) << 8);
}

/** Whether a header announces a frame without flags and parts. */
export function isPlainHeader(header: Uint8Array, offset: number): boolean {
  return header[offset + 5] === FRAME_MAGIC && header[offset + 6] === 0 && header[offset + 7] === 0;
}

/**
 * Builds a whole frame without parts, for code that has no channel to send it.
 *
 * @param flags {@link HAS_MODULES} and {@link IS_CONTROL}
 */
export function smallFrame(kind: number, flags: number, body: Uint8Array = new Uint8Array(0)): Uint8Array {
  const frame = new Uint8Array(HEADER_BYTES + body.length);
  writeHeader(new DataView(frame.buffer), 0, body.length, kind, FRAME_MAGIC | flags, 0);
  frame.set(body, HEADER_BYTES);
  return frame;
}
