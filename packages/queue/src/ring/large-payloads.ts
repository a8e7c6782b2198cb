/**
 * The large binary parts of the items in a ring: memory beside it, in which they follow one another in the same order.
 *
 * Where the parts of a record begin is written in the record; with their sizes, the rest follows. So what is in use is
 * what lies between the records at the tail and at the head, and to take a record frees its parts.
 */
import { type SegmentAddress, SharedSegment } from "@multiproc/core/internal";

/** Positions count so many bytes. */
const UNIT_BYTES = 64;
const AREA_BYTES = 16 * 1024 * 1024;
const AREA_UNITS = AREA_BYTES / UNIT_BYTES;
/** The largest parts of an item, together: wherever the last ended, they fit as soon as nothing else is there. */
export const MAX_LARGE_PARTS_BYTES: number = AREA_BYTES / 2;

/** Memory for large parts; see the head of this file. */
export class LargePayloadArea {
  readonly #bytes: Uint8Array;
  readonly memory: SharedSegment;

  private constructor(memory: SharedSegment) {
    this.memory = memory;
    this.#bytes = new Uint8Array(memory.buffer, 0, AREA_BYTES);
  }

  /** Takes memory from the system. */
  static create(): LargePayloadArea {
    return new LargePayloadArea(SharedSegment.create(AREA_BYTES));
  }

  /** What another process has made. */
  static attach(address: SegmentAddress): LargePayloadArea {
    return new LargePayloadArea(SharedSegment.attach(address));
  }

  /** Where parts end that begin at a position; undefined if that is too far from where the first in use is. */
  static endOf(from: number, oldest: number, parts: readonly Uint8Array[]): number | undefined {
    let end = from;
    for (const { length } of parts) end = (contiguousStart(end, length) + unitCount(length)) | 0;
    return (end - oldest) >>> 0 <= AREA_UNITS ? end : undefined;
  }

  write(from: number, parts: readonly Uint8Array[]): void {
    let position = from;
    for (const part of parts) {
      position = contiguousStart(position, part.length);
      this.#bytes.set(part, byteOffsetOf(position));
      position = (position + unitCount(part.length)) | 0;
    }
  }

  /** Copies parts of those sizes. */
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

/** Where a part begins that may begin there: each is in one piece. */
function contiguousStart(position: number, size: number): number {
  const unitsToEnd = AREA_UNITS - (position & (AREA_UNITS - 1));
  return unitCount(size) > unitsToEnd ? (position + unitsToEnd) | 0 : position;
}

function byteOffsetOf(position: number): number {
  return (position & (AREA_UNITS - 1)) * UNIT_BYTES;
}
