/** Running a command, or ending with its failure. */
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

/** Whether a module is the program that was started, and not one that this imports. */
export function isProgram(url) {
  return Boolean(process.argv[1]) && realpathSync(process.argv[1]) === fileURLToPath(url);
}
