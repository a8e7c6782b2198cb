// Pipes against Python's `multiprocessing.Pipe` and, on Node, the IPC channel of `child_process`.
//
//   npm run build && node packages/pipe/bench/pipe.mjs [--rounds=5]
//   npx deno run -A packages/pipe/bench/pipe.mjs
//
// All contenders take turns. The table shows the median of the rounds, and its ratio to Python.
import { execFileSync, fork } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { fromModule } from "@multiproc/core";
import { pipe } from "@multiproc/pipe";
import { Process } from "@multiproc/process";

const rounds = Number(process.argv.find((flag) => flag.startsWith("--rounds="))?.slice(9) ?? 5);
const localPath = (name) => fileURLToPath(new URL(name, import.meta.url));
const { peer } = fromModule(new URL("./peer.mjs", import.meta.url));
const SMALL_MESSAGE_COUNT = 1_000_000;
const ROUND_TRIP_COUNT = 10_000;
/** Messages in each direction before the measurement, so that the JIT has compiled both sides. */
const WARM_UP_MESSAGE_COUNT = 1_000_000;
const WARM_UP_TRIP_COUNT = 10_000;
const LARGE_MESSAGE_BYTES = 8 * 1024 * 1024;
const LARGE_MESSAGE_COUNT = 100;

async function multiprocPipe() {
  const counts = {
    warm: WARM_UP_MESSAGE_COUNT,
    warmTrips: WARM_UP_TRIP_COUNT,
    small: SMALL_MESSAGE_COUNT,
    trips: ROUND_TRIP_COUNT,
    larges: LARGE_MESSAGE_COUNT,
  };
  const [connection, there] = pipe();
  const child = new Process({ target: peer, args: [there, counts] });
  await child.start();
  await connection.recv(); // the child is ready
  const result = {};
  for (let id = 0; id < WARM_UP_MESSAGE_COUNT; id++) await connection.send({ id, x: 1 });
  await connection.recv();
  await connection.sendMany(values(WARM_UP_MESSAGE_COUNT));
  await connection.recv();
  for (let i = 0; i < WARM_UP_TRIP_COUNT; i++) {
    await connection.send(i);
    await connection.recv();
  }
  result.small = await rate(SMALL_MESSAGE_COUNT, async () => {
    for (let id = 0; id < SMALL_MESSAGE_COUNT; id++) await connection.send({ id, x: 1 });
    await connection.recv();
  });
  result.many = await rate(SMALL_MESSAGE_COUNT, async () => {
    await connection.sendMany(values(SMALL_MESSAGE_COUNT));
    await connection.recv();
  });
  result.trips = await rate(ROUND_TRIP_COUNT, async () => {
    for (let i = 0; i < ROUND_TRIP_COUNT; i++) {
      await connection.send(i);
      await connection.recv();
    }
  });
  const bytes = new Uint8Array(LARGE_MESSAGE_BYTES);
  for (let i = 0; i < LARGE_MESSAGE_COUNT; i++) await connection.sendBytes(bytes);
  await connection.recv();
  result.bulk = await rate((LARGE_MESSAGE_COUNT * LARGE_MESSAGE_BYTES) / 1e9, async () => {
    for (let i = 0; i < LARGE_MESSAGE_COUNT; i++) await connection.sendBytes(bytes);
    await connection.recv();
  });
  connection.close();
  await child.join();
  return result;
}

function* values(count) {
  for (let id = 0; id < count; id++) yield { id, x: 1 };
}

/** Node's own way: JSON messages over the IPC channel of a child process. */
async function nodeIpc() {
  const child = fork(localPath("./ipc-peer.mjs"));
  const next = () => new Promise((resolve) => child.once("message", resolve));
  await next();
  const result = {};
  for (let i = 0; i < WARM_UP_TRIP_COUNT; i++) {
    const back = next();
    child.send(i);
    await back;
  }
  result.small = await rate(SMALL_MESSAGE_COUNT / 4, async () => {
    for (let id = 0; id < SMALL_MESSAGE_COUNT / 4; id++)
      if (!child.send({ id, x: 1 })) await new Promise((resolve) => child.send({ id, x: 1 }, resolve));
    const done = next();
    child.send("end");
    await done;
  });
  result.trips = await rate(ROUND_TRIP_COUNT, async () => {
    for (let i = 0; i < ROUND_TRIP_COUNT; i++) {
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
    execFileSync("python3", [
      localPath("./pipe.py"),
      String(SMALL_MESSAGE_COUNT / 4),
      String(ROUND_TRIP_COUNT),
      String(LARGE_MESSAGE_BYTES),
      String(LARGE_MESSAGE_COUNT),
    ]),
  );

async function rate(count, run) {
  const start = performance.now();
  await run();
  return (count * 1000) / (performance.now() - start);
}

/** The others have one way to send, which waits only if there is no room. It counts for both. */
const withoutSendMany = (run) => async () => {
  const result = await run();
  return { ...result, many: result.small };
};

const competitors = {
  multiproc: multiprocPipe,
  "Python Pipe": withoutSendMany(python),
  ...(globalThis.Deno ? {} : { "child_process IPC": withoutSendMany(nodeIpc) }),
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
// `npm run bench` reads the last line.
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
