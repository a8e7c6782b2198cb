/**
 * Prepares a clone: installs the dependencies of package-lock.json and builds. It skips what is done.
 * Every other script calls it first, so it uses nothing but Node itself.
 */
import { existsSync, readFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { fail, isProgram, run } from "./run.mjs";

export const repository = fileURLToPath(new URL("..", import.meta.url));

export async function setup() {
  process.chdir(repository);
  requireNode(20, 19);
  if (!isInstalled()) install();
  const { build } = await import("./build.mjs");
  await build();
}

function requireNode(major, minor) {
  const [ours, oursMinor] = process.versions.node.split(".").map(Number);
  if (ours < major || (ours === major && oursMinor < minor)) {
    fail(`Node ${major}.${minor} or newer is needed, this is ${process.versions.node}`);
  }
}

/** Whether node_modules matches package-lock.json, by the record that npm writes at the end of an install. */
function isInstalled() {
  if (!existsSync("node_modules/.package-lock.json")) return false;
  const installed = packagesOf("node_modules/.package-lock.json");
  return Object.entries(packagesOf("package-lock.json")).every(([path, wanted]) => {
    if (path === "") return true;
    const found = installed[path];
    if (!found) return wanted.optional || wanted.devOptional;
    return found.version === wanted.version && found.integrity === wanted.integrity;
  });
}

function packagesOf(lockFile) {
  return JSON.parse(readFileSync(lockFile, "utf8")).packages;
}

function install() {
  console.log("Installing the dependencies");
  const windows = process.platform === "win32";
  run(windows ? "npm.cmd" : "npm", ["ci", "--no-audit", "--no-fund"], "npm ci failed", { shell: windows });
  // Without install scripts, each start of Deno would go through a Node process.
  if (!existsSync("node_modules/deno/deno"))
    run(process.execPath, ["node_modules/deno/install.cjs"], "Deno is not ready");
}

if (isProgram(import.meta.url)) await setup();
