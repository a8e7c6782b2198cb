/**
 * npm start [-- DIRECTORY]: the main job on Node. npm run start:deno [-- DIRECTORY]: the same program on Deno.
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

// The program says how it ends. A terminal's Ctrl+C reaches it without help; twice would be one too many.
for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) {
  process.on(signal, () => {
    if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
  });
}
child.on("exit", (code, signal) => {
  process.exitCode = code ?? 128 + constants.signals[signal];
});
