import { encodeMessage, missingMemory } from "@multiproc/core/internal";
import { until } from "@multiproc/testing";
import { describe, expect, test } from "vitest";
import { Ring } from "../src/ring/mpmc-ring.ts";
import { RingSide } from "../src/ring/ring-client.ts";

const message = encodeMessage("x".repeat(10_000));

/** A full ring, one more put that waits for room, and when the home was asked to keep the items, in milliseconds. */
function fullRing(isTouched: boolean) {
  const ring = Ring.create(0);
  const found = { ring, side: undefined as unknown as RingSide, left: 0 };
  const began = performance.now();
  const leaveRing = (): void => {
    found.left ||= performance.now() - began;
    ring.close();
  };
  const owner = { assertUsable() {}, enlarge() {}, waiting() {}, moved: async () => {} };
  found.side = new RingSide(ring, { ...owner, maxSize: 0, leaveRing });
  if (isTouched) {
    ring.put([message.frame]);
    ring.take();
  }
  while (ring.put([message.frame]) === "accepted");
  return found;
}

describe.skipIf(missingMemory() !== undefined)("RingSide: a put that finds no room", () => {
  test("has the home keep the items soon if nobody has ever taken any", async () => {
    const found = fullRing(false);
    await found.side.putSoon(message);
    expect(found.left).toBeGreaterThanOrEqual(50);
  });

  test("waits longer if somebody has, who may only be held up for a moment", async () => {
    const found = fullRing(true);
    await found.side.putSoon(message);
    expect(found.left).toBeGreaterThanOrEqual(500);
  });

  test("does so no longer if items are taken slowly all the time", async () => {
    // On a busy machine any wait may be long; a put that has the patience of others never waits less than 500 ms.
    await until(
      async () => {
        const { ring, side } = fullRing(true);
        for (let i = 0; i < 10; i++) {
          const putting = side.putSoon(message);
          await new Promise((resolve) => setTimeout(resolve, 60));
          ring.take();
          ring.putters.wake(1);
          await putting;
        }
        const began = performance.now();
        await side.putSoon(message);
        return ring.isClosed && performance.now() - began < 450;
      },
      { interval: 0, timeout: 25_000 },
    );
  });
});
