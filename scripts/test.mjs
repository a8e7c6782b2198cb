/**
 * npm test: every test on Node and then on Deno, then those of the repository itself (its site, its packages as they are
 * installed, on Node alone), and one closing line with the totals of all.
 *
 *   npm test -- [--node | --deno] [--method=forkserver] [words that the test file's path holds …]
 *   npm test -- site         only test/site.test.ts
 *
 * What a process does must not depend on how it came to be: the files that begin with the line of `CONTRACT` run again under
 * every start method that the host has besides its default.
 *
 * On Deno each file has a `deno test` of its own, as on Node it has a fork of its own: signals, exit hooks and children
 * of one file are never another's.
 */
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import process from "node:process";
import { setup } from "./setup.mjs";

const RESULTS = ".cache/test";
const CONCURRENCY = 2;
/** The first line of a file that runs under every start method. */
const CONTRACT = "// Runs under every start method.";
const METHODS = `import { getAllStartMethods } from "@multiproc/start-methods"; console.log(getAllStartMethods().join());`;
const FILE_LIMIT = 5 * 60_000;
const RUN_LIMIT = 30 * 60_000;

await setup();
rmSync(RESULTS, { recursive: true, force: true });
mkdirSync(RESULTS, { recursive: true });

const flags = process.argv.slice(2).filter((word) => word.startsWith("--"));
const words = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const onlyMethod = flags.find((flag) => flag.startsWith("--method="))?.slice("--method=".length);
const isWanted = (file) => words.length === 0 || words.some((word) => file.includes(word));
const files = testFiles(readdirSync("packages").map((name) => `packages/${name}/test`)).filter(isWanted);
const ownFiles = testFiles(["test"]).filter(isWanted);
const contracts = files.filter((file) => readFileSync(file, "utf8").startsWith(CONTRACT));
const hosts = [
  { name: `Node ${process.versions.node}`, runner: testOnNode, other: "--deno", methods: methodsOnNode },
  { name: `Deno ${denoVersion()}`, runner: testOnDeno, other: "--node", methods: methodsOnDeno },
];
const totals = [];
for (const { name, runner, other, methods } of hosts) {
  if (flags.includes(other) || files.length === 0) continue;
  const [standard, ...others] = await methods();
  if (onlyMethod === undefined || onlyMethod === standard) totals.push(await test(name, runner, files, standard));
  for (const method of others) {
    if (contracts.length > 0 && (onlyMethod ?? method) === method)
      totals.push(await test(`${name}, ${method}`, runner, contracts, method));
  }
}

if (ownFiles.length > 0 && onlyMethod === undefined && !flags.includes("--deno"))
  totals.push(await test("the repository", testOnNode, ownFiles, ""));

if (totals.length === 0) {
  console.error(`There is no test file named like ${words.join(" or ")}`);
  process.exit(1);
}
console.log();
for (const { host, ...counts } of totals) console.log(`${host}: ${inWords(counts)}`);
const all = sum(totals);
console.log(inWords(all));
process.exitCode = all.failed > 0 ? 1 : 0;

async function test(host, runner, chosen, method) {
  console.log(`\nTesting: ${host}`);
  return { host, ...(await runner(chosen, method)) };
}

async function testOnNode(chosen, method) {
  const file = `${RESULTS}/node-${method || "repository"}.json`;
  const args = ["node_modules/vitest/vitest.mjs", "run", "--reporter=default", "--reporter=json"];
  // vitest takes a path for a part of one: test/hosts.test.ts would be that of a package, too.
  const others = chosen === ownFiles ? ["--exclude=packages/**"] : [];
  const all = [...args, `--outputFile.json=${file}`, ...others, ...chosen];
  const code = await run(process.execPath, all, method, RUN_LIMIT);
  const counts = readResults(file, (text) => {
    const report = JSON.parse(text);
    // A file that could not be loaded has failed without a test of its own.
    const unloaded = report.testResults.filter(
      (each) => each.status === "failed" && each.assertionResults.length === 0,
    );
    return {
      passed: report.numPassedTests,
      failed: report.numFailedTests + unloaded.length,
      skipped: report.numPendingTests + report.numTodoTests,
    };
  });
  return judge("vitest", code, counts);
}

