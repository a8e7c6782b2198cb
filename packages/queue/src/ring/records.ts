/**
 * The records of a ring: how items lie in its memory. Who may write and read them when is told in `ring.ts`.
 *
 * ```text
 *   record  lengths of body and annex | its number | where its large parts begin | unused || body | annex
 *           lengths -1: the rest up to the end is unused, and the next record begins at the start
 *   annex   the modules of a frame and the sizes of its large parts, as JSON; mostly none. A long body is the first of them
 * ```
 *
 * Each is in one piece, from a multiple of 16. A position counts bytes, modulo 2^32, and may have marks in its lowest four bits.
 */
import { Frame, host, type Memory } from "@multiproc/core/internal";
import { Bulk, MAX_PARTS } from "./large-payloads.ts";

/** So many bytes they take; a power of two. */
export const CAPACITY: number = 512 * 1024;
/** The bits of a number that tell a position; the others may be marks. */
export const POSITION: number = ~15;
const MASK = CAPACITY - 1;
const HEADER = 16;
const NUMBER = 1;
const PARTS = 2;
const LENGTH = 0xffff;
/** A longer body stands with the large parts. */
const MAX_BODY = 16 * 1024;
/** The longest record: some must fit, or one waits for the other. */
const MAX_RECORD = 64 * 1024;
const REST_UNUSED = -1;
const SHORT = 64;

/** Whether the body is the first of the large parts; the modules; the sizes of the large parts. */
type Annex = [isApart: 0 | 1, modules: readonly string[], sizes: readonly number[]];

const NO_PARTS: readonly Uint8Array[] = [];
const NO_MODULES: readonly string[] = [];
const NOTHING = new Uint8Array(0);
const annexes = new WeakMap<readonly string[], Uint8Array>();

/** Where large parts are; undefined as long as there is no such place. */
export type FindBulk = () => Bulk | undefined;

/** The records of a ring; see the head of this file. */
export class RingRecords {
  readonly #bytes: Uint8Array;
  readonly #data: Int32Array;
  readonly #bulk: FindBulk;

  /** @param at where they begin in the memory @param bulk asked whenever a record has large parts */
  constructor(memory: Memory, at: number, bulk: FindBulk) {
    this.#bytes = new Uint8Array(memory.buffer, at, CAPACITY);
    this.#data = new Int32Array(memory.buffer, at, CAPACITY / 4);
    this.#bulk = bulk;
  }

