/**
 * The build: declarations by tsc, JavaScript by esbuild.
 *
 * Every child process loads the packages again, and each module costs it about 0.5 ms. Therefore the
 * modules of a package are bundled into few files. Its entries keep files of their own, named like
 * their sources.
 *
 * A file that has not changed is left alone, and a changed file is replaced as a whole: a process may
 * be starting from it at the same time, such as a child of a test beside a script that builds first.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import process from "node:process";
import { run } from "./run.mjs";

/** Modules that are loaded by name from outside: entry points of users, and of child processes. */
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
  // Imported late: a fresh clone installs it only after this module is loaded.
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

/** The package where children start; all others depend on it. */
const CORE = "packages/core";

/** Bundles that are loaded synchronously on demand, by `require()`: the built file, and its source. */
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
  // Files of an earlier build with other names would be packed too.
  const written = new Set(Object.keys({ ...child?.outputs, ...rest.metafile.outputs }));
  for (const name of readdirSync(`${folder}/dist`)) {
    const file = `${folder}/dist/${name}`;
    if (/\.js(\.map)?$/.test(name) && !written.has(file)) rmSync(file);
  }
}

/**
 * Builds the entry of child processes as one file, which starts a tenth faster than three files. The
 * entry and the package's other entries may both contain a module; its state lives in the registry,
 * so two copies agree. Core is the exception, because its classes are compared by identity: its
 * child entry exports everything that its modules export, and the other entries import it.
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

/** Writes the built files that have changed. */
function put({ outputFiles }) {
  for (const { path, contents } of outputFiles) {
    if (existsSync(path) && readFileSync(path).equals(contents)) continue;
    mkdirSync(dirname(path), { recursive: true });
    const draft = `${path}.${process.pid}`;
    writeFileSync(draft, contents);
    renameSync(draft, path);
  }
}

/** Makes a build import the modules of core's child entry from that entry, by name. */
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
