import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FRAME_MAGIC, type Frame, HAS_MODULES } from "../src/channel/frame.ts";
import { FrameReader } from "../src/channel/frame-reader.ts";
import { ProtocolError } from "../src/errors.ts";

interface Message {
  kind: number;
  body: Uint8Array;
  parts: Uint8Array[];
  modules: string[];
}

/** A frame as the header of frame.ts describes it, written without the code under test. */
function frameOf({ kind, body, parts, modules }: Message): Uint8Array {
  const list = modules.length === 0 ? parts : [...parts, new TextEncoder().encode(JSON.stringify(modules))];
  const header = new DataView(new ArrayBuffer(8));
  header.setUint32(0, body.length, true);
  header.setUint8(4, kind);
  header.setUint8(5, modules.length === 0 ? FRAME_MAGIC : FRAME_MAGIC | HAS_MODULES);
  header.setUint16(6, list.length, true);
  const table = new DataView(new ArrayBuffer(8 * list.length));
  for (const [i, part] of list.entries()) table.setBigUint64(i * 8, BigInt(part.length), true);
  return concat([new Uint8Array(header.buffer), body, new Uint8Array(table.buffer), ...list]);
}

function concat(pieces: Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

function contentOf(frame: Frame): Message {
  return {
    kind: frame.kind,
    body: frame.bytes.slice(frame.start, frame.end),
    parts: [...frame.parts],
    modules: [...frame.modules],
  };
}

const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((array) => Uint8Array.from(array));
const message: fc.Arbitrary<Message> = fc.record({
  kind: fc.integer({ min: 0, max: 255 }),
  body: bytes(300),
  parts: fc.oneof(
    { weight: 3, arbitrary: fc.constant<Uint8Array[]>([]) },
    fc.array(bytes(100), { maxLength: 3 }),
  ) as fc.Arbitrary<Uint8Array[]>,
  modules: fc.oneof(
    { weight: 3, arbitrary: fc.constant<string[]>([]) },
    fc.array(fc.string({ maxLength: 10 }), { maxLength: 2 }),
  ) as fc.Arbitrary<string[]>,
});

describe("FrameReader", () => {
  test("a reader emits every message, however the stream is cut", () => {
    fc.assert(
      fc.property(
        fc.array(message, { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 }),
        (messages, cuts) => {
          const stream = concat(messages.map(frameOf));
          const seen: Message[] = [];
          const reader = new FrameReader((frame) => seen.push(contentOf(frame)));
          for (let at = 0, i = 0; at < stream.length; i++) {
            const size = cuts[i % cuts.length] as number;
            reader.feed(stream.slice(at, at + size));
            at += size;
          }
          expect(seen).toEqual(messages);
          expect(reader.isMidFrame).toBe(false);
        },
      ),
      { numRuns: 500 },
    );
  });

  test("isMidFrame reports that the stream ended inside a message", () => {
    const stream = frameOf({ kind: 1, body: new Uint8Array(50), parts: [new Uint8Array(20)], modules: [] });
    for (let end = 1; end < stream.length; end++) {
      const reader = new FrameReader(() => {});
      reader.feed(stream.slice(0, end));
      expect(reader.isMidFrame).toBe(true);
    }
  });

  test("a reader refuses noise and too long messages before it allocates memory for them", () => {
    const emitted: Frame[] = [];
    const feed = (stream: Uint8Array, limit?: number) =>
      new FrameReader((frame) => emitted.push(frame), limit).feed(stream);
    expect(() => feed(new TextEncoder().encode("GET / HTTP/1.1\r\n"))).toThrow(ProtocolError);
    expect(() => feed(Uint8Array.from([255, 255, 255, 255, 1, FRAME_MAGIC, 0, 0]))).toThrow(
      "at most 2147483648 are accepted",
    );
    expect(() => feed(Uint8Array.from([101, 0, 0, 0, 1, FRAME_MAGIC, 0, 0]), 100)).toThrow("a message of 101 bytes");
    expect(() => feed(Uint8Array.from([0, 0, 0, 0, 1, FRAME_MAGIC, 255, 255]), 100)).toThrow("too many parts");
    // The length of this part alone exceeds the limit.
    const table = new Uint8Array(8).fill(255);
    expect(() => feed(concat([Uint8Array.from([0, 0, 0, 0, 1, FRAME_MAGIC, 1, 0]), table]))).toThrow(ProtocolError);
    // The list of modules is not JSON.
    const malformed = frameOf({ kind: 1, body: new Uint8Array(0), parts: [], modules: ["x"] });
    malformed[malformed.length - 1] = 65;
    expect(() => feed(malformed)).toThrow("list of modules");
    expect(emitted).toEqual([]);
  });

  test("a reader throws nothing but ProtocolError, whatever bytes arrive", () => {
    let state = 42;
    const random = (n: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state % n;
    };
    let refused = 0;
    for (let round = 0; round < 100_000; round++) {
      const stream = frameOf({
        kind: random(256),
        body: new Uint8Array(random(40)),
        parts: random(4) === 0 ? [new Uint8Array(random(20))] : [],
        modules: [],
      });
      for (let n = random(3); n >= 0; n--) stream[random(stream.length)] = random(256);
      const reader = new FrameReader(() => {}, 4096);
      try {
        reader.feed(stream.slice(0, 1 + random(stream.length)));
        reader.feed(stream);
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        refused += 1;
      }
    }
    expect(refused).toBeGreaterThan(1000);
  });
});
