// A ring delivers all bytes in order, through both of its areas.
import fc from "fast-check";
import { expect, test } from "vitest";
import { LargeMessageArea } from "../src/channel/large-message-area.ts";
import { LARGE_AREA_BYTES, SpscByteRing } from "../src/channel/spsc-ring.ts";
import { SharedSegment, whyNoSharedMemory } from "../src/shm/shared-memory-segment.ts";

const SMALL_AREA_BYTES = 1024;
const DATA_OFFSET = 4096;
const MAX_CHUNK_BYTES = 3 * SMALL_AREA_BYTES;

const largeArea = new Uint8Array(LARGE_AREA_BYTES);

/** The writer and the reader of one ring, in one process. */
class RingPair {
  readonly memory: SharedSegment = SharedSegment.processLocal(DATA_OFFSET + SMALL_AREA_BYTES);
  readonly writer = new SpscByteRing(this.memory, 0, DATA_OFFSET, SMALL_AREA_BYTES);
  readonly reader = new SpscByteRing(this.memory, 0, DATA_OFFSET, SMALL_AREA_BYTES);
  written = 0;
  read = 0;

  /** The next bytes of the stream. The value of each follows from its position. */
  next(size: number): Uint8Array {
    return Uint8Array.from({ length: size }, (_, i) => (this.written + i) % 251);
  }

  check(bytes: Uint8Array): void {
    const wrong = bytes.findIndex((byte, i) => byte !== (this.read + i) % 251);
    expect(wrong).toBe(-1);
    this.read += bytes.length;
  }
}

const steps = fc.array(
  fc.record({
    step: fc.constantFrom(
      "tryWrite",
      "tryWrite",
      "reserve",
      "write",
      "useLargeArea",
      "read",
      "read",
      "readInto",
      "offerLargeArea",
      "attachLargeArea",
    ),
    size: fc.integer({ min: 1, max: MAX_CHUNK_BYTES }),
  }),
  { maxLength: 200 },
);

test("the ring keeps the order of bytes through both areas, and loses none", () => {
  fc.assert(
    fc.property(steps, fc.nat(), (list, start) => {
      const pair = new RingPair();
      // The counters start anywhere, also near their wrap-around.
      new Int32Array(pair.memory.buffer).fill(start | 0, 0, 1).fill(start | 0, 16, 17);
      for (const { step, size } of list) {
        const { writer, reader } = pair;
        if (step === "tryWrite") {
          const bytes = pair.next(size % 64);
          if (writer.tryWrite(bytes, bytes.length)) pair.written += bytes.length;
        } else if (step === "reserve") {
          const bytes = pair.next(size % 256);
          if (writeReserved(writer, size % 192, bytes)) pair.written += bytes.length;
        } else if (step === "write") pair.written += writer.write(pair.next(size));
        else if (step === "useLargeArea") writer.useLargeArea();
        else if (step === "offerLargeArea") writer.offerLargeArea(largeArea);
        else if (step === "attachLargeArea" && writer.hasLargeArea && !reader.hasLargeArea)
          reader.attachLargeArea(largeArea);
        else if (step === "read") pair.check(reader.read(size));
        else if (step === "readInto") {
          const piece = new Uint8Array(size);
          pair.check(piece.subarray(0, reader.readInto(piece)));
        }
        expect(reader.available).toBe(pair.written - pair.read);
        if (reader.available === 0) expect([writer.isHalfEmpty, reader.isHalfEmpty]).toEqual([true, true]);
        expect(writer.isHalfEmpty).toBe(reader.isHalfEmpty);
      }
      while (pair.read < pair.written) pair.check(pair.reader.read(MAX_CHUNK_BYTES));
    }),
    { numRuns: 2000 },
  );
});

/**
 * Writes `bytes` into a reservation of `wanted` bytes, which may be too small; returns whether that
 * was committed.
 */
