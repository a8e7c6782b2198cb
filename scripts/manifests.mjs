/**
 * Keeps package.json and deno.json of every package in step. package.json leads. The repository's own
 * package.json has the address of the repository.
 *
 *   node scripts/manifests.mjs --check   reports every difference, and fails if there is one
 *   node scripts/manifests.mjs --write   writes deno.json, the versions of siblings, and the fields for registries
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { isDeepStrictEqual } from "node:util";

const write = process.argv.includes("--write");
const folders = readdirSync("packages").map((name) => `packages/${name}`);
const manifests = folders.map((folder) => ({
  folder,
  npm: read(`${folder}/package.json`),
  tsc: read(`${folder}/tsconfig.json`),
}));
const root = read("package.json");
const license = readFileSync("LICENSE", "utf8");
const versions = new Map(manifests.map(({ npm }) => [npm.name, npm.version]));
const problems = [];

const [version, ...others] = new Set(versions.values());
if (others.length > 0) problems.push(`packages: versions differ: ${[version, ...others].join(", ")}`);

for (const { folder, npm, tsc } of manifests) {
  settle(`${folder}/package.json`, npm, withOrigin(withSiblingVersions(npm), folder));
  if (!npm.private) settleTexts(folder);
  settle(`${folder}/deno.json`, read(`${folder}/deno.json`), denoManifest(npm, read(`${folder}/deno.json`)));
  const referenced = (tsc.references ?? []).map(({ path }) => path.replace("../", "packages/")).sort();
  const siblings = Object.keys(npm.dependencies ?? {})
    .filter((name) => versions.has(name))
    .map(folderOf)
    .sort();
  if (!isDeepStrictEqual(referenced, siblings)) {
    problems.push(`${folder}/tsconfig.json: references are ${list(referenced)}, dependencies are ${list(siblings)}`);
  }
}

for (const problem of problems) console.error(problem);
if (problems.length > 0) console.error(write ? "" : "npm run manifests puts deno.json and versions right");
process.exitCode = problems.length > 0 ? 1 : 0;

/** Pins siblings to one version: they are released together and share internal entry points. */
function withSiblingVersions(npm) {
  const wanted = structuredClone(npm);
  for (const kind of ["dependencies", "devDependencies", "peerDependencies"]) {
    for (const name of Object.keys(wanted[kind] ?? {})) {
      if (versions.has(name)) wanted[kind][name] = versions.get(name);
    }
  }
  return wanted;
}

/** Adds the fields about the origin of a package, after the author. */
function withOrigin(npm, folder) {
  if (npm.private) return npm;
  const origin = {
    repository: { ...root.repository, directory: folder },
    homepage: root.homepage.replace("#readme", `/tree/main/${folder}#readme`),
    bugs: root.bugs,
  };
  const fields = Object.entries({ ...npm, ...origin }).filter(([key]) => !(key in origin));
  const at = fields.findIndex(([key]) => key === "author") + 1;
  return Object.fromEntries([...fields.slice(0, at), ...Object.entries(origin), ...fields.slice(at)]);
}

/** Checks the licence, and the README, whose relative links would not work outside of the repository. */
function settleTexts(folder) {
  const file = `${folder}/LICENSE`;
  const current = existsSync(file) ? readFileSync(file, "utf8") : "";
  if (current !== license && write) writeFileSync(file, license);
  else if (current !== license) problems.push(`${file} is not the repository's LICENSE`);
  for (const [, target] of readFileSync(`${folder}/README.md`, "utf8").matchAll(/\]\((?!https?:|#)([^)]+)\)/g))
    problems.push(
      `${folder}/README.md: the link to ${target} leads nowhere on npm, write ${root.homepage.replace("#readme", "/blob/main/…")}`,
    );
}

function denoManifest(npm, current) {
  const doors = Object.entries(npm.exports).map(([door, { types, default: built }]) => {
    const source = built.replace(/^\.\/dist\/(.*)\.js$/, "./src/$1.ts");
    if (types !== built.replace(/\.js$/, ".d.ts"))
      problems.push(`${npm.name}: types of "${door}" are not those of ${built}`);
    return [door, source];
  });
  return {
    ...current,
    // JSR allows only scoped names.
    name: npm.name.startsWith("@") ? npm.name : `@${npm.name}/${npm.name}`,
    version: npm.version,
    license: npm.license,
    exports: doors.length === 1 ? doors[0][1] : Object.fromEntries(doors),
  };
}

function settle(file, current, wanted) {
  if (isDeepStrictEqual(current, wanted)) return;
  if (write) {
    writeFileSync(file, `${JSON.stringify(wanted, null, 2)}\n`);
    console.log(`${file}: written`);
    return;
  }
  for (const key of Object.keys(wanted)) {
    if (isDeepStrictEqual(current[key], wanted[key])) continue;
    problems.push(`${file}: ${key} is ${JSON.stringify(current[key])} and should be ${JSON.stringify(wanted[key])}`);
  }
}

function folderOf(name) {
  return manifests.find(({ npm }) => npm.name === name).folder;
}

function list(names) {
  return names.length > 0 ? names.join(", ") : "none";
}

function read(file) {
  return JSON.parse(readFileSync(file, "utf8"));
}
