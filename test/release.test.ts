/** `npm run release` in a copy of the repository. */
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { expect, onTestFinished, test } from "vitest";

test("npm run release turns changesets into versions and change logs, and keeps all manifests in step", () => {
  const copy = mkdtempSync(join(tmpdir(), "multiproc-release-"));
  onTestFinished(() => rmSync(copy, { recursive: true, force: true }));
  const listed = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], { encoding: "utf8" });
  for (const file of listed.split("\n").filter((name) => name && existsSync(name))) {
    mkdirSync(dirname(join(copy, file)), { recursive: true });
    cpSync(file, join(copy, file));
  }
  symlinkSync(resolve("node_modules"), join(copy, "node_modules"));
  const notes = readdirSync(".changeset").filter((name) => name.endsWith(".md"));
  const before = versionIn(".");

  const { scripts } = JSON.parse(readFileSync("package.json", "utf8")) as { scripts: Record<string, string> };
  // Updating the lock file would ask the registry for every dependency.
  const steps = scripts.release?.replace(/ && npm install --package-lock-only$/, "") ?? "";
  expect(steps).not.toBe(scripts.release);
  run(copy, "npm", ["pkg", "set", `scripts.release=${steps}`]);
  run(copy, "npm", ["run", "release"]);

  if (notes.length > 0) expect(versionIn(copy)).not.toBe(before);
  if (notes.length > 0)
    expect(readFileSync(join(copy, "packages/multiproc/CHANGELOG.md"), "utf8")).toContain(versionIn(copy));
  expect(readdirSync(join(copy, ".changeset")).filter((name) => name.endsWith(".md"))).toStrictEqual([]);
  run(copy, process.execPath, ["scripts/manifests.mjs", "--check"]);
}, 120_000);

function versionIn(folder: string): string {
  const { version } = JSON.parse(readFileSync(join(folder, "packages/multiproc/package.json"), "utf8")) as {
    version: string;
  };
  return version;
}

function run(cwd: string, command: string, args: string[]): void {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd,
    encoding: "utf8",
    env: { ...process.env, CI: "1" },
  });
  expect(status, stdout + stderr).toBe(0);
}
