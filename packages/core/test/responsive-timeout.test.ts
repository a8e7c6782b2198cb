import { responsiveTimeout } from "@multiproc/core/internal";
import { until } from "@multiproc/testing";
import { expect, test } from "vitest";

test("patience ends when its span is over, unless it is called off", async () => {
  const startedAt = performance.now();
  const ends: string[] = [];
  responsiveTimeout(() => ends.push("first"), 80);
  const cancel = responsiveTimeout(() => ends.push("never"), 40);
  cancel();
  await until(() => ends.length > 0);
  expect(ends).toEqual(["first"]);
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(79);
});

test("patience does not count the time in which this thread heard nothing", async () => {
  let isOver = false;
  responsiveTimeout(() => (isOver = true), 400);
  await new Promise((resolve) => setTimeout(resolve, 10));
  const end = performance.now() + 600;
  while (performance.now() < end);
  // What had arrived meanwhile is read in these turns.
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setTimeout(resolve, 1));
  expect(isOver).toBe(false);
  await until(() => isOver);
});
