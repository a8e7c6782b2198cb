/**
 * The large area of a ring stream: more shared memory, for its large messages. See "Two areas" in
 * `spsc-ring.ts`.
 *
 * The writing side creates the memory after a few large messages and offers it to the peer, which
 * attaches it.
 */
import { type SegmentAddress, SharedSegment } from "../shm/shared-memory-segment.ts";
import { LARGE_AREA_BYTES, type SpscByteRing } from "./spsc-ring.ts";

/** A message of at least this size is large. */
const LARGE_MESSAGE_BYTES = 512 * 1024;
/** Large messages that are written before the area is offered. */
const OFFER_AFTER_LARGE_MESSAGES = 3;
/** At most this many streams of this process have a large area to write to. */
const MAX_LARGE_AREAS = 32;
let largeAreaCount = 0;

/** The large areas of one stream, for both directions. */
export class LargeMessageArea {
  readonly #out: SpscByteRing;
  readonly #in: SpscByteRing;
  readonly #offer: (address: SegmentAddress) => void;
  #largeMessageCount = 0;
  readonly #segments: SharedSegment[] = [];
  #isClosed = false;

  /**
   * @param out the ring that this side writes
   * @param incoming the ring that this side reads
   * @param offer sends the address to the peer, which calls {@link LargeMessageArea.attach}
   */
  constructor(out: SpscByteRing, incoming: SpscByteRing, offer: (address: SegmentAddress) => void) {
    this.#out = out;
    this.#in = incoming;
    this.#offer = offer;
  }

  /**
   * Prepares for a message of `size` bytes that is written next. A large message goes into the
   * large area if there is one. After several large messages, this side creates the area.
   */
  announce(size: number): void {
    if (size < LARGE_MESSAGE_BYTES || this.#isClosed) return;
    if (
      !this.#out.hasLargeArea &&
      ++this.#largeMessageCount > OFFER_AFTER_LARGE_MESSAGES &&
      largeAreaCount < MAX_LARGE_AREAS
    )
      this.#create();
    this.#out.useLargeArea();
  }

  /**
   * Attaches the area that the peer offers. If that fails, large messages go through the small
   * area.
   */
  attach(address: SegmentAddress): void {
    // An area in use is never replaced, and nothing is attached after `close()`: it would leak.
    if (this.#isClosed || this.#in.hasLargeArea) return;
    try {
      const memory = attachSegment(address, LARGE_AREA_BYTES);
      this.#segments.push(memory);
      this.#in.attachLargeArea(new Uint8Array(memory.buffer));
    } catch {} // no address space is left, or the peer has removed the memory
  }

  /** Releases the memory. Nothing is read or written afterwards. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#out.hasLargeArea) largeAreaCount -= 1;
    for (const memory of this.#segments) memory.close();
  }

  #create(): void {
    this.#largeMessageCount = Number.NEGATIVE_INFINITY; // this is the only attempt, even if it fails
    try {
      const memory = SharedSegment.create(LARGE_AREA_BYTES);
      this.#segments.push(memory);
      this.#out.offerLargeArea(new Uint8Array(memory.buffer));
      largeAreaCount += 1;
      this.#offer(memory.address());
    } catch {} // no shared memory is left
  }
}

/**
 * Attaches shared memory that the peer has created.
 *
 * @throws {ProcessError | RangeError} if it cannot be attached, or has another size
 */
export function attachSegment(address: SegmentAddress, size: number): SharedSegment {
  const memory = SharedSegment.attach(address);
  if (memory.size === size) return memory;
  const message = `The peer offered shared memory of ${memory.size} bytes for a channel: expected ${size}`;
  memory.close();
  throw new RangeError(message);
}
