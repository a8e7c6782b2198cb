/**
 * npm start [-- DIRECTORY]: runs the word-count example on Node. npm run start:deno [-- DIRECTORY]: on Deno.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import process from "node:process";
import { setup } from "./setup.mjs";

const PROGRAM = "examples/word-count/main.js";

await setup();
if (!existsSync(PROGRAM)) {
  console.error(`There is no main job yet: ${PROGRAM} is missing`);
  process.exit(1);
}

const [first, ...rest] = process.argv.slice(2);
const onDeno = first === "--deno";
const args = onDeno ? rest : process.argv.slice(2);
const [command, ...before] = onDeno ? ["node_modules/.bin/deno", "run", "-A", "--no-check"] : [process.execPath];
const child = spawn(command, [...before, PROGRAM, ...args], { stdio: "inherit" });

// The program decides how it ends. A terminal sends Ctrl+C to it directly; forwarding would send it twice.
for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) {
  process.on(signal, () => {
    if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
  });
}
child.on("exit", (code, signal) => {
  process.exitCode = code ?? 128 + constants.signals[signal];
});
