/**
 * Starts many children by `forkserver`, four at a time. Each allocates 50 MB, collects garbage,
 * compiles code, uses timers and files, and returns a result. One in twenty is killed before it ends. The
 * program prints lost results, and fails if there are any.
 *
 *   npm run build && node packages/process/bench/stress.mjs [--count=2000]
 */
import process from "node:process";
import { fromModule } from "@multiproc/core";
import { pipe } from "@multiproc/pipe";
import { Process } from "@multiproc/process";
import { forkserverKind, setForkserverPreload } from "@multiproc/start-methods";

const count = Number(process.argv.find((flag) => flag.startsWith("--count="))?.slice(8) ?? 2000);
const module = new URL("stress-tasks.mjs", import.meta.url);
const { work } = fromModule(module);
const RESULT_TIMEOUT_MS = 60_000;

setForkserverPreload([module]);
const { kind, reason } = await forkserverKind();
console.log(`${process.versions.node ? `Node ${process.version}` : "Deno"}: ${kind} ${reason ?? ""}`);
const wrong = [];
const ids = Array.from({ length: count }, (_, i) => i).values();
const began = performance.now();
await Promise.all(Array.from({ length: 4 }, runSome));
console.log(`${count} children in ${((performance.now() - began) / 1000).toFixed(0)} s, wrong: ${wrong.length}`);
for (const line of wrong.slice(0, 20)) console.log(line);
process.exit(wrong.length > 0 ? 1 : 0);

async function runSome() {
  for (const id of ids) {
    try {
      const problem = await runOne(id);
      if (problem !== undefined) wrong.push(`${id}: ${problem}`);
    } catch (error) {
      wrong.push(`${id}: ${error.stack}`);
    }
  }
}

async function runOne(id) {
  const isKilled = id % 20 === 7;
  const [here, there] = pipe({ duplex: false });
  const child = new Process({ target: work, args: [id, there], startMethod: "forkserver" });
  await child.start();
  if (isKilled) child.kill();
  const result = await here.recv({ timeout: RESULT_TIMEOUT_MS }).catch((error) => error);
  const exitCode = await child.join({ timeout: RESULT_TIMEOUT_MS });
  here.close();
  if (isKilled) return exitCode === -9 ? undefined : `killed, and ended with ${exitCode}`;
  if (exitCode !== 0) return `exit code ${exitCode}, result ${result}`;
  return result === id * 2 ? undefined : `result ${result}`;
}
