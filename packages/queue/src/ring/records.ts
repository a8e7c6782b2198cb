/**
 * The layout of items in the memory of a ring. `mpmc-ring.ts` decides which process may write and
 * read a record, and when.
 *
 * ```text
 *   record    lengths of body and metadata | sequence number | position of the large parts | unused || body | metadata
 *             lengths -1: the rest of the memory is unused, and the next record begins at its start
 *   metadata  as JSON: the modules of the frame, and the sizes of its large parts; usually empty
 * ```
 *
 * A record is contiguous and begins at a multiple of 16. A position counts bytes, modulo 2^32; its
 * lowest four bits may hold flags. A body of more than 16 KiB is stored as the first large part.
 */
import { copyBytes, Frame, host, type SharedSegment } from "@multiproc/core/internal";
import { LargePayloadArea, MAX_LARGE_PARTS_BYTES } from "./large-payloads.ts";

/** The size of the ring buffer, a power of two. */
export const RECORDS_BYTES: number = 512 * 1024;
/** The bits of a word that hold a position. The others may hold flags. */
export const POSITION_MASK: number = ~15;
const OFFSET_MASK = RECORDS_BYTES - 1;
const HEADER_BYTES = 16;
const SEQUENCE_WORD = 1;
const LARGE_PARTS_WORD = 2;
const LENGTH_MASK = 0xffff;
/** A longer body is stored as the first large part. */
export const MAX_INLINE_BODY_BYTES: number = 16 * 1024;
/**
 * The longest record. Several records must fit into the ring. Otherwise a producer and a consumer
 * would have to wait for each other after every record.
 */
const MAX_RECORD_BYTES = 64 * 1024;
const WRAP_MARKER = -1;

/** The fields of a record's metadata. With `isBodySeparate`, the first large part is the body. */
type Metadata = [isBodySeparate: 0 | 1, modules: readonly string[], sizes: readonly number[]];

const NO_PARTS: readonly Uint8Array[] = [];
const NO_MODULES: readonly string[] = [];
const NO_BYTES = new Uint8Array(0);
/**
 * Encoded metadata of frames without large parts. The key is the list of modules, which many frames
 * share.
 */
const metadataCache = new WeakMap<readonly string[], Uint8Array>();

/** Returns the area for large parts; undefined until the owner process has allocated it. */
export type FindLargeArea = () => LargePayloadArea | undefined;

/** The records of a ring; see the header of this file. */
export class RingRecords {
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #findLargeArea: FindLargeArea;

  /**
   * @param byteOffset where the records begin in the memory
   * @param findLargeArea called for each record with large parts
   */
  constructor(memory: SharedSegment, byteOffset: number, findLargeArea: FindLargeArea) {
    this.#bytes = new Uint8Array(memory.buffer, byteOffset, RECORDS_BYTES);
    this.#words = new Int32Array(memory.buffer, byteOffset, RECORDS_BYTES / 4);
    this.#findLargeArea = findLargeArea;
  }

