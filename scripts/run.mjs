/** Runs commands, and ends this process if one fails. */
import { spawnSync } from "node:child_process";
import { realpathSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";

export function run(command, args, failure, options = {}) {
  const { status, error } = spawnSync(command, args, { stdio: "inherit", ...options });
  if (status !== 0) fail(error ? `${failure}: ${error.message}` : failure);
}

export function fail(message) {
  console.error(message);
  process.exit(1);
}

/** Whether a module is the program that was started, and not an import of it. */
export function isProgram(url) {
  return Boolean(process.argv[1]) && realpathSync(process.argv[1]) === fileURLToPath(url);
}
