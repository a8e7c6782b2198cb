import { responsiveTimeout } from "@multiproc/core/internal";
import { until } from "@multiproc/testing";
import { expect, test } from "vitest";

test("responsiveTimeout() calls back after its time, unless it is cancelled", async () => {
  const startedAt = performance.now();
  const ends: string[] = [];
  responsiveTimeout(() => ends.push("first"), 80);
  const cancel = responsiveTimeout(() => ends.push("never"), 40);
  cancel();
  await until(() => ends.length > 0);
  expect(ends).toEqual(["first"]);
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(79);
});

test("responsiveTimeout() does not count time in which this thread is blocked", async () => {
  let isOver = false;
  responsiveTimeout(() => (isOver = true), 400);
  await new Promise((resolve) => setTimeout(resolve, 10));
  const end = performance.now() + 600;
  while (performance.now() < end);
  // The event loop reads in these turns what arrived while the thread was blocked.
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setTimeout(resolve, 1));
  expect(isOver).toBe(false);
  await until(() => isOver);
});
