/** Running a command, or ending with its failure. */
import { spawnSync } from "node:child_process";
import process from "node:process";

export function run(command, args, failure, options = {}) {
  const { status, error } = spawnSync(command, args, { stdio: "inherit", ...options });
  if (status !== 0) fail(error ? `${failure}: ${error.message}` : failure);
}

export function fail(message) {
  console.error(message);
  process.exit(1);
}
