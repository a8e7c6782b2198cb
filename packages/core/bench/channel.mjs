/**
 * The channel benchmark: a channel against Python's `multiprocessing.Pipe` and, on Node, the IPC of
 * `child_process`.
 *
 *   npm run build && node packages/core/bench/channel.mjs [--rounds=5] [--json]
 *   npx deno run -A packages/core/bench/channel.mjs
 *
 * Each contender sends small objects one way to another process, which decodes them all. The
 * contenders take turns. The output shows medians.
 */
import { execFileSync, spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { exposeEndpoint } from "@multiproc/core/internal";

const rounds = Number(process.argv.find((flag) => flag.startsWith("--rounds="))?.slice(9) ?? 5);
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const COUNT = 1_000_000;
const interpreter = globalThis.Deno ? [Deno.execPath(), "run", "-A"] : [process.execPath];

async function multiprocChannel() {
  let arrived;
  const arrival = new Promise((resolve) => (arrived = resolve));
  const answers = [];
  const address = exposeEndpoint(
    (channel) => {
      channel.start({ message: (frame) => answers.shift()?.(channel.decode(frame)), closed: () => {} });
      arrived(channel);
    },
    { channel: { shapes: "dictionary" } },
  );
  const [file, ...before] = interpreter;
  const child = spawn(file, [...before, here("./channel-peer.mjs"), address.socketPath, address.token, String(COUNT)], {
    stdio: "inherit",
  });
  const channel = await arrival;
  const done = new Promise((resolve) => answers.push(resolve));
  const start = performance.now();
  for (let id = 0; id < COUNT; id++) {
    channel.send(1, { id, x: 1 });
    if (channel.full) await channel.drained();
  }
  await done;
  const rate = (COUNT * 1000) / (performance.now() - start);
  channel.end();
  await new Promise((resolve) => child.once("exit", resolve));
  return rate;
}

async function ipc() {
  const child = spawn(process.execPath, [here("./ipc-peer.mjs")], { stdio: ["inherit", "inherit", "inherit", "ipc"] });
  const next = () => new Promise((resolve) => child.once("message", resolve));
  await next();
  const count = COUNT / 10;
  const start = performance.now();
  for (let id = 0; id < count; id++)
    if (!child.send({ id, x: 1 })) await new Promise((resolve) => child.send({ id, x: 1 }, resolve));
  const done = next();
  child.send("end");
  await done;
  const rate = (count * 1000) / (performance.now() - start);
  child.disconnect();
  await new Promise((resolve) => child.once("exit", resolve));
  return rate;
}

const python = () => Number(execFileSync("python3", [here("./pipe.py"), String(COUNT / 10)]));

const competitors = {
  "channel over sockets": multiprocChannel,
  "Python Pipe": python,
  ...(globalThis.Deno ? {} : { "child_process IPC": ipc }),
};
const results = new Map(Object.keys(competitors).map((name) => [name, []]));
for (let round = 0; round < rounds; round++) {
  for (const [name, run] of Object.entries(competitors)) results.get(name).push(await run());
}
const quantile = (name, q) => results.get(name).sort((a, b) => a - b)[Math.floor(rounds * q)];
console.log(
  `${globalThis.Deno ? `Deno ${Deno.version.deno}` : `Node ${process.version}`}, ${rounds} rounds, small objects one way`,
);
for (const name of results.keys()) {
  const [low, middle, high] = [0.25, 0.5, 0.75].map((q) => `${(quantile(name, q) / 1000).toFixed(0)}`);
  const ratio = quantile("channel over sockets", 0.5) / quantile(name, 0.5);
  console.log(
    `  ${name.padEnd(24)} ${middle.padStart(6)} k/s (${low}–${high})   the channel is ${ratio.toFixed(1)} times as fast`,
  );
}
// `npm run bench` reads the last line.
if (process.argv.includes("--json")) {
  const rows = [...results].map(([name, values]) => ({
    case: "Channel: small objects one way",
    who: name === "channel over sockets" ? "multiproc" : name.replace("Python Pipe", "Python"),
    unit: "messages/s",
    values,
  }));
  console.log(JSON.stringify(rows));
}
