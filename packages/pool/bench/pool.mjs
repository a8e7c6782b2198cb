// The pool against Python's `multiprocessing.Pool` and, on Node, a small pool over the IPC channel
// of `child_process`.
//
//   npm run build && node packages/pool/bench/pool.mjs [--rounds=5]
//   npx deno run -A packages/pool/bench/pool.mjs
//
// The pools take turns. The table shows medians over the rounds, and ratios. Each pool has two
// workers.
import { execFileSync, fork } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Pool } from "@multiproc/pool";
import { rate, warm } from "./measure.mjs";
import { length, square } from "./tasks.mjs";

const rounds = Number(process.argv.find((flag) => flag.startsWith("--rounds="))?.slice(9) ?? 5);
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const CALL_COUNT = 50_000;
const ROUND_TRIPS = 2000;
const MAP_ITEMS = 1_000_000;
const ARRAY_COUNT = 30;
const list = Array.from({ length: MAP_ITEMS }, (_, i) => i);

async function ours() {
  const from = performance.now();
  const pool = new Pool({ processes: 2 });
  await pool.map(square, [1, 2], { chunkSize: 1 });
  const result = { ready: 1000 / (performance.now() - from) };
  const some = list.slice(0, CALL_COUNT);
  await warm(() => many(pool, some.slice(0, 2000)));
  result.many = await rate(CALL_COUNT, () => many(pool, some));
  await warm(() => pool.map(square, some.slice(0, 2000), { chunkSize: 1 }));
  result.single = await rate(CALL_COUNT, () => pool.map(square, some, { chunkSize: 1 }));
  await warm(() => pool.apply(square, [1]));
  result.trips = await rate(ROUND_TRIPS, async () => {
    for (let i = 0; i < ROUND_TRIPS; i++) await pool.apply(square, [i]);
  });
  await warm(() => pool.map(square, list));
  result.map = await rate(MAP_ITEMS, () => pool.map(square, list));
  result.imap = await rate(MAP_ITEMS / 4, async () => {
    for await (const _ of pool.imap(square, list.slice(0, MAP_ITEMS / 4)));
  });
  const bytes = new Float64Array(1_000_000);
  result.arrays = await rate((ARRAY_COUNT * bytes.byteLength) / 1e9, async () => {
    for (let i = 0; i < ARRAY_COUNT; i++) await pool.apply(length, [bytes]);
  });
  await pool.terminate();
  return result;
}

async function many(pool, inputs) {
  const results = inputs.map((i) => pool.apply(square, [i]));
  for (const result of results) await result;
}

/** A pool as most are: over the IPC channel of Node, with one task at a time for each worker. */
async function ipc() {
  const from = performance.now();
  const children = [fork(here("./ipc-worker.mjs")), fork(here("./ipc-worker.mjs"))];
  const done = children.map(() => () => {});
  for (const [i, child] of children.entries()) child.on("message", (value) => done[i](value));
  const call = (i, x) =>
    new Promise((resolve) => {
      done[i] = resolve;
      children[i].send(x);
    });
  await Promise.all([call(0, 1), call(1, 1)]);
  const result = { ready: 1000 / (performance.now() - from) };
  await warm(() => Promise.all([call(0, 1), call(1, 1)]));
  result.many = result.single = await rate(CALL_COUNT / 5, async () => {
    let next = 0;
    await Promise.all(
      children.map(async (_, i) => {
        while (next < CALL_COUNT / 5) await call(i, next++);
      }),
    );
  });
  result.trips = await rate(ROUND_TRIPS, async () => {
    for (let i = 0; i < ROUND_TRIPS; i++) await call(0, i);
  });
  for (const child of children) child.disconnect();
  return result;
}

function python() {
  try {
    return JSON.parse(
      execFileSync("python3", [here("./pool.py"), ...[CALL_COUNT, ROUND_TRIPS, MAP_ITEMS, ARRAY_COUNT].map(String)], {
        encoding: "utf8",
      }),
    );
  } catch {
    return undefined;
  }
}

const runs = { ours: [], python: [], ipc: [] };
for (let round = 0; round < rounds; round++) {
  runs.ours.push(await ours());
  runs.python.push(python());
  if (!("Deno" in globalThis)) runs.ipc.push(await ipc());
}
const median = (contender, key) => {
  const values = runs[contender].map((result) => result?.[key]).filter(Number.isFinite);
  return values.sort((a, b) => a - b)[values.length >> 1];
};
const rows = [
  ["many calls at once", "many", (r) => `${(r / 1000).toFixed(0)} k/s`],
  ["map, chunks of one", "single", (r) => `${(r / 1000).toFixed(0)} k/s`],
  ["one call at a time", "trips", (r) => `${(1e6 / r).toFixed(0)} µs`],
  ["map of a million numbers", "map", (r) => `${(r / 1e6).toFixed(2)} M/s`],
  ["imap of numbers", "imap", (r) => `${(r / 1000).toFixed(0)} k/s`],
  ["8 MB arrays", "arrays", (r) => `${r.toFixed(2)} GB/s`],
  ["ready for work", "ready", (r) => `${(1000 / r).toFixed(0)} ms`],
];
console.log(
  `${"".padEnd(26)}${"ours".padStart(12)}${"Python".padStart(12)}${"IPC".padStart(12)}  ours/Python   ours/IPC`,
);
for (const [title, key, show] of rows) {
  const [o, p, i] = ["ours", "python", "ipc"].map((contender) => median(contender, key));
  const cell = (value) => (value === undefined ? "-" : show(value)).padStart(12);
  const ratio = (value) => (value === undefined ? "-" : `${(o / value).toFixed(1)} ×`).padStart(11);
  console.log(`${title.padEnd(26)}${cell(o)}${cell(p)}${cell(i)}  ${ratio(p)}${ratio(i)}`);
}
// The last line, for `npm run bench`.
if (process.argv.includes("--json")) {
  const names = { ours: "multiproc", python: "Python", ipc: "child_process IPC" };
  const units = { map: "numbers/s", imap: "numbers/s", arrays: "GB/s", ready: "pools/s" };
  const all = rows.flatMap(([title, key]) =>
    Object.entries(names).map(([contender, who]) => ({
      case: `Pool: ${title}`,
      who,
      unit: units[key] ?? "calls/s",
      values: runs[contender].map((run) => run?.[key]),
    })),
  );
  console.log(JSON.stringify(all));
}
