/** The build of a tree that is built already. */
import { spawnSync } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import { expect, test } from "vitest";

test("a build leaves unchanged files alone, since processes may be starting from them", () => {
  const before = written();
  expect(before).not.toStrictEqual({});
  const build = spawnSync(process.execPath, ["scripts/setup.mjs"], { encoding: "utf8" });
  expect(build.status, build.stderr).toBe(0);
  expect(written()).toStrictEqual(before);
});

/** Returns each built file with its modification time. */
function written(): Record<string, number> {
  const folders = readdirSync("packages").map((name) => `packages/${name}/dist`);
  const files = folders.flatMap((folder) => readdirSync(folder).map((name) => `${folder}/${name}`));
  return Object.fromEntries(files.map((file) => [file, statSync(file).mtimeMs]));
}
