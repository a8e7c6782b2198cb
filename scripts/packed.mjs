/**
 * The packages as users get them: packed, installed into an empty folder, and the README's first example run there, on Node in
 * JavaScript and in TypeScript, and on Deno.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import ts from "typescript";
import { fail } from "./run.mjs";

const EXPECTED = "[ true, true, true ]\n";
const repository = process.cwd();
const folder = join(tmpdir(), `multiproc-packed-${process.pid}`);

try {
  install();
  const files = example();
  for (const [name, code] of files) writeFiles(name, code);
  expectOutput("JavaScript on Node", process.execPath, ["main.js"]);
  expectOutput("TypeScript on Node", process.execPath, [...typeScriptFlags(), "main.ts"]);
  expectOutput("TypeScript on Deno", join(repository, "node_modules/.bin/deno"), ["run", "-A", "main.ts"]);
  console.log("The README's first example runs from the packed packages, on Node and on Deno");
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function install() {
  mkdirSync(folder);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
  const packages = readdirSync("packages").filter((name) => !manifest(name).private);
  const archives = packages.map((name) => join(folder, pack(name)));
  npm(["install", "--no-audit", "--no-fund", ...archives], folder);
  // The loader for TypeScript on a Node that strips no types; a user installs it, here it is at hand.
  for (const name of ["tsx", "esbuild", "@esbuild", "get-tsconfig", "resolve-pkg-maps"]) {
    const from = join(repository, "node_modules", name);
    if (readdirSync(join(from, "..")).includes(name))
      cpSync(from, join(folder, "node_modules", name), { recursive: true });
  }
}

function manifest(name) {
  return JSON.parse(readFileSync(`packages/${name}/package.json`, "utf8"));
}

function pack(name) {
  const { stdout } = npm(["pack", "--json", "--pack-destination", folder], `packages/${name}`);
  const listed = JSON.parse(stdout);
  return (Array.isArray(listed) ? listed[0] : Object.values(listed)[0]).filename;
}

function npm(args, cwd) {
  const windows = process.platform === "win32";
  const result = spawnSync(windows ? "npm.cmd" : "npm", args, { cwd, encoding: "utf8", shell: windows });
  if (result.status !== 0) fail(`npm ${args[0]} failed:\n${result.stderr}`);
  return result;
}

/** The files of the README's first example, by their names. */
function example() {
  const readme = readFileSync("README.md", "utf8");
  const blocks = [...readme.matchAll(/```ts\n\/\/ file: (\S+)\n([\s\S]*?)```/g)].slice(0, 2);
  if (blocks.length < 2) fail("README.md has no first example of two files");
  return blocks.map(([, name, code]) => [name, code]);
}

function writeFiles(name, code) {
  writeFileSync(join(folder, name), code);
  const { outputText } = ts.transpileModule(code, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  });
  writeFileSync(join(folder, name.replace(/\.ts$/, ".js")), outputText.replaceAll('.ts"', '.js"'));
}

function typeScriptFlags() {
  return "typescript" in process.features ? [] : ["--import", "tsx"];
}

function expectOutput(what, command, args) {
  const { stdout, stderr, status } = spawnSync(command, args, { cwd: folder, encoding: "utf8", timeout: 60_000 });
  if (status !== 0 || stdout !== EXPECTED) fail(`${what}: exit code ${status}\n${stdout}${stderr}`);
}
