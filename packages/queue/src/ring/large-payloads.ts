/**
 * The large binary parts of the items in a ring: memory beside it, in which they follow one another in the same order.
 *
 * Where the parts of a record begin is written in the record; with their sizes, the rest follows. So what is in use is
 * what lies between the records at the tail and at the head, and to take a record frees its parts.
 */
import { Memory, type MemoryAddress } from "@multiproc/core/internal";

/** Positions count so many bytes. */
const UNIT = 64;
const BYTES = 16 * 1024 * 1024;
const CAPACITY = BYTES / UNIT;
/** The largest parts of an item, together: wherever the last ended, they fit as soon as nothing else is there. */
export const MAX_PARTS: number = BYTES / 2;

/** Memory for large parts; see the head of this file. */
export class Bulk {
  readonly #bytes: Uint8Array;
  readonly memory: Memory;

  private constructor(memory: Memory) {
    this.memory = memory;
    this.#bytes = new Uint8Array(memory.buffer, 0, BYTES);
  }

  /** Takes memory from the system. */
  static create(): Bulk {
    return new Bulk(Memory.create(BYTES));
  }

  /** What another process has made. */
  static attach(address: MemoryAddress): Bulk {
    return new Bulk(Memory.attach(address));
  }

  /** Where parts end that begin at a position; undefined if that is too far from where the first in use is. */
  static end(from: number, first: number, parts: readonly Uint8Array[]): number | undefined {
    let end = from;
    for (const { length } of parts) end = (begin(end, length) + units(length)) | 0;
    return (end - first) >>> 0 <= CAPACITY ? end : undefined;
  }

  write(from: number, parts: readonly Uint8Array[]): void {
    let position = from;
    for (const part of parts) {
      position = begin(position, part.length);
      this.#bytes.set(part, placeOf(position));
      position = (position + units(part.length)) | 0;
    }
  }

  /** Copies parts of those sizes. */
  read(from: number, sizes: readonly number[]): Uint8Array[] {
    let position = from;
    return sizes.map((size) => {
      position = begin(position, size);
      const at = placeOf(position);
      position = (position + units(size)) | 0;
      return this.#bytes.slice(at, at + size);
    });
  }
}

function units(size: number): number {
  return Math.ceil(size / UNIT);
}

/** Where a part begins that may begin there: each is in one piece. */
function begin(position: number, size: number): number {
  const toEnd = CAPACITY - (position & (CAPACITY - 1));
  return units(size) > toEnd ? (position + toEnd) | 0 : position;
}

function placeOf(position: number): number {
  return (position & (CAPACITY - 1)) * UNIT;
}
