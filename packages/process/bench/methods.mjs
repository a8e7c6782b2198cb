/**
 * Measures the time from `start()` of a `Process` to its first line of user code, and to its end, for
 * each start method, for child_process.fork(), and for the start methods of Python. The contenders
 * take turns. The table shows medians, and ratios to start method `forkserver`.
 *
 *   npm run build && node packages/process/bench/methods.mjs [--rounds=20] [--many=100] [--typescript] [--json]
 *
 * With `--typescript`, every process loads that module before its first code. With the flag
 * `--no-addons` of Node, `forkserver` has spares instead of forks.
 */
import childProcess from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import process from "node:process";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import { fromModule } from "@multiproc/core";
import { Process } from "@multiproc/process";
import { forkserverKind, getAllStartMethods, setForkserverPreload } from "@multiproc/start-methods";

const option = (name, standard) =>
  Number(process.argv.find((flag) => flag.startsWith(`--${name}=`))?.split("=")[1] ?? standard);
const [rounds, many] = [option("rounds", 20), option("many", 100)];
const fixtureUrl = (name) => new URL(`../../start-methods/bench/fixtures/${name}`, import.meta.url);
const typescript = process.argv.includes("--typescript") ? import.meta.resolve("typescript") : "";
const firstCode = new URL("first-code.mjs", import.meta.url);
const { sayHello } = fromModule(firstCode);
const { path: pipe, heard } = makePipe();

setForkserverPreload([...(typescript ? [typescript] : []), firstCode]);
const { kind, reason } = await forkserverKind();
const python = await startPython();
const methods = ["forkserver", ...getAllStartMethods().filter((method) => method !== "forkserver")];
// A forked child has the modules that its parent has loaded.
if (typescript) await import(typescript);
const contenders = {
  ...Object.fromEntries(methods.map((method) => [`Process, ${method}`, (count) => byProcess(method, count)])),
  "child_process.fork": byFork,
  ...(python && {
    "Python fork": (count) => python("fork", count),
    "Python forkserver": (count) => python("forkserver", count),
    "Python spawn": (count) => python("spawn", count),
  }),
};
const rows = [];
console.log(
  `Node ${process.versions.node}${typescript && ", typescript loaded"}; forkserver has ${kind} ${reason ?? ""}`,
);
await compare("One process, ms", 1, rounds);
if (many > 0) await compare(`${many} at once, ms`, many, Math.min(rounds, 3));
// The last line, for `npm run bench`.
if (process.argv.includes("--json")) console.log(JSON.stringify(rows));
process.exit();

async function compare(title, count, times) {
  const found = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]));
  for (let round = -1; round < times; round++) {
    for (const [name, run] of Object.entries(contenders)) {
      const pair = await run(count);
      if (round >= 0) found[name].push(pair);
      // Spares are started in the background; programs rarely start processes without a pause.
      if (kind === "spares" && count === 1)
        await new Promise((resolve) => setTimeout(resolve, typescript ? 1000 : 300));
    }
  }
  const scale = count === 1 ? "one" : `${count} at once`;
  for (const [name, pairs] of Object.entries(found)) {
    const who = name.replace("Process, ", "multiproc, ");
    rows.push({
      case: `Start methods: ${scale}, until joined`,
      who,
      unit: "ms",
      values: pairs.map(([, joined]) => joined),
    });
  }
  console.log(`\n${title}: first code, joined; ratios`);
  let base;
  for (const [name, pairs] of Object.entries(found)) {
    const row = [median(pairs.map(([first]) => first)), median(pairs.map(([, joined]) => joined))];
    base ??= row;
    const ratios = row.map((value, i) => `${(value / base[i]).toFixed(1)} x`).join(", ");
    console.log(`  ${name.padEnd(24)}${row.map((value) => value.toFixed(1).padStart(9)).join("")}   ${ratios}`);
  }
}

async function byProcess(startMethod, count) {
  const all = heard(count);
  const started = performance.now();
  // A spawned process must load the module that a fork server or a forked process has loaded.
  const args = [pipe, startMethod === "spawn" ? typescript : ""];
  const children = Array.from({ length: count }, () => new Process({ target: sayHello, args, startMethod }));
  await Promise.all(children.map((child) => child.start()));
  await all;
  const first = performance.now() - started;
  await Promise.all(children.map((child) => child.join()));
  return [first, performance.now() - started];
}

async function byFork(count) {
  const started = performance.now();
  const children = Array.from({ length: count }, () =>
    childProcess.fork(fixtureUrl("forked.js"), [typescript], { stdio: ["ignore", "inherit", "inherit", "ipc"] }),
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

/** Creates a pipe in advance, as for Python. `heard(count)` waits until `count` children have written to it. */
function makePipe() {
  const folder = fs.mkdtempSync(`${os.tmpdir()}/methods-bench-`);
  const path = `${folder}/pipe`;
  childProcess.execFileSync("mkfifo", [path]);
  let bytesLeft = 0;
  let done;
  // Open for reading and writing: the pipe never ends, and opening it does not wait for a writer.
  new net.Socket({ fd: fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_NONBLOCK) })
    .on("data", (bytes) => {
      bytesLeft -= bytes.length;
      if (bytesLeft === 0) done();
    })
    .unref();
  process.on("exit", () => fs.rmSync(folder, { recursive: true }));
  const heard = (count) => {
    bytesLeft = count;
    return new Promise((resolve) => {
      done = resolve;
    });
  };
  return { path, heard };
}

function median(values) {
  return values.sort((a, b) => a - b)[values.length >> 1];
}
