/**
 * The build: declarations by tsc, JavaScript by esbuild.
 *
 * Every child process loads the packages anew, and each module costs it about half a millisecond: so the modules of a
 * package are joined into few files. Its entries keep files of their own, named like their sources.
 */
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import process from "node:process";
import { run } from "./run.mjs";

/** Modules that are loaded by their name from outside: doors, and what processes are started with. */
const ENTRIES = [
  "mod.ts",
  "internal.ts",
  "child.ts",
  "child-whole.ts",
  "revive.ts",
  "worker.ts",
  "thread.ts",
  "server.ts",
  "spare.ts",
];

export async function build() {
  run(process.execPath, ["node_modules/typescript/bin/tsc", "-b"], "The build failed");
  // Imported late: in a fresh clone it is installed by now, and was not before.
  const esbuild = await import("esbuild");
  await Promise.all(readdirSync("packages").map((name) => bundle(esbuild, `packages/${name}`)));
  for (const [outfile, entry] of Object.entries(LATE)) {
    /** @type {import("esbuild").BuildOptions} */
    const options = { bundle: true, format: "cjs", platform: "node", target: "es2022", logLevel: "warning" };
    await esbuild.build({ ...options, entryPoints: [entry], outfile, sourcemap: true });
  }
}

/** Parts that are loaded late and yet at once, by `require()`; what they are called, and where their source is. */
const LATE = { "packages/core/dist/forking.cjs": "packages/core/src/native/fork/mod.ts" };

async function bundle(esbuild, folder) {
  const { private: isPrivate } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  const entryPoints = ENTRIES.map((entry) => `${folder}/src/${entry}`).filter((file) => existsSync(file));
  const { metafile } = await esbuild.build({
    entryPoints,
    outdir: `${folder}/dist`,
    chunkNames: "shared-[hash]",
    bundle: true,
    splitting: true,
    packages: "external",
    format: "esm",
    platform: isPrivate ? "node" : "neutral",
    target: "es2022",
    sourcemap: true,
    metafile: true,
    logLevel: "warning",
  });
  // What an earlier build called otherwise would be packed with the rest.
  const written = new Set(Object.keys(metafile.outputs));
  for (const name of readdirSync(`${folder}/dist`)) {
    const file = `${folder}/dist/${name}`;
    if (/\.js(\.map)?$/.test(name) && !written.has(file)) rmSync(file);
  }
}