  /**
   * Writes one record for each frame, from the position `from` on.
   *
   * @returns the position of the next record; undefined if a frame is too large, the free space is
   * too small, or the large-payload area is not allocated
   */
  write(frames: readonly Frame[], from: number, tail: number): number | undefined {
    const words = this.#words;
    // The header of the next record must not overwrite the record at the tail.
    const freeBytes = RECORDS_BYTES - HEADER_BYTES - ((from - tail) >>> 0);
    let position = from;
    let sequence = this.sequenceAt(from);
    let areaPosition = this.#areaPositionAt(from);
    for (const frame of frames) {
      const { bytes, start } = frame;
      const parts = largePartsOf(frame);
      const metadata = metadataOf(frame, parts);
      const length = inlineBodySize(frame);
      const size = recordSize(length, metadata.length);
      if (size > MAX_RECORD_BYTES) return undefined;
      const toEnd = RECORDS_BYTES - (position & OFFSET_MASK);
      const skipped = toEnd < size ? toEnd : 0;
      if (((position - from) >>> 0) + skipped + size > freeBytes) return undefined;
      if (skipped > 0) {
        words[(position & OFFSET_MASK) >> 2] = WRAP_MARKER;
        position = (position + skipped) | 0;
      }
      const offset = position & OFFSET_MASK;
      words[offset >> 2] = length | (metadata.length << 16);
      words[(offset >> 2) + SEQUENCE_WORD] = sequence;
      words[(offset >> 2) + LARGE_PARTS_WORD] = areaPosition;
      copyBytes(bytes, start, start + length, this.#bytes, offset + HEADER_BYTES);
      if (metadata.length > 0) this.#bytes.set(metadata, offset + HEADER_BYTES + length);
      if (parts.length > 0) {
        const area = this.#findLargeArea();
        const areaEnd = area && LargePayloadArea.endOf(areaPosition, this.#areaPositionAt(tail), parts);
        if (areaEnd === undefined) return undefined;
        (area as LargePayloadArea).write(areaPosition, parts);
        areaPosition = areaEnd;
      }
      position = (position + size) | 0;
      sequence = (sequence + 1) | 0;
      words[((position & OFFSET_MASK) >> 2) + SEQUENCE_WORD] = sequence;
      words[((position & OFFSET_MASK) >> 2) + LARGE_PARTS_WORD] = areaPosition;
    }
    return position;
  }

  /** Returns the sequence number of the record at a position, which may be the head. */
  sequenceAt(position: number): number {
    return this.#words[((position & OFFSET_MASK & POSITION_MASK) >> 2) + SEQUENCE_WORD] as number;
  }

  /**
   * Returns the position of the next record from `position` on. It is the start of the memory if the
   * rest of the memory is unused.
   */
  recordStart(position: number): number {
    const offset = position & OFFSET_MASK;
    return this.#words[offset >> 2] === WRAP_MARKER ? (position + RECORDS_BYTES - offset) | 0 : position;
  }

  sizeAt(position: number): number {
    return sizeOf(this.#words[(position & OFFSET_MASK) >> 2] as number);
  }

  /** Copies `size` bytes from a position on, but none after the end of the memory. */
  copy(position: number, size: number): Uint8Array {
    const offset = position & OFFSET_MASK;
    return this.#bytes.slice(offset, Math.min(offset + size, RECORDS_BYTES));
  }

  /**
   * Returns the frame of the record at `at` in a copy.
   *
   * @throws if it has large parts, and this process cannot map their memory
   */
  frameIn(copy: Uint8Array, at: number): Frame {
    const lengths = wordAt(copy, at);
    const start = at + HEADER_BYTES;
    const end = start + (lengths & LENGTH_MASK);
    const metadataLength = lengths >>> 16;
    if (metadataLength === 0) return new Frame(0, copy, start, end, NO_PARTS, NO_MODULES);
    const [isBodySeparate, modules, sizes]: Metadata = JSON.parse(host.utf8Read(copy, end, end + metadataLength));
    const parts =
      sizes.length === 0
        ? NO_PARTS
        : (this.#findLargeArea() as LargePayloadArea).read(wordAt(copy, at + 4 * LARGE_PARTS_WORD), sizes);
    if (isBodySeparate === 0) return new Frame(0, copy, start, end, parts, modules);
    const [body, ...others] = parts as [Uint8Array];
    return new Frame(0, body, 0, body.length, others, modules);
  }

  /** Returns the position of the first large part of the record at a position. */
  #areaPositionAt(position: number): number {
    return this.#words[((position & OFFSET_MASK & POSITION_MASK) >> 2) + LARGE_PARTS_WORD] as number;
  }
}

/** Whether a frame fits into an empty ring. */
export function fits(frame: Frame): boolean {
  const parts = largePartsOf(frame);
  if (parts.length > 0 && parts.reduce((size, { length }) => size + length, 0) > MAX_LARGE_PARTS_BYTES) return false;
  return recordSize(inlineBodySize(frame), metadataOf(frame, parts).length) <= MAX_RECORD_BYTES;
}

/** Whether a frame has parts for the large-payload area. */
export function needsLargeArea(frame: Frame): boolean {
  return largePartsOf(frame).length > 0;
}

/** Returns the size of the record at `at` in a copy; 0 if the copy does not hold all of it. */
export function wholeRecordSize(copy: Uint8Array, at: number): number {
  if (at + HEADER_BYTES > copy.length) return 0;
  const size = sizeOf(wordAt(copy, at));
  return at + size <= copy.length ? size : 0;
}

function recordSize(length: number, metadataLength: number): number {
  return (HEADER_BYTES + length + metadataLength + 15) & POSITION_MASK;
}

/** Returns the size of a record from the first word of its header. */
function sizeOf(lengths: number): number {
  return recordSize(lengths & LENGTH_MASK, lengths >>> 16);
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  );
}

/** Returns the number of bytes of the body that are stored in the record. */
function inlineBodySize({ start, end }: Frame): number {
  return end - start > MAX_INLINE_BODY_BYTES ? 0 : end - start;
}

/** Returns the parts that are stored in the large-payload area. */
function largePartsOf({ bytes, start, end, parts }: Frame): readonly Uint8Array[] {
  return end - start > MAX_INLINE_BODY_BYTES ? [bytes.subarray(start, end), ...parts] : parts;
}

/** Returns the encoded metadata of a frame. */
function metadataOf(frame: Frame, parts: readonly Uint8Array[]): Uint8Array {
  const { modules } = frame;
  if (parts.length === 0 && modules.length === 0) return NO_BYTES;
  let metadata = parts.length === 0 ? metadataCache.get(modules) : undefined;
  if (metadata !== undefined) return metadata;
  const isBodySeparate = parts.length > frame.parts.length ? 1 : 0;
  const fields: Metadata = [isBodySeparate, modules, parts.map(({ length }) => length)];
  metadata = new TextEncoder().encode(JSON.stringify(fields));
  if (parts.length === 0) metadataCache.set(modules, metadata);
  return metadata;
}
