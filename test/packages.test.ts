/** The packages as users get them: packed, and each installed alone into an empty folder. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { install, pack, published } from "../scripts/pack.mjs";
import { exampleOf, installedBy, permissionsIn, stripTypes } from "../scripts/readme.mjs";

const DENO = resolve("node_modules/.bin/deno");
const LIMIT = 120_000;
/** Largest size of a package in kilobytes, with its sources and source maps. */
const SIZE_LIMIT = 400;

// Outside /tmp, since the permission for sockets would let a program in /tmp read its modules.
const folder = mkdtempSync(join(existsSync("/var/tmp") ? "/var/tmp" : tmpdir(), "multiproc-packages-"));
const packages = published().map(({ folder, manifest }) => ({ folder, name: manifest.name as string, manifest }));
let packed: ReturnType<typeof pack>;

beforeAll(() => {
  packed = pack(join(folder, "archives"));
}, LIMIT);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.each(packages)("$name", ({ folder: source, name, manifest }) => {
  const place = join(folder, name.replace("/", "-"));
  const readme = readFileSync(join(source, "README.md"), "utf8");

  test(
    "a package installs with only its declared dependencies, and its README's example runs on Node and Deno",
    () => {
      const names = installedBy(readme);
      expect(names).toContain(name);
      install(place, names, packed);
      expect(siblingsIn(place)).toStrictEqual(closure(names.filter((each) => packed.has(each))));

      const files = exampleOf(readme);
      for (const [file, code] of files) {
        writeFileSync(join(place, file), code);
        writeFileSync(join(place, file.replace(/\.ts$/, ".js")), stripTypes(code));
      }
      const onNode = run(place, process.execPath, ["main.js"]);
      const onDeno = run(place, DENO, ["run", "--no-prompt", ...permissionsIn(readme), "main.ts"]);
      expect(linesOf(onDeno.stdout)).toStrictEqual(linesOf(onNode.stdout));

      // CommonJS programs can import it too.
      const doors = Object.keys(manifest.exports).filter((door) => door === ".");
      for (const door of doors) {
        const code = `console.log(Object.keys(require("${join(name, door)}")).length > 0)`;
        expect(run(place, process.execPath, ["--no-warnings", "--input-type=commonjs", "--eval", code]).stdout).toBe(
          "true\n",
        );
      }
    },
    LIMIT,
  );

  test(
    "a package needs all of the least permissions that its README lists for Deno",
    () => {
      const permissions = permissionsIn(readme);
      for (const spared of permissions) {
        const others = permissions.filter((each) => each !== spared);
        const { status, stderr } = spawn(place, DENO, ["run", "--no-prompt", ...others, "main.ts"]);
        expect(status, `without ${spared}`).not.toBe(0);
        expect(stderr).toMatch(/NotCapable|Requires|--allow-/i);
      }
    },
    LIMIT,
  );

  test(
    "a package gives every resolver the types that belong to the code",
    async () => {
      const archive = packed.get(name);
      const checked = await checkPackage(createPackageFromTarballData(readFileSync(archive?.archive ?? "")));
      if (!checked.types) throw new Error(`${name} has no types`);
      // The packages are only ES modules. Resolvers before Node 12 do not know "exports".
      const expected = ["CJSResolvesToESM", "NoResolution"];
      const problems = checked.problems.filter(
        ({ kind, ...rest }) =>
          !expected.includes(kind) || ("resolutionKind" in rest && rest.resolutionKind === "bundler"),
      );
      expect(problems).toStrictEqual([]);
    },
    LIMIT,
  );

  test("a package is small, and holds only its build, its sources and its texts", () => {
    const { size = Number.POSITIVE_INFINITY, files = [] } = packed.get(name) ?? {};
    console.log(`${name}: ${(size / 1000).toFixed(1)} kB packed, ${files.length} files`);
    expect(size).toBeLessThan(SIZE_LIMIT * 1000);
    const strangers = files
      .map(({ path }) => path)
      .filter((path) => !/^(dist|src|README\.md|LICENSE|package\.json)/.test(path));
    expect(strangers).toStrictEqual([]);
    expect(files.map(({ path }) => path)).toEqual(expect.arrayContaining(["LICENSE", "README.md"]));
  });
});

test.each(["NodeNext", "Bundler"] as const)(
  "all README examples compile with the packages' types under module resolution %s",
  (resolution) => expect(typeErrors(resolution)).toStrictEqual([]),
  LIMIT,
);

test(
  "all README examples compile with the oldest supported TypeScript",
  () => {
    const { version } = JSON.parse(readFileSync("node_modules/typescript-oldest/package.json", "utf8"));
    const [oldest] = version.split(/(?<=\d\.\d+)\./);
    expect(readFileSync("README.md", "utf8")).toContain(`TypeScript ${oldest} and newer`);
    const options = "--strict --noEmit --target ES2022 --module NodeNext --allowImportingTsExtensions --types node";
    const libs = "es2023,esnext.disposable,dom,dom.asynciterable";
    const args = [...options.split(" "), "--lib", libs, "--typeRoots", resolve("node_modules/@types"), ...mains()];
    const { status, stdout } = spawn(folder, resolve("node_modules/typescript-oldest/bin/tsc"), args);
    expect(status, stdout).toBe(0);
  },
  LIMIT,
);

