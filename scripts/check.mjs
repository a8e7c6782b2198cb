/**
 * npm run check: everything about the repository that is not a test, through turbo: two checks at a time, and one whose
 * inputs have not changed is answered from turbo's cache, except in CI.
 *
 *   npm run check -- [names of checks: types, lint, docs …]
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import process from "node:process";
import { setup } from "./setup.mjs";

const RUNS = ".turbo/runs";

await setup();
const { scripts } = JSON.parse(readFileSync("package.json", "utf8"));
const wanted = process.argv.slice(2).map((name) => `check:${name}`);
const checks = Object.keys(scripts).filter(
  (name) => name.startsWith("check:") && (wanted.length === 0 || wanted.includes(name)),
);

rmSync(RUNS, { recursive: true, force: true });
const args = [
  "run",
  ...checks,
  "--continue",
  "--concurrency=2",
  "--output-logs=errors-only",
  "--log-order=grouped",
  "--summarize",
];
const { status } = spawnSync(
  process.execPath,
  ["node_modules/turbo/bin/turbo", ...args, ...(process.env.CI ? ["--force"] : [])],
  {
    stdio: ["ignore", "inherit", "inherit"],
    env: {
      ...process.env,
      TURBO_TELEMETRY_DISABLED: "1",
      TURBO_NO_UPDATE_NOTIFIER: "1",
      npm_config_loglevel: "silent",
    },
  },
);

for (const { task, execution, cache } of summary()) {
  const time =
    cache.status === "HIT" ? "unchanged" : `${((execution.endTime - execution.startTime) / 1000).toFixed(1)} s`;
  console.log(`${execution.exitCode === 0 ? "✓" : "✗"} ${task.replace("check:", "")} (${time})`);
}
process.exitCode = status ?? 1;

function summary() {
  const [file] = readdirSync(RUNS);
  return JSON.parse(readFileSync(`${RUNS}/${file}`, "utf8")).tasks.filter(
    ({ task, execution }) => checks.includes(task) && execution,
  );
}
