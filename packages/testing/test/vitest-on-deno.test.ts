import { execFile } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { fixture, host } from "@multiproc/testing";
import { expect, test } from "vitest";

test.runIf(host === "deno")("the stand-in for vitest passes the tests of vitest's interface", async () => {
  const config = fileURLToPath(fixture(import.meta.url, "vitest-on-deno.json"));
  const tests = fileURLToPath(new URL("vitest-interface.test.ts", import.meta.url));
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["test", "-A", "--no-check", "--config", config, tests],
    { env: { ...process.env, NO_COLOR: "1" } },
  );
  expect(stdout).toMatch(/ok \| \d+ passed \| 0 failed/);
});
