/**
 * npm run bench: every benchmark that can tell its results, one after the other, into docs/benchmarks: a table, JSON and plots.
 *
 *   npm run bench -- [--rounds=3] [words that the benchmark's path holds …]     the results of others are kept
 *
 * A benchmark is a program in packages/<name>/bench that takes `--rounds=N --json`, lets its contenders take turns, and prints as its
 * last line a list of rows `{ case, who, unit, values }`, a value for each round. Milliseconds are better when they are fewer,
 * every other unit when it is more. Our own contenders are called "multiproc" or "fork server".
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import os from "node:os";
import process from "node:process";
import { setup } from "./setup.mjs";

const FOLDER = "docs/benchmarks";
const LIMIT = 10 * 60_000;
const OURS = /^(multiproc|fork server)/;

await setup();
const rounds = process.argv.find((flag) => flag.startsWith("--rounds="))?.slice("--rounds=".length) ?? "3";
const words = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const found = benchmarks().flatMap(run);
const rows = [...kept(found), ...found];
const cases = [...new Set(rows.map((row) => row.case))].map((name) => summary(name));

mkdirSync(FOLDER, { recursive: true });
for (const each of cases) writeFileSync(`${FOLDER}/${slug(each.name)}.svg`, plot(each));
writeFileSync(`${FOLDER}/results.json`, `${JSON.stringify({ machine: machine(), rows }, null, 2)}\n`);
const page = report();
writeFileSync(`${FOLDER}/README.md`, page);
console.log(page);

/** What was found before by those that do not run this time. */
function kept(found) {
  if (words.length === 0 || !existsSync(`${FOLDER}/results.json`)) return [];
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
  const args = file.endsWith("start.js") ? [file, rounds, "20", "--json"] : [file, `--rounds=${rounds}`, "--json"];
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
  return JSON.parse(stdout.trim().split("\n").at(-1));
}

function summary(name) {
  const contenders = rows
    .filter((row) => row.case === name)
    .map(({ who, unit, values }) => ({ who, unit, ...spread(values.filter(Number.isFinite)) }))
    .filter(({ median }) => median !== undefined);
  const [{ unit }] = contenders;
  const fewer = unit === "ms";
  contenders.sort((a, b) => (fewer ? a.median - b.median : b.median - a.median));
  const own = contenders.find(({ who }) => OURS.test(who));
  const ratio = ({ median }) => (own === undefined ? Number.NaN : fewer ? median / own.median : own.median / median);
  return { name, unit, fewer, contenders: contenders.map((each) => ({ ...each, ratio: ratio(each) })) };
}

function spread(values) {
  const sorted = values.sort((a, b) => a - b);
  return { least: sorted[0], median: sorted[sorted.length >> 1], most: sorted.at(-1) };
}

function report() {
  const lines = ["# Benchmarks", "", machine(), ""];
  const counts = rows.map(({ values }) => values.length);
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  lines.push(
    `Medians of ${least === most ? least : `${least} to ${most}`} rounds, in which the contenders took turns, with the least and the most. The last column is how many times as`,
    "fast ours was; below 1 we lose. `npm run bench` makes this page anew.",
    "",
  );
  for (const { name, unit, fewer, contenders } of cases) {
    lines.push(
      `## ${name}`,
      "",
      `![${name}](${slug(name)}.svg)`,
      "",
      `| ${unit}${fewer ? ", fewer are better" : ""} | median | least to most | ours |`,
    );
    lines.push("| --- | ---: | ---: | ---: |");
    for (const { who, median, least, most, ratio } of contenders) {
      lines.push(
        `| ${who} | ${shown(median)} | ${shown(least)} – ${shown(most)} | ${OURS.test(who) ? "" : `${ratio.toFixed(2)} ×`} |`,
      );
    }
    lines.push("");
  }
  return `${lines.join("\n").trimEnd()}\n`;
}

function machine() {
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

/** A bar for each contender, with a line from the least to the most of its rounds. */
function plot({ name, unit, contenders }) {
  const [left, width, step] = [230, 420, 30];
  const height = 60 + contenders.length * step;
  const scale = width / Math.max(...contenders.map(({ most }) => most));
  const bars = contenders.map(({ who, median, least, most }, i) => {
    const y = 44 + i * step;
    return `<text x="${left - 10}" y="${y + 14}" text-anchor="end">${escaped(who)}</text>
<rect x="${left}" y="${y}" width="${(median * scale).toFixed(1)}" height="18" fill="${OURS.test(who) ? "#2563eb" : "#9ca3af"}"/>
<path d="M${(left + least * scale).toFixed(1)} ${y + 9}H${(left + most * scale).toFixed(1)}" stroke="#111827"/>
<text x="${(left + most * scale + 8).toFixed(1)}" y="${y + 14}">${shown(median)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 ${height}" font-family="sans-serif" font-size="13" role="img">
<title>${escaped(name)}</title>
<rect width="760" height="${height}" fill="#ffffff"/>
<text x="20" y="24" font-size="15" font-weight="bold">${escaped(name)}, ${escaped(unit)}</text>
${bars.join("\n")}
</svg>
`;
}

function shown(value) {
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  if (value >= 10_000) return `${(value / 1e3).toFixed(0)} k`;
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function slug(name) {
  return name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
}
