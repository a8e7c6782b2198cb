// What is written into a ring comes out of it, whole and in order, whichever of its two areas it goes through.
import fc from "fast-check";
import { expect, test } from "vitest";
import { Wide } from "../src/channel/large-message-area.ts";
import { ByteRing, WIDE } from "../src/channel/spsc-ring.ts";
import { Memory, missingMemory } from "../src/shm/shared-memory-segment.ts";

const SMALL = 1024;
const BYTES_AT = 4096;
const LARGEST = 3 * SMALL;

const area = new Uint8Array(WIDE);

/** Both ends of a ring, in one process. */
class Both {
  readonly memory: Memory = Memory.local(BYTES_AT + SMALL);
  readonly writer = new ByteRing(this.memory, 0, BYTES_AT, SMALL);
  readonly reader = new ByteRing(this.memory, 0, BYTES_AT, SMALL);
  written = 0;
  read = 0;

  /** The next bytes of the stream: each tells its place. */
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
    what: fc.constantFrom("put", "put", "draft", "write", "widen", "read", "read", "readInto", "offer", "take"),
    size: fc.integer({ min: 1, max: LARGEST }),
  }),
  { maxLength: 200 },
);

test("bytes keep their order through both areas, and none is lost", () => {
  fc.assert(
    fc.property(steps, fc.nat(), (list, start) => {
      const both = new Both();
      // The counters may be anywhere, also near where they begin again.
      new Int32Array(both.memory.buffer).fill(start | 0, 0, 1).fill(start | 0, 16, 17);
      for (const { what, size } of list) {
        const { writer, reader } = both;
        if (what === "put") {
          const bytes = both.next(size % 64);
          if (writer.put(bytes, bytes.length)) both.written += bytes.length;
        } else if (what === "draft") {
          const bytes = both.next(size % 256);
          if (draft(writer, size % 192, bytes)) both.written += bytes.length;
        } else if (what === "write") both.written += writer.write(both.next(size));
        else if (what === "widen") writer.widen();
        else if (what === "offer") writer.offerWide(area);
        else if (what === "take" && writer.hasWide && !reader.hasWide) reader.takeWide(area);
        else if (what === "read") both.check(reader.read(size));
        else if (what === "readInto") {
          const piece = new Uint8Array(size);
          both.check(piece.subarray(0, reader.readInto(piece)));
        }
        expect(reader.available).toBe(both.written - both.read);
        if (reader.available === 0) expect([writer.isHalfEmpty, reader.isHalfEmpty]).toEqual([true, true]);
        expect(writer.isHalfEmpty).toBe(reader.isHalfEmpty);
      }
      while (both.read < both.written) both.check(both.reader.read(LARGEST));
    }),
    { numRuns: 2000 },
  );
});

/** Writes in place, where there is room for so many bytes, which may turn out to be more; whether that was published. */
function draft(writer: ByteRing, wanted: number, bytes: Uint8Array): boolean {
  const place = writer.draft(wanted);
  if (place === undefined) return false;
  const room = place.limit - place.position;
  expect(room).toBeGreaterThanOrEqual(wanted);
  place.ensure(bytes.length);
  place.bytes.set(bytes, place.position);
  place.position += bytes.length;
  const isPublished = writer.publish();
  expect(isPublished).toBe(bytes.length <= room);
  return isPublished;
}

test("a large message has room while the reader has not begun, once the reader has the memory; small ones go back", () => {
  const { writer, reader } = new Both();
  const large = new Uint8Array(64 * SMALL).fill(7);
  writer.offerWide(area);
  writer.widen();
  expect(writer.write(large)).toBe(SMALL); // the reader has not taken it
  expect(reader.read(SMALL)).toHaveLength(SMALL);
  reader.takeWide(area);
  writer.widen();
  expect(writer.write(large)).toBe(large.length);
  expect(reader.readInto(new Uint8Array(large.length))).toBe(large.length);
  const text = new TextEncoder().encode("small");
  expect(writer.put(text, text.length)).toBe(true);
  expect(writer.write(large)).toBe(SMALL - text.length); // in the small area again
  expect(new TextDecoder().decode(reader.read(text.length))).toBe("small");
});

test("the wide area takes as much as it holds, whatever is left to be read in the small one", () => {
  const { writer, reader } = new Both();
  const [small, large] = [new Uint8Array(SMALL).fill(1), new Uint8Array(WIDE + 1).fill(2)];
  writer.offerWide(area);
  reader.takeWide(area);
  expect(writer.write(small)).toBe(SMALL);
  writer.widen();
  expect([writer.write(large), writer.write(large), writer.put(small, 1)]).toEqual([WIDE, 0, false]);
  expect(reader.available).toBe(SMALL + WIDE);
  expect(reader.read(SMALL / 2)).toEqual(small.subarray(SMALL / 2));
  expect(writer.write(large)).toBe(0);
  const piece = new Uint8Array(SMALL + 10);
  expect(reader.readInto(piece)).toBe(piece.length);
  expect(piece.indexOf(2)).toBe(SMALL / 2);
  expect(writer.write(large)).toBe(SMALL / 2 + 10);
});

test("a turn to memory that the reader does not have is refused", () => {
  const { writer, reader, memory } = new Both();
  writer.offerWide(area);
  new Int32Array(memory.buffer)[112] = 1;
  writer.widen();
  writer.write(new Uint8Array(8));
  expect(() => reader.read(8)).toThrow("spoiled");
});

test.skipIf(missingMemory() !== undefined)("memory that is offered twice, or after the end, is not opened", () => {
  const { writer, reader } = new Both();
  const wide = new Wide(writer, reader, () => {});
  const [first, second, late] = [0, 1, 2].map(() => Memory.create(WIDE)) as [Memory, Memory, Memory];
  wide.take(first.address());
  wide.take(second.address());
  // Who had opened it too would have to close it as well.
  second.close();
  expect([second.closed, reader.hasWide]).toEqual([true, true]);
  wide.close();
  wide.take(late.address());
  for (const memory of [first, late]) memory.close();
  expect([first.closed, late.closed]).toEqual([true, true]);
});