describe("a bundled application", () => {
  const place = join(folder, "bundled");
  const expected = "[ 1, 4, 9 ]\n0\n";

  beforeAll(() => {
    install(place, ["multiproc"], packed);
    mkdirSync(join(place, "src"));
    writeFileSync(
      join(place, "src/tasks.ts"),
      `import { task } from "multiproc";
export const square = task(import.meta.url, function square(x: number) { return x * x; });`,
    );
    writeFileSync(
      join(place, "src/main.ts"),
      `import { Pool, Process } from "multiproc";
import { square } from "./tasks.ts";
const pool = new Pool({ processes: 2 });
console.log(await pool.map(square, [1, 2, 3]));
pool.close();
await pool.join();
const child = new Process({ target: square, args: [2] });
await child.start();
console.log(await child.join());`,
    );
  }, LIMIT);

  test(
    "a bundle of esbuild runs Pool and Process",
    async () => {
      const { build } = await import("esbuild");
      await build({
        absWorkingDir: place,
        entryPoints: ["src/main.ts", "src/tasks.ts"],
        outdir: "esbuild",
        bundle: true,
        splitting: true,
        minify: true,
        keepNames: true,
        packages: "external",
        format: "esm",
        platform: "node",
        target: "es2022",
        logLevel: "silent",
      });
      expect(run(place, process.execPath, ["esbuild/main.js"]).stdout).toBe(expected);
    },
    LIMIT,
  );

  test(
    "a bundle of vite runs Pool and Process",
    async () => {
      const { build } = await import("vite");
      await build({
        root: place,
        configFile: false,
        logLevel: "silent",
        build: {
          ssr: true,
          outDir: "vite",
          target: "es2022",
          rollupOptions: { input: { main: join(place, "src/main.ts"), tasks: join(place, "src/tasks.ts") } },
        },
      });
      const [main] = readdirSync(join(place, "vite")).filter((file) => /^main\.m?js$/.test(file));
      expect(run(place, process.execPath, [`vite/${main}`]).stdout).toBe(expected);
    },
    LIMIT,
  );
});

/** Returns the packages of this repository in a folder's node_modules. */
function siblingsIn(place: string): string[] {
  const scope = join(place, "node_modules/@multiproc");
  const scoped = existsSync(scope) ? readdirSync(scope).map((name) => `@multiproc/${name}`) : [];
  return [...scoped, ...(existsSync(join(place, "node_modules/multiproc")) ? ["multiproc"] : [])].sort();
}

/** Returns the packages with all siblings that they depend on, directly or not. */
function closure(names: string[]): string[] {
  const found = new Set(names);
  for (const name of found) {
    const { manifest } = packages.find((each) => each.name === name) ?? {};
    for (const other of Object.keys(manifest?.dependencies ?? {}))
      if (packages.some((each) => each.name === other)) found.add(other);
  }
  return [...found].sort();
}

function run(cwd: string, command: string, args: string[]): { stdout: string } {
  const { stdout, stderr, status, signal } = spawn(cwd, command, args);
  expect(status ?? signal, `${args.join(" ")}:\n${stdout}${stderr}`).toBe(0);
  return { stdout };
}

function spawn(
  cwd: string,
  command: string,
  args: string[],
): ReturnType<typeof spawnSync> & { stdout: string; stderr: string } {
  const env = { ...process.env, TMPDIR: "/tmp", NODE_PATH: "", MULTIPROC_START_METHOD: "" };
  return spawnSync(command, args, { cwd, encoding: "utf8", timeout: LIMIT, env });
}

/** Returns the printed lines, sorted and without quotes, in which the hosts differ. */
function linesOf(text: string): string[] {
  return text.replaceAll("'", '"').split("\n").sort();
}

function typeErrors(resolution: "NodeNext" | "Bundler"): string[] {
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    target: ts.ScriptTarget.ES2022,
    lib: ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts", "lib.dom.d.ts", "lib.dom.asynciterable.d.ts"],
    types: ["node"],
    typeRoots: [resolve("node_modules/@types")],
    allowImportingTsExtensions: true,
    module: ts.ModuleKind[resolution === "NodeNext" ? "NodeNext" : "ESNext"],
    moduleResolution: ts.ModuleResolutionKind[resolution],
  };
  const program = ts.createProgram(mains(), options);
  const own = program.getSourceFiles().filter(({ fileName }) => fileName.includes("multiproc-packages-"));
  expect(own.length).toBeGreaterThan(packages.length);
  return own
    .flatMap((file) => [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)])
    .map(({ file, messageText }) => `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`);
}

/** Returns the programs of the README examples, one for each package. */
function mains(): string[] {
  return packages.map(({ name }) => join(folder, name.replace("/", "-"), "main.ts"));
}
