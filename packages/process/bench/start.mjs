// Starts a trivial process and waits for its end, against the bare host with an empty module.
//
//   npm run build && node packages/process/bench/start.mjs [--rounds=20] [--json]
//   npx deno run -A packages/process/bench/start.mjs
//
// Both take turns. The table shows medians in milliseconds, and the middle half of the rounds.
import { fork } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { fromModule } from "@multiproc/core";
import { Process } from "@multiproc/process";

const rounds = Number(process.argv.find((flag) => flag.startsWith("--rounds="))?.slice(9) ?? 20);
const empty = fileURLToPath(new URL("./empty.mjs", import.meta.url));
const { nothing } = fromModule(new URL("./nothing.mjs", import.meta.url));

const competitors = {
  [globalThis.Deno ? "Deno.Command of an empty module" : "child_process.fork of an empty module"]: bare,
  "Process: start and join": async () => {
    const child = new Process({ target: nothing });
    await child.start();
    await child.join();
  },
};

async function bare() {
  if (globalThis.Deno) await new Deno.Command(Deno.execPath(), { args: ["run", "-A", empty] }).spawn().status;
  else await new Promise((resolve) => fork(empty).once("exit", resolve));
}

const times = new Map(Object.keys(competitors).map((name) => [name, []]));
for (let round = -2; round < rounds; round++) {
  for (const [name, run] of Object.entries(competitors)) {
    const start = performance.now();
    await run();
    if (round >= 0) times.get(name).push(performance.now() - start);
  }
}

const median = (name, q = 0.5) => times.get(name).sort((a, b) => a - b)[Math.floor(rounds * q)];
const [first] = times.keys();
console.log(`${globalThis.Deno ? `Deno ${Deno.version.deno}` : `Node ${process.version}`}, ${rounds} rounds`);
for (const name of times.keys()) {
  const text = [median(name), median(name, 0.25), median(name, 0.75)].map((ms) => ms.toFixed(1));
  console.log(
    `${name.padEnd(40)} ${text[0]} ms (${text[1]}–${text[2]})  ${(median(name) / median(first)).toFixed(2)} ×`,
  );
}
// The last line, for `npm run bench`.
if (process.argv.includes("--json")) {
  const rows = [...times].map(([name, values]) => ({
    case: "Start: a Process by spawn, until joined",
    who: name.startsWith("Process") ? "multiproc" : name,
    unit: "ms",
    values,
  }));
  console.log(JSON.stringify(rows));
}
