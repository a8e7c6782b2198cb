/**
 * The area for large binary parts of the items in a ring. It is a second segment of shared memory.
 *
 * The area is a ring buffer as well: parts lie in the order of their records. A record holds the
 * position of its first part and the sizes of all its parts, which give the other positions. The
 * used space begins at the first part of the record at the tail. It ends where the next record, at
 * the head, will place its first part. Taking a record therefore frees its parts.
 */
import { type SegmentAddress, SharedSegment } from "@multiproc/core/internal";

/** Positions count units of this size, modulo 2^32. */
const UNIT_BYTES = 64;
const AREA_BYTES = 16 * 1024 * 1024;
const AREA_UNITS = AREA_BYTES / UNIT_BYTES;
/**
 * The largest total size of the parts of one item. A part may skip the end of the area, but half the
 * area always fits into an empty area, wherever the last part ended.
 */
export const MAX_LARGE_PARTS_BYTES: number = AREA_BYTES / 2;

/** The area for large parts; see the header of this file. */
export class LargePayloadArea {
  readonly #bytes: Uint8Array;
  readonly memory: SharedSegment;

  private constructor(memory: SharedSegment) {
    this.memory = memory;
    this.#bytes = new Uint8Array(memory.buffer, 0, AREA_BYTES);
  }

  /** Allocates the area. */
  static create(): LargePayloadArea {
    return new LargePayloadArea(SharedSegment.create(AREA_BYTES));
  }

  /** Maps the area that another process allocated. */
  static attach(address: SegmentAddress): LargePayloadArea {
    return new LargePayloadArea(SharedSegment.attach(address));
  }

  /**
   * Returns the position after the last of `parts`, if the first one begins at `from`.
   *
   * @param oldest the position of the oldest part in use
   * @returns undefined if the area has too little free space
   */
  static endOf(from: number, oldest: number, parts: readonly Uint8Array[]): number | undefined {
    let end = from;
    for (const { length } of parts) end = (contiguousStart(end, length) + unitCount(length)) | 0;
    return (end - oldest) >>> 0 <= AREA_UNITS ? end : undefined;
  }

  /** Writes parts, the first one at `from`. `endOf()` must have found space for them. */
  write(from: number, parts: readonly Uint8Array[]): void {
    let position = from;
    for (const part of parts) {
      position = contiguousStart(position, part.length);
      this.#bytes.set(part, byteOffsetOf(position));
      position = (position + unitCount(part.length)) | 0;
    }
  }

  /** Returns copies of the parts of these sizes, of which the first one begins at `from`. */
  read(from: number, sizes: readonly number[]): Uint8Array[] {
    let position = from;
    return sizes.map((size) => {
      position = contiguousStart(position, size);
      const offset = byteOffsetOf(position);
      position = (position + unitCount(size)) | 0;
      return this.#bytes.slice(offset, offset + size);
    });
  }
}

function unitCount(size: number): number {
  return Math.ceil(size / UNIT_BYTES);
}

/**
 * Returns the position of a part that follows another one. A part is contiguous. If it does not fit
 * before the end of the area, it begins at the start of the area.
 */
function contiguousStart(position: number, size: number): number {
  const unitsToEnd = AREA_UNITS - (position & (AREA_UNITS - 1));
  return unitCount(size) > unitsToEnd ? (position + unitsToEnd) | 0 : position;
}

function byteOffsetOf(position: number): number {
  return (position & (AREA_UNITS - 1)) * UNIT_BYTES;
}
