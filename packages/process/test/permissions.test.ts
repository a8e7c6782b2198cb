import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fixture, host, noChildLeft, runProgram } from "@multiproc/testing";
import { afterEach, describe, expect, onTestFinished, test } from "vitest";

afterEach(noChildLeft);

async function permissionReports(execArgv: string[]): Promise<unknown[]> {
  const program = runProgram(fixture(import.meta.url, "permissions.js"), [], { execArgv });
  await program.exited;
  expect(program.stderr).toBe("");
  return program.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

describe.skipIf(host !== "deno")("permissions of Deno children", () => {
  test("a child has at most the permissions of its parent", async () => {
    const repository = new URL("../../..", import.meta.url).pathname;
    const own = ["--allow-run", "--allow-net", "--allow-write", `--allow-read=/tmp,${repository}`];
    expect(await permissionReports(own)).toEqual([
      { granted: ["write", "net", "run"], here: "granted", above: "granted" },
      { granted: [], here: "granted", above: "prompt" }, // only the folder of its own module
      { granted: ["net"], here: "granted", above: "prompt" },
      { refused: expect.stringContaining('cannot be given permission "ffi" for all of it') },
      { refused: expect.stringContaining('cannot be given permission "sys" for "hostname"') },
      { refused: expect.stringContaining('permissions names "sound"') },
    ]);
  });

  test("a child of a parent with all permissions has all permissions", async () => {
    const [inherited, none] = await permissionReports(["--allow-all"]);
    expect(inherited).toEqual({
      granted: ["read", "write", "net", "env", "sys", "run", "ffi"],
      here: "granted",
      above: "granted",
    });
    expect(none).toMatchObject({ granted: [] });
  });

  test("a child needs no permission for the files of this library", async () => {
    const temp = fs.mkdtempSync(path.join(os.tmpdir(), "permissions-test-"));
    onTestFinished(() => fs.rmSync(temp, { recursive: true }));
    const execArgv = [
      "--allow-run",
      "--allow-net",
      `--allow-read=${temp}`,
      `--allow-write=${temp}`,
      "--allow-env=TMPDIR",
    ];
    const program = runProgram(fixture(import.meta.url, "reads-nothing.js"), [], { execArgv, env: { TMPDIR: temp } });
    await program.exited;
    expect(program.stderr).toBe("");
    expect(program.stdout).toBe("got 1,2\n0\n");
  });

  test("a child does not get permissions that its parent is denied", async () => {
    const [inherited] = (await permissionReports(["--allow-all", "--deny-env"])) as [{ granted: string[] }];
    expect(inherited.granted).not.toContain("env");
    const [partial] = (await permissionReports(["--allow-all", "--deny-read=/etc"])) as [{ granted: string[] }];
    expect(partial.granted).not.toContain("read");
  });
});
