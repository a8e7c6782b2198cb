/**
 * npm test: runs all tests by vitest, on Node and on Deno, and prints the totals.
 *
 *   npm test -- [--node | --deno] [--method=forkserver] [words of the test file's path …]
 *   npm test -- site         only test/site.test.ts
 *
 * The tests of the repository itself (its site, its packages as they are installed) run only on Node.
 * Files that begin with the line of `CONTRACT` run once more under every other start method of the host.
 *
 * On Deno each file has a vitest of its own. A file that hangs is killed after `FILE_LIMIT_MS`, and the
 * others continue.
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
const FILE_LIMIT_MS = 5 * 60_000;
const RUN_LIMIT_MS = 30 * 60_000;

await setup();
// Groups of their own do not receive the terminal's Ctrl+C.
process.on("SIGINT", () => process.exit(130));
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
  // vitest takes a path for a part of one: test/hosts.test.ts would be that of a package, too.
  const others = chosen === ownFiles ? ["--exclude=packages/**"] : [];
  const report = `${RESULTS}/node-${method || "repository"}.json`;
  const code = await run(process.execPath, [...vitest(report), ...others, ...chosen], method, RUN_LIMIT_MS);
  return judge("vitest", code, readCounts(report));
}

async function testOnDeno(chosen, method) {
  const counts = [];
  const next = chosen.values();
  await Promise.all(
    Array.from({ length: CONCURRENCY }, async () => {
      for (const file of next) counts.push(await testFileOnDeno(file, method));
    }),
  );
  return judge("vitest on Deno", 0, sum(counts));
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
  const report = `${RESULTS}/${method}-${file.replaceAll("/", "-")}.json`;
  const args = ["run", "-A", "--no-check", ...vitest(report), file];
  const output = [];
  const startedAt = performance.now();
  const code = await run("node_modules/.bin/deno", args, method, FILE_LIMIT_MS, output);
  const counts = judge(file, code, readCounts(report));
  if (counts.failed > 0) process.stdout.write(Buffer.concat(output));
  const mark = counts.failed > 0 ? "✗" : "✓";
  console.log(`${mark} ${file}: ${inWords(counts)}, ${Math.round(performance.now() - startedAt)} ms`);
  return counts;
}

/** Returns vitest's file and arguments; it writes its results to `report`. */
function vitest(report) {
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  return ["node_modules/vitest/vitest.mjs", "run", ...reporters];
}

/**
 * Runs a program until it ends, or kills it after `limitMs`; returns its exit code. Its output goes to
 * `output`, else to the terminal. A program whose output is kept is killed with its children, because
 * vitest does not end a worker that hangs.
 */
function run(command, args, method, limitMs, output) {
  const isGroup = output !== undefined;
  /** @type {import("node:child_process").StdioOptions} */
  const stdio = isGroup ? ["ignore", "pipe", "pipe"] : ["ignore", "inherit", "inherit"];
  const env = { ...process.env, MULTIPROC_START_METHOD: method };
  const child = spawn(command, args, { stdio, env, detached: isGroup });
  const kill = () => {
    try {
      process.kill(isGroup ? -child.pid : child.pid, "SIGKILL");
    } catch {} // it has ended
  };
  const timer = setTimeout(kill, limitMs);
  process.on("exit", kill);
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => output?.push(chunk));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      process.off("exit", kill);
      resolve(code ?? signal);
    });
  });
}

/** Reads the report of vitest's JSON reporter; without one, no test has run. */
function readCounts(report) {
  if (!existsSync(report)) return { passed: 0, failed: 0, skipped: 0 };
  const results = JSON.parse(readFileSync(report, "utf8"));
  // A file that cannot be loaded fails without a test of its own.
  const unloaded = results.testResults.filter((each) => each.status === "failed" && each.assertionResults.length === 0);
  return {
    passed: results.numPassedTests,
    failed: results.numFailedTests + unloaded.length,
    skipped: results.numPendingTests + results.numTodoTests,
  };
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
