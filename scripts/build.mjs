/**
 * The build: declarations by tsc, JavaScript by esbuild.
 *
 * Every child process loads the packages anew, and each module costs it about half a millisecond: so the modules of a
 * package are joined into few files. Its entries keep files of their own, named like their sources.
 *
 * A file that is built already stays as it is, and another is put in its place whole: processes may be starting from it,
 * those of tests that run beside a script which builds first.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import process from "node:process";
import { run } from "./run.mjs";

/** Modules that are loaded by their name from outside: doors, and what processes are started with. */
const ENTRIES = [
  "mod.ts",
  "internal.ts",
  "child.ts",
  "process-entry.ts",
  "process-entry-bundled.ts",
  "subclass-instance.ts",
  "worker.ts",
  "thread.ts",
  "fork-server-entry.ts",
  "spare-entry.ts",
];

export async function build() {
  run(process.execPath, ["node_modules/typescript/bin/tsc", "-b"], "The build failed");
  // Imported late: in a fresh clone it is installed by now, and was not before.
  const esbuild = await import("esbuild");
  await Promise.all(readdirSync("packages").map((name) => bundle(esbuild, `packages/${name}`)));
  for (const [outfile, entry] of Object.entries(LATE)) {
    /** @type {import("esbuild").BuildOptions} */
    const options = {
      bundle: true,
      format: "cjs",
      platform: "node",
      target: "es2022",
      logLevel: "warning",
      sourcesContent: false,
    };
    put(await esbuild.build({ ...options, entryPoints: [entry], outfile, sourcemap: true, write: false }));
  }
}

/** The entries that every child process loads: core's, and that of `Process`. Each is built as one file. */
const CHILD_ENTRIES = ["child.ts", "process-entry.ts"];

/** Where children begin; every other package stands on it. */
const CORE = "packages/core";

/** Parts that are loaded late and yet at once, by `require()`; what they are called, and where their source is. */
const LATE = { "packages/core/dist/forking.cjs": "packages/core/src/fork/mod.ts" };

async function bundle(esbuild, folder) {
  const { private: isPrivate } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
  const options = {
    outdir: `${folder}/dist`,
    chunkNames: "shared-[hash]",
    bundle: true,
    packages: "external",
    format: "esm",
    platform: isPrivate ? "node" : "neutral",
    target: "es2022",
    sourcemap: true,
    sourcesContent: false, // the sources are packed too
    metafile: true,
    write: false,
    logLevel: "warning",
  };
  const entryPoints = ENTRIES.map((entry) => `${folder}/src/${entry}`).filter((file) => existsSync(file));
  const childEntry = CHILD_ENTRIES.map((entry) => `${folder}/src/${entry}`).find((file) => existsSync(file));
  const child = childEntry && (await bundleChild(esbuild, childEntry, options));
  const rest = await esbuild.build({
    ...options,
    entryPoints: entryPoints.filter((entry) => !child?.modules.has(entry)),
    splitting: true,
    plugins: folder === CORE ? [standingOn(child)] : [],
  });
  put(rest);
  // What an earlier build called otherwise would be packed with the rest.
  const written = new Set(Object.keys({ ...child?.outputs, ...rest.metafile.outputs }));
  for (const name of readdirSync(`${folder}/dist`)) {
    const file = `${folder}/dist/${name}`;
    if (/\.js(\.map)?$/.test(name) && !written.has(file)) rmSync(file);
  }
}

/**
 * Builds what children begin with as one file: to start one costs a tenth less than with three. What it has in common with
 * other entries keeps its state in the registry, so that two copies agree; only core, whose classes are told apart by identity,
 * must not be there twice: its child exports all that its modules have, and its other entries import that.
 */
async function bundleChild(esbuild, entry, options) {
  const { metafile } = await esbuild.build({ ...options, entryPoints: [entry] });
  const modules = Object.keys(metafile.inputs);
  const exported = entry.startsWith(CORE) ? modules : [entry];
  const contents = exported.map((module) => `export * from "./${module}";`).join("\n");
  const stdin = { contents, resolveDir: "." };
  const built = await esbuild.build({
    ...options,
    stdin,
    outdir: undefined,
    outfile: `${options.outdir}/${basename(entry, ".ts")}.js`,
  });
  put(built);
  return { modules: new Set(modules), outputs: built.metafile.outputs };
}

/** Writes what was built, unless it lies there already. */
function put({ outputFiles }) {
  for (const { path, contents } of outputFiles) {
    if (existsSync(path) && readFileSync(path).equals(contents)) continue;
    mkdirSync(dirname(path), { recursive: true });
    const draft = `${path}.${process.pid}`;
    writeFileSync(draft, contents);
    renameSync(draft, path);
  }
}

/** Has what is built import the modules of core's child from there; by names, since a namespace would have all that the child exports. */
function standingOn({ modules }) {
  return {
    name: "standing on the child",
    setup(build) {
      build.onResolve({ filter: /^\.{1,2}\// }, ({ path, resolveDir, kind }) => {
        const isInChild = kind !== "entry-point" && modules.has(relative(".", join(resolveDir, path)));
        return isInChild ? { path: "./child.js", external: true } : undefined;
      });
    },
  };
}
