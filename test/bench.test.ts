/** The benchmark page: how it summarizes rounds. */
import { expect, test } from "vitest";
import { plot, report, spread, summaries } from "../scripts/bench-page.mjs";

const row = (who: string, values: (number | null)[], more = {}) => ({
  case: "Calls",
  who,
  unit: "calls/s",
  values,
  machine: "this one",
  ...more,
});

test("spread() takes the mean of the middle two of an even number of rounds", () => {
  expect(spread([4, 1, 2, 3])).toEqual({ rounds: 4, least: 1, median: 2.5, most: 4 });
  expect(spread([3, 1, 2]).median).toBe(2);
});

test("a contender without values is shown with its reason", () => {
  const cases = summaries([row("multiproc", [20, 10, 30]), row("peer", [null], { note: "hung" }), row("other", [10])]);
  expect(report(cases)).toContain(
    "| multiproc | 20.0 | 10.0 – 30.0 |  |\n| other | 10.0 | 10.0 – 10.0 | 2.00 × |\n| peer | hung |",
  );
  expect(plot(cases[0] as (typeof cases)[0])).toContain(">hung</text>");
});

test("each case names its machine when there are several", () => {
  const cases = summaries([
    row("multiproc", [1]),
    { ...row("multiproc", [2], { machine: "another" }), case: "Starts" },
  ]);
  expect(report(cases)).toMatch(/1\. this one\n2\. another\n[\s\S]*## Starts[\s\S]*On machine 2\./);
});