function writeReserved(writer: SpscByteRing, wanted: number, bytes: Uint8Array): boolean {
  const reservation = writer.reserve(wanted);
  if (reservation === undefined) return false;
  const room = reservation.limit - reservation.position;
  expect(room).toBeGreaterThanOrEqual(wanted);
  reservation.ensure(bytes.length);
  reservation.bytes.set(bytes, reservation.position);
  reservation.position += bytes.length;
  const isCommitted = writer.commit();
  expect(isCommitted).toBe(bytes.length <= room);
  return isCommitted;
}

test("a large message fits before the reader starts, once the reader has attached the large area, and a small one switches back", () => {
  const { writer, reader } = new RingPair();
  const large = new Uint8Array(64 * SMALL_AREA_BYTES).fill(7);
  writer.offerLargeArea(largeArea);
  writer.useLargeArea();
  expect(writer.write(large)).toBe(SMALL_AREA_BYTES); // the reader has not attached the area
  expect(reader.read(SMALL_AREA_BYTES)).toHaveLength(SMALL_AREA_BYTES);
  reader.attachLargeArea(largeArea);
  writer.useLargeArea();
  expect(writer.write(large)).toBe(large.length);
  expect(reader.readInto(new Uint8Array(large.length))).toBe(large.length);
  const text = new TextEncoder().encode("small");
  expect(writer.tryWrite(text, text.length)).toBe(true);
  expect(writer.write(large)).toBe(SMALL_AREA_BYTES - text.length); // the small area is in use again
  expect(new TextDecoder().decode(reader.read(text.length))).toBe("small");
});

test("the large area can be filled while the small one holds unread bytes", () => {
  const { writer, reader } = new RingPair();
  const [small, large] = [new Uint8Array(SMALL_AREA_BYTES).fill(1), new Uint8Array(LARGE_AREA_BYTES + 1).fill(2)];
  writer.offerLargeArea(largeArea);
  reader.attachLargeArea(largeArea);
  expect(writer.write(small)).toBe(SMALL_AREA_BYTES);
  writer.useLargeArea();
  expect([writer.write(large), writer.write(large), writer.tryWrite(small, 1)]).toEqual([LARGE_AREA_BYTES, 0, false]);
  expect(reader.available).toBe(SMALL_AREA_BYTES + LARGE_AREA_BYTES);
  expect(reader.read(SMALL_AREA_BYTES / 2)).toEqual(small.subarray(SMALL_AREA_BYTES / 2));
  expect(writer.write(large)).toBe(0);
  const piece = new Uint8Array(SMALL_AREA_BYTES + 10);
  expect(reader.readInto(piece)).toBe(piece.length);
  expect(piece.indexOf(2)).toBe(SMALL_AREA_BYTES / 2);
  expect(writer.write(large)).toBe(SMALL_AREA_BYTES / 2 + 10);
});

test("the reader refuses a switch to an area that it has not attached", () => {
  const { writer, reader, memory } = new RingPair();
  writer.offerLargeArea(largeArea);
  new Int32Array(memory.buffer)[112] = 1;
  writer.useLargeArea();
  writer.write(new Uint8Array(8));
  expect(() => reader.read(8)).toThrow("corrupted");
});

test.skipIf(whyNoSharedMemory() !== undefined)("a second offer, or one after the end, is not attached", () => {
  const { writer, reader } = new RingPair();
  const largeArea = new LargeMessageArea(writer, reader, () => {});
  const [first, second, late] = [0, 1, 2].map(() => SharedSegment.create(LARGE_AREA_BYTES)) as [
    SharedSegment,
    SharedSegment,
    SharedSegment,
  ];
  largeArea.attach(first.address());
  largeArea.attach(second.address());
  // If the reader had attached it too, this would not close the memory.
  second.close();
  expect([second.closed, reader.hasLargeArea]).toEqual([true, true]);
  largeArea.close();
  largeArea.attach(late.address());
  for (const memory of [first, late]) memory.close();
  expect([first.closed, late.closed]).toEqual([true, true]);
});