async function testOnDeno(chosen, method) {
  const counts = [];
  const next = chosen.values();
  await Promise.all(
    Array.from({ length: CONCURRENCY }, async () => {
      for (const file of next) counts.push(await testFileOnDeno(file, method));
    }),
  );
  return judge("deno test", 0, sum(counts));
}

function testFiles(folders) {
  const found = folders
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder, { recursive: true }).map((name) => `${folder}/${name}`));
  return found.filter((file) => file.endsWith(".test.ts")).sort();
}

/** The start methods of Node, the default first. Asked inside a package that may import the library. */
async function methodsOnNode() {
  const args = ["--input-type=module", "--eval", METHODS];
  return linesOf(process.execPath, args, "packages/multiproc");
}

async function methodsOnDeno() {
  return linesOf(`${process.cwd()}/node_modules/.bin/deno`, ["eval", "--no-check", METHODS], ".");
}

function linesOf(command, args, cwd) {
  return execFileSync(command, args, { cwd, encoding: "utf8", env: withoutMethod() }).trim().split(",");
}

function withoutMethod() {
  return { ...process.env, MULTIPROC_START_METHOD: "" };
}

function denoVersion() {
  return JSON.parse(readFileSync("node_modules/deno/package.json", "utf8")).version;
}

async function testFileOnDeno(file, method) {
  const junit = `${RESULTS}/${method}-${file.replaceAll("/", "-")}.xml`;
  const args = ["test", "-A", "--no-check", `--junit-path=${junit}`, file];
  const output = [];
  const began = performance.now();
  const code = await run("node_modules/.bin/deno", args, method, FILE_LIMIT, output);
  const counts = judge(
    file,
    code,
    readResults(junit, (text) => {
      const count = (pattern) => text.match(pattern)?.length ?? 0;
      const tests = count(/<testcase /g);
      const failed = count(/<(failure|error) /g);
      const skipped = count(/<skipped\b/g);
      return { passed: tests - failed - skipped, failed, skipped };
    }),
  );
  if (counts.failed > 0) process.stdout.write(Buffer.concat(output));
  console.log(
    `${counts.failed > 0 ? "✗" : "✓"} ${file}: ${inWords(counts)}, ${Math.round(performance.now() - began)} ms`,
  );
  return counts;
}

/** Runs a program to its end, or to the limit; gives its exit code. What it writes goes to `output`, else to the terminal. */
function run(command, args, method, limit, output) {
  /** @type {import("node:child_process").StdioOptions} */
  const stdio = output ? ["ignore", "pipe", "pipe"] : ["ignore", "inherit", "inherit"];
  const env = { ...process.env, MULTIPROC_START_METHOD: method };
  const child = spawn(command, args, { stdio, env, timeout: limit, killSignal: "SIGKILL" });
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => output?.push(chunk));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve(code ?? signal));
  });
}

function readResults(file, parse) {
  try {
    return parse(readFileSync(file, "utf8"));
  } catch {
    return { passed: 0, failed: 0, skipped: 0 };
  }
}

/** A runner that ended badly without naming a failed test, or that ran no test at all, counts as one failure. */
function judge(runner, code, counts) {
  if (counts.failed > 0) return counts;
  if (code !== 0) {
    console.error(`${runner} ended with ${code} and named no failed test`);
    return { ...counts, failed: 1 };
  }
  if (counts.passed + counts.skipped === 0) {
    console.error(`${runner} ran no test`);
    return { ...counts, failed: 1 };
  }
  return counts;
}

function sum(list) {
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const counts of list) for (const key of Object.keys(total)) total[key] += counts[key];
  return total;
}

function inWords({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}
