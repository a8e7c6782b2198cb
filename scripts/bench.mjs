/**
 * npm run bench: runs the benchmarks one after the other and writes a table, JSON and plots to docs/benchmarks.
 *
 *   npm run bench -- [--rounds=3] [words of the benchmark's path …]   keeps the results of the others
 *   npm run bench -- --page                                           rebuilds the page from the results
 *
 * A benchmark is a program in packages/<name>/bench that takes `--rounds=N --json`. Its contenders
 * take turns. Its last line is a list of rows `{ case, who, unit, values, note }`, with a value for
 * each round. Less is better for milliseconds and nanoseconds, more for every other unit. Our own
 * contenders are called "multiproc" or "fork server". The note of a contender without values gives
 * the reason: "hung", or "not run".
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import os from "node:os";
import process from "node:process";
import { plot, report, slug, summaries } from "./bench-page.mjs";
import { setup } from "./setup.mjs";

const FOLDER = "docs/benchmarks";
const LIMIT = 10 * 60_000;
/** Fewest rounds with a meaningful median. */
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

/** Returns the earlier results of the benchmarks that do not run this time, each with its machine. */
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
