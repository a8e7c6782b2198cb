/**
 * npm run bench: every benchmark that can tell its results, one after the other, into docs/benchmarks: a table, JSON and plots.
 *
 *   npm run bench -- [--rounds=3] [words that the benchmark's path holds …]     the results of others are kept
 *   npm run bench -- --page                                                     makes the page anew from the results that are there
 *
 * A benchmark is a program in packages/<name>/bench that takes `--rounds=N --json`, lets its contenders take turns, and prints as its
 * last line a list of rows `{ case, who, unit, values, note }`, a value for each round. Milliseconds and nanoseconds are better when they
 * are fewer, every other unit when it is more. Our own contenders are called "multiproc" or "fork server". A contender without values
 * says why in its note: "hung", or "not run".
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import os from "node:os";
import process from "node:process";
import { plot, report, slug, summaries } from "./bench-page.mjs";
import { setup } from "./setup.mjs";

const FOLDER = "docs/benchmarks";
const LIMIT = 10 * 60_000;
/** A median of fewer says nothing. */
const FEWEST_ROUNDS = 3;

await setup();
const flags = process.argv.slice(2).filter((word) => word.startsWith("--"));
const words = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const rounds = Math.max(FEWEST_ROUNDS, Number(flags.find((flag) => flag.startsWith("--rounds="))?.slice(9) ?? 3));
const found = flags.includes("--page") ? [] : benchmarks().flatMap(run);
const rows = [...kept(found), ...found];
const cases = summaries(rows);

mkdirSync(FOLDER, { recursive: true });
for (const each of cases) writeFileSync(`${FOLDER}/${slug(each.name)}.svg`, plot(each));
writeFileSync(`${FOLDER}/results.json`, `${JSON.stringify({ rows }, null, 2)}\n`);
const page = report(cases);
writeFileSync(`${FOLDER}/README.md`, page);
console.log(page);

/** What was found before by those that do not run this time, each with the machine that it was found on. */
function kept(found) {
  const isPartial = words.length > 0 || flags.includes("--page");
  if (!isPartial || !existsSync(`${FOLDER}/results.json`)) return [];
  const again = new Set(found.map((row) => row.case));
  return JSON.parse(readFileSync(`${FOLDER}/results.json`, "utf8")).rows.filter((row) => !again.has(row.case));
}

function benchmarks() {
  return readdirSync("packages")
    .map((name) => `packages/${name}/bench`)
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder).map((name) => `${folder}/${name}`))
    .filter((file) => /\.m?js$/.test(file) && readFileSync(file, "utf8").includes('"--json"'))
    .filter((file) => words.length === 0 || words.some((word) => file.includes(word)));
}

function run(file) {
  console.error(`${file} …`);
  const args = file.endsWith("start.js")
    ? [file, String(rounds), "20", "--json"]
    : [file, `--rounds=${rounds}`, "--many=20", "--json"];
  const { stdout, status, signal } = spawnSync(process.execPath, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    timeout: LIMIT,
    maxBuffer: 1e8,
  });
  if (status !== 0) {
    console.error(`${file} ended with ${status ?? signal}: its results are missing`);
    process.exitCode = 1;
    return [];
  }
  const machine = thisMachine();
  return JSON.parse(stdout.trim().split("\n").at(-1)).map((row) => ({ ...row, machine }));
}

function thisMachine() {
  const python = spawnSync("python3", ["--version"], { encoding: "utf8" }).stdout?.trim() || "no Python";
  const peers = ["piscina", "tinypool", "workerpool", "poolifier", "jest-worker"].map(
    (name) => `${name} ${versionOf(name)}`,
  );
  const [cpu] = os.cpus();
  return `${os.cpus().length} × ${cpu?.model.trim() || os.arch()}, ${os.type()} ${os.release()}, Node ${process.versions.node}, ${python}, ${peers.join(", ")}.`;
}

function versionOf(name) {
  const file = `node_modules/${name}/package.json`;
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).version : "missing";
}
