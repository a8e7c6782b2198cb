/**
 * Measures the time from the start of a process to its first line of user code, and to its end: the
 * fork server against child_process.fork() and the start methods of Python. The contenders take
 * turns. The table shows medians, and ratios to the fork server.
 *
 *   node packages/start-methods/bench/start.js [rounds] [how many at once] [--json]
 */
import childProcess from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import process from "node:process";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import { loadForkServer } from "@multiproc/start-methods";

const { ForkServer } = await loadForkServer();

const ROUNDS = Number(process.argv[2] ?? 20);
const CONCURRENT_COUNT = Number(process.argv[3] ?? 100);
const fixtureUrl = (name) => new URL(`fixtures/${name}`, import.meta.url);
const module = fixtureUrl("first-code.js").href;
let onBytes;
const pipe = makePipe();
const typescript = import.meta.resolve("typescript");

const light = await ForkServer.start({ preload: [module] });
const heavy = await ForkServer.start({ preload: [typescript, module] });
const python = await startPython();

const single = {
  "fork server": () => byServer(light, 1),
  "child_process.fork": () => byFork("", 1),
  "fork server, typescript loaded": () => byServer(heavy, 1),
  "child_process.fork, typescript loaded": () => byFork(typescript, 1),
  ...(python &&
    Object.fromEntries(["fork", "forkserver", "spawn"].map((method) => [`Python ${method}`, () => python(method, 1)]))),
};
const concurrent = {
  "fork server": () => byServer(light, CONCURRENT_COUNT),
  "child_process.fork": () => byFork("", CONCURRENT_COUNT),
  "fork server, typescript loaded": () => byServer(heavy, CONCURRENT_COUNT),
  "child_process.fork, typescript loaded": () => byFork(typescript, CONCURRENT_COUNT),
  ...(python && { "Python forkserver": () => python("forkserver", CONCURRENT_COUNT) }),
};
const rows = [];
console.log(`Node ${process.versions.node}`);
await compare("One process, ms", single, ROUNDS);
await compare(`${CONCURRENT_COUNT} processes at once, ms`, concurrent, Math.min(ROUNDS, 3));
await compareMemory();
await Promise.all([light.close(), heavy.close()]);
// The last line, for `npm run bench`.
if (process.argv.includes("--json")) console.log(JSON.stringify(rows));
process.exit();

async function compare(title, contenders, rounds) {
  const times = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of Object.entries(contenders)) times[name].push(await run());
  }
  for (const [who, pairs] of Object.entries(times)) {
    const values = pairs.map(([, joined]) => joined);
    rows.push({ case: `Start: ${title.replace(", ms", "")}, until joined`, who, unit: "ms", values });
  }
  console.log(`\n${title}: first code, joined`);
  const medians = Object.entries(times).map(([name, pairs]) => [
    name,
    median(pairs.map(([first]) => first)),
    median(pairs.map(([, joined]) => joined)),
  ]);
  for (const [name, first, joined] of medians) {
    const [, baseFirst, baseJoined] = medians[name.endsWith("typescript loaded") ? 2 : 0];
    const ratios = `${(first / baseFirst).toFixed(1)} x, ${(joined / baseJoined).toFixed(1)} x`;
    console.log(`  ${name.padEnd(40)}${first.toFixed(1).padStart(9)}${joined.toFixed(1).padStart(9)}   ${ratios}`);
  }
}

/** Waits until `count` children have written to the pipe, which all of them share. */
function waitForBytes(count) {
  return new Promise((resolve) => {
    onBytes = (bytes) => {
      count -= bytes.length;
      if (count === 0) resolve();
    };
  });
}

function makePipe() {
  const folder = fs.mkdtempSync(`${os.tmpdir()}/fork-bench-`);
  childProcess.execFileSync("mkfifo", [`${folder}/pipe`]);
  // Open for reading and writing: the pipe never ends, and opening it does not wait for a writer.
  new net.Socket({ fd: fs.openSync(`${folder}/pipe`, fs.constants.O_RDWR | fs.constants.O_NONBLOCK) })
    .on("data", (bytes) => onBytes(bytes))
    .unref();
  process.on("exit", () => fs.rmSync(folder, { recursive: true }));
  return `${folder}/pipe`;
}

async function byServer(server, count) {
  const received = waitForBytes(count);
  const started = performance.now();
  const children = Array.from({ length: count }, () =>
    server.start({ call: { module, name: "firstCode" }, args: [pipe] }),
  );
  await received;
  const first = performance.now() - started;
  await Promise.all(children.map(async (child) => (await child).exited));
  return [first, performance.now() - started];
}

async function byFork(preload, count) {
  const started = performance.now();
  const children = Array.from({ length: count }, () =>
    childProcess.fork(fixtureUrl("forked.js"), [preload], { stdio: ["ignore", "inherit", "inherit", "ipc"] }),
  );
  const ends = children.map((child) => new Promise((resolve) => child.once("exit", resolve)));
  await Promise.all(children.map((child) => new Promise((resolve) => child.once("message", resolve))));
  const first = performance.now() - started;
  await Promise.all(ends);
  return [first, performance.now() - started];
}

async function startPython() {
  const child = childProcess.spawn("python3", [fileURLToPath(fixtureUrl("start.py"))], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const isInstalled = await new Promise((resolve) =>
    child.once("error", () => resolve(false)).once("spawn", () => resolve(true)),
  );
  if (!isInstalled) return undefined;
  await lines.next();
  return async (method, count) => {
    child.stdin.write(`${method} ${count}\n`);
    return (await lines.next()).value.split(" ").map(Number);
  };
}

/** Returns the total proportional set size of ten idle processes with typescript, and of their server. */
async function compareMemory() {
  const received = waitForBytes(10);
  const children = await Promise.all(
    Array.from({ length: 10 }, () => heavy.start({ call: { module, name: "stay" }, args: [pipe] })),
  );
  await received;
  const forked = sumOfPss([heavy.pid, ...children.map(({ pid }) => pid)]);
  for (const child of children) child.kill("SIGKILL");
  await Promise.all(children.map(({ exited }) => exited));

  const spawned = Array.from({ length: 10 }, () => childProcess.fork(fixtureUrl("forked.js"), [typescript, "stays"]));
  await Promise.all(spawned.map((child) => new Promise((resolve) => child.once("message", resolve))));
  const separate = sumOfPss(spawned.map(({ pid }) => pid));
  for (const child of spawned) child.kill("SIGKILL");
  console.log(
    `\nTen processes with typescript loaded, sum of PSS: fork server ${forked.toFixed(0)} MB, child_process.fork ${separate.toFixed(0)} MB (${(separate / forked).toFixed(1)} x)`,
  );
}

function sumOfPss(pids) {
  let sum = 0;
  for (const pid of pids) sum += Number(/^Pss:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))[1]);
  return sum / 1024;
}

function median(values) {
  return values.sort((a, b) => a - b)[values.length >> 1];
}
