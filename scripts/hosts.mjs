/**
 * npm run test:hosts: tests the packed packages on every host. Each host reports its capabilities and
 * whether the parts of the library work there. Then the contract suites run: the files that begin with
 * "// Runs under every start method.".
 *
 *   npm run test:hosts -- [--hosts=node-24,deno] [--suites=node-24] [words that the suite's path holds …]
 *
 * Hosts come from npm, into .cache/hosts. `--suites` names the hosts whose suites run; without it, the hosts only
 * report. Bun is tried for information. It is not supported, so a failure there does not count.
 */
import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import { install, npm, pack, published } from "./pack.mjs";
import { setup } from "./setup.mjs";

/** The oldest supported Node, and the newest of each maintained line. */
const NODES = ["20.19.0", "22.23.3", "24.21.0", "26.10.0"];
/** The oldest supported Deno; the newest is the one in the dependencies. */
const OLDEST_DENO = "2.5.0";
const BUN = "1.4.5";
const FOLDER = ".cache/hosts";
const APP = resolve(FOLDER, "app");
const CONTRACT = "// Runs under every start method.";
const LIMIT = 10 * 60_000;

await setup();
const flags = process.argv.slice(2).filter((word) => word.startsWith("--"));
const words = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const chosen = listed("--hosts=");
const tested = listed("--suites=");
const hosts = [
  ...NODES.map((version) => ({ id: `node-${version.split(".")[0]}`, run: node(version), suite: byVitest })),
  { id: `deno-${OLDEST_DENO.split(".", 2).join(".")}`, run: async () => denoCommand(oldestDeno()), suite: byDenoTest },
  { id: "deno", run: async () => denoCommand(resolve("node_modules/.bin/deno")), suite: byVitest },
  { id: "bun", run: bun, suite: undefined },
].filter(({ id }) => chosen?.includes(id) ?? true);

furnish();
const suites = contracts();
const rows = [];
for (const host of hosts) rows.push(await look(host));
print(rows);
mkdirSync(".cache/test", { recursive: true });
writeFileSync(".cache/test/hosts.json", `${JSON.stringify(rows, null, 2)}\n`);
process.exitCode = rows.some(({ id, failed }) => failed > 0 && id !== "bun") ? 1 : 0;

function listed(flag) {
  return flags
    .find((each) => each.startsWith(flag))
    ?.slice(flag.length)
    .split(",");
}

/** Makes a project with the packed packages in its node_modules, and a copy of the repository's suites. */
function furnish() {
  rmSync(APP, { recursive: true, force: true });
  const packed = pack(join(APP, "archives"));
  const names = published().map(({ manifest }) => manifest.name);
  install(APP, names, packed);
  for (const name of readdirSync("packages")) {
    if (existsSync(`packages/${name}/test`))
      cpSync(`packages/${name}/test`, `${APP}/packages/${name}/test`, { recursive: true });
  }
  cpSync("packages/testing", `${APP}/packages/testing`, { recursive: true });
  cpSync("examples", `${APP}/examples`, { recursive: true });
  cpSync("scripts/hosts", `${APP}/scripts`, { recursive: true });
  symlinkSync("../../packages/testing", `${APP}/node_modules/@multiproc/testing`);
  write("deno.json", {
    nodeModulesDir: "manual",
    lock: false,
    workspace: [], // or older Denos take it for a part of the repository's
    imports: { vitest: "./packages/testing/src/vitest-on-deno.ts" },
  });
  cpSync("vitest.config.ts", `${APP}/vitest.config.ts`);
}

function contracts() {
  const found = readdirSync("packages").flatMap((name) => {
    const folder = `packages/${name}/test`;
    return existsSync(folder) ? readdirSync(folder, { recursive: true }).map((file) => `${folder}/${file}`) : [];
  });
  return found
    .filter((file) => file.endsWith(".test.ts") && isContract(readFileSync(file, "utf8")))
    .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
    .sort();
}

/** Whether a suite tests only what users see. A suite that imports sources does not test the packed packages. */
function isContract(text) {
  return text.startsWith(CONTRACT) && !text.includes('"../src/');
}

async function look({ id, run, suite }) {
  const command = await run().catch((error) => error);
  if (command instanceof Error)
    return { id, version: id, failed: 1, error: `not available: ${command.message.split("\n")[0]}` };
  const probe = await execute([...command, "scripts/probe.mjs"]);
  const line = probe.output.split("\n").find((each) => each.startsWith('{"version"'));
  if (!line) return { id, version: id, failed: 1, error: `the probe ended with ${probe.code}:\n${probe.output}` };
  const told = JSON.parse(line);
  const broken = Object.values(told.checks).filter((outcome) => outcome !== "works").length;
  const counts = suite && (tested?.includes(id) ?? true) ? await suite(command) : undefined;
  return { id, ...told, counts, failed: broken + (counts?.failed ?? 0) };
}

