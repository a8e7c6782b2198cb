/**
 * The packages as npm would publish them, and folders with them installed as users have them.
 *
 * npm run archives: packs them into archives/.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { isProgram } from "./run.mjs";
import { setup } from "./setup.mjs";

/** Returns the published packages as `{ folder, manifest }`. */
export function published() {
  return readdirSync("packages")
    .map((name) => ({ folder: `packages/${name}`, manifest: read(`packages/${name}/package.json`) }))
    .filter(({ manifest }) => !manifest.private);
}

/**
 * Packs all packages.
 *
 * @param {string} folder where the archives go
 * @returns {Map<string, { archive: string, size: number, unpackedSize: number, files: { path: string }[] }>}
 *   by package name
 */
export function pack(folder) {
  mkdirSync(folder, { recursive: true });
  const chosen = published().flatMap(({ manifest }) => ["--workspace", manifest.name]);
  const { stdout } = npm(["pack", "--json", ...chosen, "--pack-destination", folder], ".");
  // npm returns a list, and from version 12 on an object by name.
  return new Map(
    Object.values(JSON.parse(stdout)).map(({ name, filename, size, unpackedSize, files }) => [
      name,
      { archive: resolve(folder, filename.replace("@", "").replace("/", "-")), size, unpackedSize, files },
    ]),
  );
}

/**
 * Installs packed packages into a folder. Declared siblings come from their archives too; all other
 * dependencies come from the registry.
 *
 * @param {string} folder
 * @param {string[]} names what the folder's own package.json asks for
 * @param {ReturnType<typeof pack>} packed
 * @param {object} [more] fields of package.json
 */
export function install(folder, names, packed, more = {}) {
  mkdirSync(folder, { recursive: true });
  const at = (name) => (packed.has(name) ? `file:${packed.get(name)?.archive}` : "*");
  const siblings = [...packed.keys()].filter((name) => !names.includes(name));
  const dependencies = Object.fromEntries(names.map((name) => [name, at(name)]));
  const overrides = Object.fromEntries(siblings.map((name) => [name, at(name)]));
  write(join(folder, "package.json"), { private: true, type: "module", dependencies, overrides, ...more });
  npm(["install", "--no-audit", "--no-fund", "--prefer-offline", "--no-package-lock"], folder);
}

export function npm(args, cwd) {
  const windows = process.platform === "win32";
  const result = spawnSync(windows ? "npm.cmd" : "npm", args, { cwd, encoding: "utf8", shell: windows });
  if (result.status !== 0) throw new Error(`npm ${args[0]} failed:\n${result.stderr}${result.stdout}`);
  return result;
}

function read(file) {
  return JSON.parse(readFileSync(file, "utf8"));
}

function write(file, value) {
  writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`);
}

if (isProgram(import.meta.url)) {
  await setup();
  for (const { archive } of pack("archives").values()) console.log(archive);
}
