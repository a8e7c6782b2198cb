/** The packed packages on every host: the bounded part of `npm run test:hosts`. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";

interface Row {
  id: string;
  version: string;
  capabilities: { startMethods: string; forkserver: string; typescript: boolean; locks: string };
  checks: Record<string, string>;
  counts?: { passed: number; failed: number };
}

const NODES = ["node-20", "node-22", "node-24", "node-26"];
const LIMIT = 5 * 60_000;
// Without the registry there are no other hosts to test. CI reaches it.
const reason = process.env.CI ? "" : " (skipped: it installs every host from npm; CI=1 or npm run test:hosts runs it)";

describe.skipIf(reason)(`the packed packages${reason}`, () => {
  let rows: Row[] = [];

  beforeAll(() => {
    const run = spawnSync(
      process.execPath,
      ["scripts/hosts.mjs", "--suites=node-26", "packages/queue/test/queue.test"],
      {
        encoding: "utf8",
      },
    );
    console.log(run.stdout);
    expect(run.status, run.stderr).toBe(0);
    rows = JSON.parse(readFileSync(".cache/test/hosts.json", "utf8")) as Row[];
  }, LIMIT);

  test.each([...NODES, "deno-2.5", "deno"])("the parts of the library work on %s", (id) => {
    const row = rows.find((each) => each.id === id);
    expect(Object.keys(row?.checks ?? {})).toEqual(
      expect.arrayContaining(["Pool", "ThreadPool", "Lock", "SharedArray"]),
    );
    for (const outcome of Object.values(row?.checks ?? {})) expect(outcome).toBe("works");
    if (process.platform === "linux") expect(row?.capabilities.locks).toBe("shared-memory");
  });

  test.each(NODES)("%s has every start method that it supports", (id) => {
    const expected = process.platform === "linux" ? "spawn, forkserver, fork" : "spawn, forkserver";
    expect(rows.find((each) => each.id === id)?.capabilities.startMethods).toBe(expected);
  });

  test("the packed packages pass a contract suite on the newest Node", () => {
    const { passed = 0, failed = 1 } = rows.find(({ id }) => id === "node-26")?.counts ?? {};
    expect(failed).toBe(0);
    expect(passed).toBeGreaterThan(10);
  });
});