async function byVitest(command) {
  const file = join(APP, "results.json");
  rmSync(file, { force: true });
  const vitest = resolve("node_modules/vitest/vitest.mjs");
  const args = ["run", "--root", APP, "--reporter=default", "--reporter=json", `--outputFile.json=${file}`, ...suites];
  const { code, output } = await execute([...command, vitest, ...args]);
  if (code !== 0) console.error(output);
  if (!existsSync(file)) return { passed: 0, failed: 1, skipped: 0 };
  const report = JSON.parse(readFileSync(file, "utf8"));
  const failed =
    report.numFailedTests +
    report.testResults.filter((each) => each.status === "failed" && each.assertionResults.length === 0).length;
  return {
    passed: report.numPassedTests,
    failed: code === 0 ? failed : Math.max(failed, 1),
    skipped: report.numPendingTests,
  };
}

/** vitest needs Deno 2.8: on older versions a stand-in runs the tests over `Deno.test`. */
async function byDenoTest([command]) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const [i, file] of suites.entries()) {
    const junit = join(APP, `results-${i}.xml`);
    const { code, output } = await execute([command, "test", "-A", "--no-check", `--junit-path=${junit}`, file]);
    if (code !== 0) console.error(output);
    const text = existsSync(junit) ? readFileSync(junit, "utf8") : "";
    const count = (pattern) => text.match(pattern)?.length ?? 0;
    const failed = count(/<(failure|error) /g);
    const skipped = count(/<skipped\b/g);
    counts.failed += code === 0 ? failed : Math.max(failed, 1);
    counts.skipped += skipped;
    counts.passed += count(/<testcase /g) - failed - skipped;
  }
  return counts;
}

function node(version) {
  return async () => [binaryOf(`node-${platform()}-${process.arch}`, version, "bin/node")];
}

function denoCommand(binary) {
  return [binary, "run", "-A", "--no-check"];
}

function oldestDeno() {
  const kind = process.platform === "linux" ? "-glibc" : "";
  return binaryOf(`@deno/${process.platform}-${process.arch}${kind}`, OLDEST_DENO, "deno");
}

async function bun() {
  return [
    binaryOf(`@oven/bun-${process.platform}-${process.arch === "arm64" ? "aarch64" : process.arch}`, BUN, "bin/bun"),
    "run",
  ];
}

function platform() {
  return process.platform === "win32" ? "win" : process.platform;
}

/** Returns the program inside a package of the registry, and installs the package once. */
function binaryOf(name, version, path) {
  const folder = resolve(FOLDER, `${name.replace("/", "-")}-${version}`);
  const file = join(folder, "node_modules", name, path);
  if (!existsSync(file)) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "package.json"), "{}");
    npm(["install", "--no-audit", "--no-fund", "--no-package-lock", `${name}@${version}`], folder);
  }
  return file;
}

/** @param {string[]} line the program and its arguments */
function execute(line) {
  const [command, ...args] = line;
  // A program that starts `node` must find the tested one.
  const env = { ...process.env, PATH: `${dirname(command)}:${process.env.PATH}`, MULTIPROC_START_METHOD: "" };
  const child = spawn(command, args, {
    cwd: APP,
    env,
    stdio: ["ignore", "pipe", "pipe"],
    timeout: LIMIT,
    killSignal: "SIGKILL",
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text) => void (output += text));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code: code ?? signal, output }));
  });
}

function print(table) {
  const lines = [
    ["host", "start methods", "forkserver", "TypeScript", "locks", "memory", "threads", "parts", "contract suites"],
    ...table.map(({ version, capabilities, checks, counts, error }) => [
      version,
      capabilities?.startMethods ?? "-",
      capabilities?.forkserver.split(":")[0] ?? "-",
      capabilities ? (capabilities.typescript ? "directly" : "with tsx") : "-",
      checks?.Lock === "works" ? `in ${capabilities.locks === "shared-memory" ? "memory" : "a process"}` : "-",
      checks?.SharedArray === "works" ? "shared" : "-",
      checks?.ThreadPool === "works" ? "yes" : "-",
      checks ? partsInWords(checks) : (error ?? "-").split("\n")[0],
      counts ? `${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped` : "not run",
    ]),
  ];
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  for (const line of lines)
    console.log(
      line
        .map((cell, column) => cell.padEnd(widths[column]))
        .join("  ")
        .trimEnd(),
    );
  for (const { version, capabilities, checks, error } of table) {
    if (error?.includes("\n")) console.log(`\n${version}: ${error}`);
    if (capabilities?.forkserver.includes(":")) console.log(`\n${version}: forkserver ${capabilities.forkserver}`);
    for (const [name, outcome] of Object.entries(checks ?? {})) {
      if (outcome !== "works") console.log(`\n${version}: ${name} ${outcome}`);
    }
  }
}

function partsInWords(checks) {
  const works = Object.values(checks).filter((outcome) => outcome === "works").length;
  return `${works} of ${Object.keys(checks).length} work`;
}

function write(name, value) {
  writeFileSync(join(APP, name), JSON.stringify(value, null, 2));
}
