// Pipes against Python's `multiprocessing.Pipe` and, on Node, the IPC channel of `child_process`.
//
//   npm run build && node packages/pipe/bench/pipe.mjs [--rounds=5]
//   npx deno run -A packages/pipe/bench/pipe.mjs
//
// All take turns; the table holds medians over the rounds, and how many times Python's rate that is.
import { execFileSync, fork } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { fromModule } from "@multiproc/core";
import { pipe } from "@multiproc/pipe";
import { Process } from "@multiproc/process";

const rounds = Number(process.argv.find((flag) => flag.startsWith("--rounds="))?.slice(9) ?? 5);
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const { peer } = fromModule(new URL("./peer.mjs", import.meta.url));
const SMALL = 1_000_000;
const TRIPS = 10_000;
/** So many messages each way go before what is measured, until what runs often is compiled on both sides. */
const WARM = 1_000_000;
const WARM_TRIPS = 10_000;
const LARGE = 8 * 1024 * 1024;
const LARGES = 100;

async function ours() {
  const counts = { warm: WARM, warmTrips: WARM_TRIPS, small: SMALL, trips: TRIPS, larges: LARGES };
  const [connection, there] = pipe();
  const child = new Process({ target: peer, args: [there, counts] });
  await child.start();
  await connection.recv(); // it is up
  const result = {};
  // Both sides compile what they do often: one that lives for a while does it once.
  for (let id = 0; id < WARM; id++) await connection.send({ id, x: 1 });
  await connection.recv();
  await connection.sendMany(values(WARM));
  await connection.recv();
  for (let i = 0; i < WARM_TRIPS; i++) {
    await connection.send(i);
    await connection.recv();
  }
  result.small = await rate(SMALL, async () => {
    for (let id = 0; id < SMALL; id++) await connection.send({ id, x: 1 });
    await connection.recv();
  });
  result.many = await rate(SMALL, async () => {
    await connection.sendMany(values(SMALL));
    await connection.recv();
  });
  result.trips = await rate(TRIPS, async () => {
    for (let i = 0; i < TRIPS; i++) {
      await connection.send(i);
      await connection.recv();
    }
  });
  const bytes = new Uint8Array(LARGE);
  for (let i = 0; i < LARGES; i++) await connection.sendBytes(bytes);
  await connection.recv();
  result.bulk = await rate((LARGES * LARGE) / 1e9, async () => {
    for (let i = 0; i < LARGES; i++) await connection.sendBytes(bytes);
    await connection.recv();
  });
  connection.close();
  await child.join();
  return result;
}

function* values(count) {
  for (let id = 0; id < count; id++) yield { id, x: 1 };
}

/** What Node itself offers: messages as JSON over the channel of a forked child. */
async function ipc() {
  const child = fork(here("./ipc-peer.mjs"));
  const next = () => new Promise((resolve) => child.once("message", resolve));
  await next();
  const result = {};
  for (let i = 0; i < WARM_TRIPS; i++) {
    const back = next();
    child.send(i);
    await back;
  }
  result.small = await rate(SMALL / 4, async () => {
    for (let id = 0; id < SMALL / 4; id++)
      if (!child.send({ id, x: 1 })) await new Promise((resolve) => child.send({ id, x: 1 }, resolve));
    const done = next();
    child.send("end");
    await done;
  });
  result.trips = await rate(TRIPS, async () => {
    for (let i = 0; i < TRIPS; i++) {
      const back = next();
      child.send(i);
      await back;
    }
  });
  child.disconnect();
  await new Promise((resolve) => child.once("exit", resolve));
  return result;
}

const python = () =>
  JSON.parse(
    execFileSync("python3", [here("./pipe.py"), String(SMALL / 4), String(TRIPS), String(LARGE), String(LARGES)]),
  );

async function rate(count, run) {
  const start = performance.now();
  await run();
  return (count * 1000) / (performance.now() - start);
}

/** Theirs have one way to send, in which nothing is awaited while there is room. */
const oneWay = (run) => async () => {
  const result = await run();
  return { ...result, many: result.small };
};

const competitors = {
  multiproc: ours,
  "Python Pipe": oneWay(python),
  ...(globalThis.Deno ? {} : { "child_process IPC": oneWay(ipc) }),
};
const results = new Map(Object.keys(competitors).map((name) => [name, []]));
for (let round = 0; round < rounds; round++) {
  for (const [name, run] of Object.entries(competitors)) results.get(name).push(await run());
}

const median = (name, field) =>
  results
    .get(name)
    .map((result) => result[field])
    .sort((a, b) => a - b)[rounds >> 1];
console.log(`${globalThis.Deno ? `Deno ${Deno.version.deno}` : `Node ${process.version}`}, ${rounds} rounds`);
const units = {
  many: "small messages one way, by sendMany() and recvMany(), k/s",
  small: "small messages one way, each send() awaited, k/s",
  trips: "round trips, k/s",
  bulk: "8 MiB messages, GB/s",
};
for (const [field, unit] of Object.entries(units)) {
  console.log(unit);
  for (const name of results.keys()) {
    const value = median(name, field);
    if (value === undefined) continue;
    const shown = field === "bulk" ? value.toFixed(2) : (value / 1000).toFixed(1);
    console.log(`  ${name.padEnd(20)} ${shown.padStart(10)}   ${(value / median("Python Pipe", field)).toFixed(2)} ×`);
  }
}
// The last line, for `npm run bench`.
if (process.argv.includes("--json")) {
  const names = {
    many: ["small messages one way, sendMany to recvMany", "messages/s"],
    small: ["small messages one way", "messages/s"],
    trips: ["round trips", "trips/s"],
    bulk: ["8 MiB messages", "GB/s"],
  };
  const rows = Object.entries(names).flatMap(([field, [title, unit]]) =>
    [...results].map(([who, runs]) => ({
      case: `Pipe: ${title}`,
      who: who.replace("Python Pipe", "Python"),
      unit,
      values: runs.map((run) => run[field]),
    })),
  );
  console.log(JSON.stringify(rows));
}