  /** Writes records from a position on, and says where the next one comes; undefined if one has no place here, or they take more than is left. */
  write(frames: readonly Frame[], from: number, tail: number): number | undefined {
    const data = this.#data;
    const left = CAPACITY - HEADER - ((from - tail) >>> 0);
    let position = from;
    let number = this.numberAt(from);
    let bulkAt = this.#partsAt(from);
    for (const frame of frames) {
      const { bytes, start } = frame;
      const parts = partsOf(frame);
      const annex = annexOf(frame, parts);
      const length = bodySize(frame);
      const size = recordSize(length, annex.length);
      if (size > MAX_RECORD) return undefined;
      const toEnd = CAPACITY - (position & MASK);
      const skipped = toEnd < size ? toEnd : 0;
      if (((position - from) >>> 0) + skipped + size > left) return undefined;
      if (skipped > 0) {
        data[(position & MASK) >> 2] = REST_UNUSED;
        position = (position + skipped) | 0;
      }
      const at = position & MASK;
      data[at >> 2] = length | (annex.length << 16);
      data[(at >> 2) + NUMBER] = number;
      data[(at >> 2) + PARTS] = bulkAt;
      this.#copyIn(bytes, start, start + length, at + HEADER);
      if (annex.length > 0) this.#bytes.set(annex, at + HEADER + length);
      if (parts.length > 0) {
        const bulk = this.#bulk();
        const bulkEnd = bulk && Bulk.end(bulkAt, this.#partsAt(tail), parts);
        if (bulkEnd === undefined) return undefined;
        (bulk as Bulk).write(bulkAt, parts);
        bulkAt = bulkEnd;
      }
      position = (position + size) | 0;
      number = (number + 1) | 0;
      data[((position & MASK) >> 2) + NUMBER] = number;
      data[((position & MASK) >> 2) + PARTS] = bulkAt;
    }
    return position;
  }

  /** The number of the record that stands, or will stand, there. */
  numberAt(position: number): number {
    return this.#data[((position & MASK & POSITION) >> 2) + NUMBER] as number;
  }

  /** Where the record is that begins there, or behind the unused rest. */
  begin(position: number): number {
    const at = position & MASK;
    return this.#data[at >> 2] === REST_UNUSED ? (position + CAPACITY - at) | 0 : position;
  }

  sizeAt(position: number): number {
    return sizeOf(this.#data[(position & MASK) >> 2] as number);
  }

  /** So many bytes from there on, or those up to the end. */
  copy(position: number, size: number): Uint8Array {
    const at = position & MASK;
    return this.#bytes.slice(at, Math.min(at + size, CAPACITY));
  }

  /** What a record holds that was copied. @throws if it has large parts, and their memory cannot be mapped here */
  frameIn(copy: Uint8Array, at: number): Frame {
    const lengths = wordAt(copy, at);
    const start = at + HEADER;
    const end = start + (lengths & LENGTH);
    const annexLength = lengths >>> 16;
    if (annexLength === 0) return new Frame(0, copy, start, end, NO_PARTS, NO_MODULES);
    const [isApart, modules, sizes]: Annex = JSON.parse(host.utf8Read(copy, end, end + annexLength));
    const parts = sizes.length === 0 ? NO_PARTS : (this.#bulk() as Bulk).read(wordAt(copy, at + 4 * PARTS), sizes);
    if (isApart === 0) return new Frame(0, copy, start, end, parts, modules);
    const [body, ...others] = parts as [Uint8Array];
    return new Frame(0, body, 0, body.length, others, modules);
  }

  #copyIn(bytes: Uint8Array, start: number, end: number, at: number): void {
    const target = this.#bytes;
    // For few bytes that is faster than what does it at once.
    if (end - start <= SHORT) for (let i = start, to = at; i < end; i++, to++) target[to] = bytes[i] as number;
    else target.set(bytes.subarray(start, end), at);
  }

  /** Where its large parts begin. */
  #partsAt(position: number): number {
    return this.#data[((position & MASK & POSITION) >> 2) + PARTS] as number;
  }
}

/** Whether a frame has a place in a ring. */
export function fits(frame: Frame): boolean {
  const parts = partsOf(frame);
  if (parts.length > 0 && parts.reduce((size, { length }) => size + length, 0) > MAX_PARTS) return false;
  return recordSize(bodySize(frame), annexOf(frame, parts).length) <= MAX_RECORD;
}

/** Whether it takes a place for large parts. */
export function isLarge(frame: Frame): boolean {
  return partsOf(frame).length > 0;
}

/** The size of a record that was copied; 0 if it is not whole. */
export function sizeIn(copy: Uint8Array, at: number): number {
  if (at + HEADER > copy.length) return 0;
  const size = sizeOf(wordAt(copy, at));
  return at + size <= copy.length ? size : 0;
}

function recordSize(length: number, annexLength: number): number {
  return (HEADER + length + annexLength + 15) & POSITION;
}

/** The size of a record, from the first word of its header. */
function sizeOf(lengths: number): number {
  return recordSize(lengths & LENGTH, lengths >>> 16);
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  );
}

/** How much of the body stands in the record. */
function bodySize({ start, end }: Frame): number {
  return end - start > MAX_BODY ? 0 : end - start;
}

/** What stands outside of the record. */
function partsOf({ bytes, start, end, parts }: Frame): readonly Uint8Array[] {
  return end - start > MAX_BODY ? [bytes.subarray(start, end), ...parts] : parts;
}

/** What goes with the body of a frame. Most that need a module need the same, and have the same list of it. */
function annexOf(frame: Frame, parts: readonly Uint8Array[]): Uint8Array {
  const { modules } = frame;
  if (parts.length === 0 && modules.length === 0) return NOTHING;
  let annex = parts.length === 0 ? annexes.get(modules) : undefined;
  if (annex !== undefined) return annex;
  const isApart = parts.length > frame.parts.length ? 1 : 0;
  const content: Annex = [isApart, modules, parts.map(({ length }) => length)];
  annex = new TextEncoder().encode(JSON.stringify(content));
  if (parts.length === 0) annexes.set(modules, annex);
  return annex;
}
