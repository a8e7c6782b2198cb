/** More memory for the large messages of a stream, see "Two areas" in `ring.ts`: who writes them offers it to the other side. */
import { type SegmentAddress, SharedSegment } from "../shm/shared-memory-segment.ts";
import { LARGE_AREA_BYTES, type SpscByteRing } from "./spsc-ring.ts";

/** How many bytes make a message large. */
const LARGE_MESSAGE_BYTES = 512 * 1024;
/** So many large ones have been written before there is room for more. */
const OFFER_AFTER_COUNT = 3;
/** So many streams of this process have some for what they write. */
const MAX_LARGE_AREAS = 32;
let largeAreaCount = 0;

/** The memory of one stream, both ways. */
export class LargeMessageArea {
  readonly #out: SpscByteRing;
  readonly #in: SpscByteRing;
  readonly #offer: (address: SegmentAddress) => void;
  #largeMessageCount = 0;
  readonly #segments: SharedSegment[] = [];
  #isClosed = false;

  /**
   * @param out the ring that is written
   * @param into the ring that is read
   * @param offer tells the other side, which is to call {@link LargeMessageArea.attach}
   */
  constructor(out: SpscByteRing, into: SpscByteRing, offer: (address: SegmentAddress) => void) {
    this.#out = out;
    this.#in = into;
    this.#offer = offer;
  }

  /** So much is written next, all of one message. */
  announce(size: number): void {
    if (size < LARGE_MESSAGE_BYTES || this.#isClosed) return;
    if (!this.#out.hasLargeArea && ++this.#largeMessageCount > OFFER_AFTER_COUNT && largeAreaCount < MAX_LARGE_AREAS)
      this.#create();
    this.#out.useLargeArea();
  }

  /** Takes what the other side offers; without it, large messages go as all others do. */
  attach(address: SegmentAddress): void {
    // What is in use is not replaced, and nothing is opened that nobody would close.
    if (this.#isClosed || this.#in.hasLargeArea) return;
    try {
      const memory = attachSegment(address, LARGE_AREA_BYTES);
      this.#segments.push(memory);
      this.#in.attachLargeArea(new Uint8Array(memory.buffer));
    } catch {} // there is no room for it here, or it is gone
  }

  /** Nothing is written or read any more. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#out.hasLargeArea) largeAreaCount -= 1;
    for (const memory of this.#segments) memory.close();
  }

  #create(): void {
    this.#largeMessageCount = Number.NEGATIVE_INFINITY; // not again, whatever becomes of it
    try {
      const memory = SharedSegment.create(LARGE_AREA_BYTES);
      this.#segments.push(memory);
      this.#out.offerLargeArea(new Uint8Array(memory.buffer));
      largeAreaCount += 1;
      this.#offer(memory.address());
    } catch {} // the system has none left
  }
}

/** Memory that another process has made. @throws {ProcessError | RangeError} if it cannot be reached, or has another size */
export function attachSegment(address: SegmentAddress, size: number): SharedSegment {
  const memory = SharedSegment.attach(address);
  if (memory.size === size) return memory;
  memory.close();
  throw new RangeError("The memory that was offered for a channel has another size");
}
