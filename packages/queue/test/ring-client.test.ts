import { encodeMessage, whyNoSharedMemory } from "@multiproc/core/internal";
import { until } from "@multiproc/testing";
import { describe, expect, test } from "vitest";
import { MpmcRing } from "../src/ring/mpmc-ring.ts";
import { RingClient } from "../src/ring/ring-client.ts";

const message = encodeMessage("x".repeat(10_000));

/** A full ring, one more put that waits for room, and when the home was asked to keep the items, in milliseconds. */
function fullRing(isTouched: boolean) {
  const ring = MpmcRing.create(0);
  const found = { ring, client: undefined as unknown as RingClient, closeRequestedAfterMs: 0 };
  const began = performance.now();
  const closeRing = (): void => {
    found.closeRequestedAfterMs ||= performance.now() - began;
    ring.close();
  };
  const context = { assertUsable() {}, addLargeArea() {}, waitersChanged() {}, putToBroker: async () => {} };
  found.client = new RingClient(ring, { ...context, maxSize: 0, closeRing });
  if (isTouched) {
    ring.put([message.frame]);
    ring.take();
  }
  while (ring.put([message.frame]) === "accepted");
  return found;
}

describe.skipIf(whyNoSharedMemory() !== undefined)("RingSide: a put that finds no room", () => {
  test("has the home keep the items soon if nobody has ever taken any", async () => {
    const found = fullRing(false);
    await found.client.putBatched(message);
    expect(found.closeRequestedAfterMs).toBeGreaterThanOrEqual(50);
  });

  test("waits longer if somebody has, who may only be held up for a moment", async () => {
    const found = fullRing(true);
    await found.client.putBatched(message);
    expect(found.closeRequestedAfterMs).toBeGreaterThanOrEqual(500);
  });

  test("does so no longer if items are taken slowly all the time", async () => {
    // On a busy machine any wait may be long; a put that has the patience of others never waits less than 500 ms.
    await until(
      async () => {
        const { ring, client } = fullRing(true);
        for (let i = 0; i < 10; i++) {
          const putting = client.putBatched(message);
          await new Promise((resolve) => setTimeout(resolve, 60));
          ring.take();
          ring.putters.wake(1);
          await putting;
        }
        const began = performance.now();
        await client.putBatched(message);
        return ring.isClosed && performance.now() - began < 450;
      },
      { interval: 0, timeout: 25_000 },
    );
  });
});
