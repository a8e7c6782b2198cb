/** More memory for the large messages of a stream, see "Two areas" in `ring.ts`: who writes them offers it to the other side. */
import { Memory, type MemoryAddress } from "../shm/shared-memory-segment.ts";
import { type ByteRing, WIDE } from "./spsc-ring.ts";

/** How many bytes make a message large. */
const LARGE = 512 * 1024;
/** So many large ones have been written before there is room for more. */
const BEFORE = 3;
/** So many streams of this process have some for what they write. */
const MOST = 32;
let count = 0;

/** The memory of one stream, both ways. */
export class Wide {
  readonly #out: ByteRing;
  readonly #in: ByteRing;
  readonly #offer: (address: MemoryAddress) => void;
  #before = 0;
  readonly #memories: Memory[] = [];
  #isClosed = false;

  /**
   * @param out the ring that is written
   * @param into the ring that is read
   * @param offer tells the other side, which is to call {@link Wide.take}
   */
  constructor(out: ByteRing, into: ByteRing, offer: (address: MemoryAddress) => void) {
    this.#out = out;
    this.#in = into;
    this.#offer = offer;
  }

  /** So much is written next, all of one message. */
  expect(size: number): void {
    if (size < LARGE || this.#isClosed) return;
    if (!this.#out.hasWide && ++this.#before > BEFORE && count < MOST) this.#make();
    this.#out.widen();
  }

  /** Takes what the other side offers; without it, large messages go as all others do. */
  take(address: MemoryAddress): void {
    // What is in use is not replaced, and nothing is opened that nobody would close.
    if (this.#isClosed || this.#in.hasWide) return;
    try {
      const memory = attachMemory(address, WIDE);
      this.#memories.push(memory);
      this.#in.takeWide(new Uint8Array(memory.buffer));
    } catch {} // there is no room for it here, or it is gone
  }

  /** Nothing is written or read any more. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#out.hasWide) count -= 1;
    for (const memory of this.#memories) memory.close();
  }

  #make(): void {
    this.#before = Number.NEGATIVE_INFINITY; // not again, whatever becomes of it
    try {
      const memory = Memory.create(WIDE);
      this.#memories.push(memory);
      this.#out.offerWide(new Uint8Array(memory.buffer));
      count += 1;
      this.#offer(memory.address());
    } catch {} // the system has none left
  }
}

/** Memory that another process has made. @throws {ProcessError | RangeError} if it cannot be reached, or has another size */
export function attachMemory(address: MemoryAddress, size: number): Memory {
  const memory = Memory.attach(address);
  if (memory.size === size) return memory;
  memory.close();
  throw new RangeError("The memory that was offered for a channel has another size");
}
