import process from "node:process";
import { ProtocolError } from "@multiproc/core";
import type { Frame } from "@multiproc/core/internal";
import { describe, expect, test } from "vitest";
import { AuthenticationError } from "../src/errors.ts";
import { answerChallenge, deliverChallenge } from "../src/wire/auth.ts";
import { HandshakeStream } from "../src/wire/handshake-stream.ts";
import { WireReader } from "../src/wire/wire-reader.ts";

/** Frames per test. A million take some minutes. */
const FRAME_COUNT = Number(process.env.MULTIPROC_TEST_FRAMES ?? 30_000);

function randomly(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

/** Returns a message in the wire format of Python, with a short or a long header. */
function frameOf(body: Uint8Array, isLong: boolean): Uint8Array {
  const header = isLong ? 12 : 4;
  const frame = new Uint8Array(header + body.length);
  const view = new DataView(frame.buffer);
  view.setInt32(0, isLong ? -1 : body.length);
  if (isLong) view.setBigUint64(4, BigInt(body.length));
  frame.set(body, header);
  return frame;
}

function concat(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let offset = 0;
  for (const piece of pieces) {
    all.set(piece, offset);
    offset += piece.length;
  }
  return all;
}

/** Feeds a stream in pieces of random lengths. */
function feed(take: (chunk: Uint8Array) => void, stream: Uint8Array, random: (n: number) => number): void {
  for (let offset = 0; offset < stream.length; ) {
    const size = 1 + random(random(4) === 0 ? 5 : 400);
    take(stream.slice(offset, offset + size));
    offset += size;
  }
}

describe("the reader of Python's wire format", () => {
  test("emits every message, however the stream is split", () => {
    const random = randomly(1);
    for (let round = 0; round < FRAME_COUNT / 30; round++) {
      const bodies = Array.from({ length: 30 }, () =>
        new Uint8Array(random(3) === 0 ? random(1000) : random(6)).fill(random(256)),
      );
      const seen: Uint8Array[] = [];
      const reader = new WireReader(
        (frame: Frame) => seen.push(frame.parts[0] ?? frame.bytes.slice(frame.start, frame.end)),
        1000,
      );
      feed((chunk) => reader.feed(chunk), concat(bodies.map((body) => frameOf(body, random(5) === 0))), random);
      expect(reader.isMidMessage).toBe(false);
      expect(seen.length).toBe(bodies.length);
      for (const [i, body] of bodies.entries())
        if (!body.every((byte, offset) => byte === seen[i]?.[offset])) expect(seen[i]).toEqual(body);
    }
  });

  test("throws nothing but ProtocolError for malformed input, and emits no message over the limit", () => {
    const random = randomly(2);
    let refused = 0;
    for (let round = 0; round < FRAME_COUNT; round++) {
      const stream = frameOf(new Uint8Array(random(40)), random(3) === 0);
      for (let n = random(4); n > 0; n--) stream[random(Math.min(stream.length, 14))] = random(256);
      let longest = 0;
      const reader = new WireReader((frame) => (longest = Math.max(longest, frame.size)), 4096);
      try {
        feed((chunk) => reader.feed(chunk), concat([stream, stream]), random);
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        refused += 1;
      }
      expect(longest <= 4096).toBe(true);
    }
    expect(refused).toBeGreaterThan(FRAME_COUNT / 10);
  });
});

describe("the handshake", () => {
  /** Returns a handshake on a stream that delivers the script, and then ends. */
  function scripted(script: Uint8Array, random: (n: number) => number) {
    return new HandshakeStream({
      remote: "",
      start: (handlers) =>
        queueMicrotask(() => {
          feed((chunk) => handlers.data(chunk), script, random);
          handlers.end();
        }),
      write: () => 0,
      pending: 0,
      pause() {},
      resume() {},
      finish() {},
      destroy() {},
      ref() {},
      unref() {},
    });
  }

  test("rejects every peer without the key, and always settles", async () => {
    const random = randomly(3);
    const key = Uint8Array.of(1, 2, 3);
    const texts = ["#CHALLENGE#", "#WELCOME#", "#FAILURE#", "{sha256}", "{md5}", "{sha3_384}", "{", "}"];
    const piece = (): Uint8Array =>
      random(2) === 0
        ? new TextEncoder().encode(texts[random(texts.length)])
        : Uint8Array.from({ length: random(50) }, () => random(256));
    let refused = 0;
    for (let round = 0; round < FRAME_COUNT / 10; round++) {
      const script = concat(
        Array.from({ length: 1 + random(4) }, () => {
          const frame = frameOf(concat(Array.from({ length: random(4) }, piece)), random(10) === 0);
          if (random(4) === 0) frame[random(frame.length)] = random(256);
          return frame;
        }),
      );
      const handshake = scripted(script, random);
      const completion = random(2) === 0 ? deliverChallenge(handshake, key) : answerChallenge(handshake, key);
      const error = await completion.then(
        // A peer without the key can send a challenge and a welcome. That alone opens nothing.
        () => undefined,
        (error) => error,
      );
      if (error === undefined) continue;
      expect(error instanceof ProtocolError || error instanceof AuthenticationError).toBe(true);
      refused += 1;
    }
    expect(refused).toBeGreaterThan(FRAME_COUNT / 20);
  });
});
