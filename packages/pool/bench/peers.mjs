// The pool against the pools of Node: many tasks at once, one at a time, and arrays of 8 MB there
// and back.
//
//   npm run build && node packages/pool/bench/peers.mjs [--rounds=3]
//
// The pools take turns. The table shows medians over the rounds. Each pool has two workers:
// processes if it can, otherwise threads (piscina, with 64 concurrent tasks each). Arrays are
// measured for pools of processes only.
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Pool } from "@multiproc/pool";
import { Worker as JestWorker } from "jest-worker";
import Piscina from "piscina";
import { FixedClusterPool, FixedThreadPool } from "poolifier";
import Tinypool from "tinypool";
import workerpool from "workerpool";
import { rate, warm } from "./measure.mjs";
import { echo, square } from "./tasks.mjs";

const rounds = Number(process.argv.find((flag) => flag.startsWith("--rounds="))?.slice(9) ?? 3);
const CALL_COUNT = 20_000;
const ROUND_TRIPS = 1000;
const ARRAY_COUNT = 100;
const HANG_TIMEOUT_MS = 30_000;
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const filename = here("./peer-functions.mjs");
const threadLimits = { minThreads: 2, maxThreads: 2 };

/** How each pool is created, called and ended. `isProcess` is true if its workers are processes. */
const POOLS = {
  multiproc: () => {
    const pool = new Pool({ processes: 2 });
    return {
      call: (name, value) => pool.apply(name === "square" ? square : echo, [value]),
      end: () => pool.terminate(),
      isProcess: true,
    };
  },
  "piscina, threads": () => {
    const pool = new Piscina({ filename, maxQueue: Infinity, ...threadLimits, concurrentTasksPerWorker: 64 });
    return { call: (name, value) => pool.run({ name, value }), end: () => pool.destroy() };
  },
  "tinypool, processes": () => {
    const pool = new Tinypool({
      filename,
      maxQueue: Infinity,
      runtime: "child_process",
      serialization: "advanced",
      ...threadLimits,
    });
    return { call: (name, value) => pool.run({ name, value }), end: () => pool.destroy(), isProcess: true };
  },
  "workerpool, processes": () => {
    const pool = workerpool.pool(here("./peer-workerpool.mjs"), {
      workerType: "process",
      maxWorkers: 2,
      forkOpts: { serialization: "advanced" },
    });
    return { call: (name, value) => pool.exec(name, [value]), end: () => pool.terminate(true), isProcess: true };
  },
  "poolifier, threads": () => {
    const pool = new FixedThreadPool(2, here("./peer-poolifier.mjs"));
    return { call: (name, value) => pool.execute({ name, value }), end: () => pool.destroy() };
  },
  "poolifier, cluster": () => {
    const pool = new FixedClusterPool(2, here("./peer-poolifier-cluster.mjs"), {
      settings: { serialization: "advanced" },
    });
    return { call: (name, value) => pool.execute({ name, value }), end: () => pool.destroy(), isProcess: true };
  },
  "jest-worker": () => {
    const pool = new JestWorker(filename, { numWorkers: 2, exposedMethods: ["square", "echo"] });
    return { call: (name, value) => pool[name](value), end: () => pool.end(), isProcess: true };
  },
};

async function measure(make) {
  const { call, end, isProcess } = make();
  const result = {};
  // A pool that hangs has no further values.
  const late = new Promise((resolve) => setTimeout(resolve, HANG_TIMEOUT_MS, result).unref());
  return await Promise.race([late, run({ call, end, isProcess }, result)]);
}

async function run({ call, end, isProcess }, result) {
  try {
    const many = (count) => Promise.all(Array.from({ length: count }, (_, i) => call("square", i)));
    await warm(() => many(CALL_COUNT));
    result.many = await rate(CALL_COUNT, () => many(CALL_COUNT));
    await warm(() => call("square", 1));
    result.trips = await rate(ROUND_TRIPS, async () => {
      for (let i = 0; i < ROUND_TRIPS; i++) await call("square", i);
    });
    if (isProcess === true) {
      const array = new Float64Array(1_000_000);
      const arrays = (count) => Promise.all(Array.from({ length: count }, () => call("echo", array)));
      await arrays(ARRAY_COUNT); // first touch: the system has to provide new memory pages
      result.arrays = await rate(ARRAY_COUNT, () => arrays(ARRAY_COUNT));
    }
    return result;
  } catch (error) {
    console.error(error);
    return result;
  } finally {
    await end();
  }
}

const only = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const names = Object.keys(POOLS).filter((name) => only.length === 0 || only.some((word) => name.startsWith(word)));
const runs = Object.fromEntries(names.map((name) => [name, []]));
for (let round = 0; round < rounds; round++) for (const name of names) runs[name].push(await measure(POOLS[name]));
const median = (name, key) => {
  const values = (runs[name] ?? []).map((result) => result[key]).filter(Number.isFinite);
  return values.sort((a, b) => a - b)[values.length >> 1];
};
const own = (key) => median("multiproc", key);
console.log(
  `${"".padEnd(24)}${"many at once".padStart(20)}${"one at a time".padStart(20)}${"8 MB arrays".padStart(20)}`,
);
for (const name of names) {
  const cell = (key, show) => {
    const value = median(name, key);
    const text = value === undefined ? "-" : `${show(value)}  ${((own(key) ?? Number.NaN) / value).toFixed(1)} ×`;
    return text.padStart(20);
  };
  const k = (value) => `${(value / 1000).toFixed(1)} k/s`;
  const micro = (value) => `${(1e6 / value).toFixed(0)} µs`;
  const each = (value) => `${value.toFixed(1)} /s`;
  console.log(`${name.padEnd(24)}${cell("many", k)}${cell("trips", micro)}${cell("arrays", each)}`);
}
// The last line, for `npm run bench`.
if (process.argv.includes("--json")) {
  const cases = {
    many: ["many at once", "calls/s"],
    trips: ["one at a time", "calls/s"],
    arrays: ["8 MB arrays there and back", "arrays/s"],
  };
  const note = (who, key) => (key === "arrays" && who.endsWith(", threads") ? "not run" : "hung");
  const rows = Object.entries(cases).flatMap(([key, [title, unit]]) =>
    names.map((who) => {
      const values = runs[who].map((run) => run[key]).filter(Number.isFinite);
      return { case: `Pools of Node: ${title}`, who, unit, values, ...(values.length ? {} : { note: note(who, key) }) };
    }),
  );
  console.log(JSON.stringify(rows));
}
// A pool that hangs must not keep the benchmark alive.
process.exit();
