import { encodeMessage, whyNoSharedMemory } from "@multiproc/core/internal";
import { until } from "@multiproc/testing";
import { describe, expect, test } from "vitest";
import { MpmcRing } from "../src/ring/mpmc-ring.ts";
import { RingClient } from "../src/ring/ring-client.ts";

const message = encodeMessage("x".repeat(10_000));

/**
 * Creates a full ring and its client, and records when the client asks to close the ring.
 *
 * @param isTouched whether a consumer has taken an item before
 */
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

describe.skipIf(whyNoSharedMemory() !== undefined)("RingClient: a put that finds no space", () => {
  test("a put closes the ring after 50 ms if no consumer has ever taken an item", async () => {
    const found = fullRing(false);
    await found.client.putBatched(message);
    expect(found.closeRequestedAfterMs).toBeGreaterThanOrEqual(50);
  });

  test("a put closes the ring after 500 ms if a consumer has taken items before", async () => {
    const found = fullRing(true);
    await found.client.putBatched(message);
    expect(found.closeRequestedAfterMs).toBeGreaterThanOrEqual(500);
  });

  test("a put closes the ring after 50 ms again if consumers are slow all the time", async () => {
    // On a busy machine any wait may be long, so the test repeats. The long timeout never ends
    // before 500 ms.
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
