/** The example and some suites in an environment like AWS Lambda: without /dev/shm, with little memory and disk. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, test } from "vitest";

const WRAPPER = resolve("examples/lambda-parallel/as-on-lambda.sh");
const SUITES = ["packages/queue/test/queue.test.ts", "packages/pool/test/calls.test.ts"];
/** Lands with the packages of these names. */
const OWN_MEMORY = ["sync", "shared-memory"];
const LIMIT = 5 * 60_000;

const possible = process.platform === "linux" && run(["sh", "-c", "exit 0"]).status === 0;
// CI must be able to run this, so there it fails instead of being skipped.
const reason = possible || process.env.CI ? "" : " (skipped: it takes root on Linux, and mount namespaces)";

describe.skipIf(reason)(`without /dev/shm, with 512 MB of /tmp and 1,024 descriptors${reason}`, () => {
  test("the environment has no /dev/shm, but has this folder", () => {
    const { stdout } = run(["sh", "-c", "ls -d /dev/shm; df -m /tmp | tail -1; ulimit -n; ls package.json"]);
    expect(stdout).toMatch(/^tmp\s+512\s.*\n1024\npackage\.json\n$/);
  });

  test(
    "the example works on Node and on Deno: processes and pipes, queues, a pool",
    () => {
      const env = { EC2_LATENCY: "50", AWS_ACCESS_KEY_ID: "" };
      const events = ["processes", "queue", "pool"].map((mode) =>
        JSON.stringify({ mode, instances: ["i-00000000000000001"] }),
      );
      const onNode = run([process.execPath, "examples/lambda-parallel/invoke.js", ...events], env);
      expect(onNode.status, onNode.stdout + onNode.stderr).toBe(0);
      expect(onNode.stdout.match(/: 32 GB in the volumes of 1 instances/g)).toHaveLength(3);
      const deno = [resolve("node_modules/.bin/deno"), "run", "-A", "--no-check", "--quiet"];
      const onDeno = run([...deno, "examples/lambda-parallel/invoke.js", events[2] ?? ""], env);
      expect(onDeno.stdout, onDeno.stderr).toContain("pool: 32 GB in the volumes of 1 instances");
    },
    LIMIT,
  );

  test(
    "the suites of queues, pools, locks and shared memory pass",
    () => {
      const more = OWN_MEMORY.filter((name) => existsSync(`packages/${name}/test`)).map(
        (name) => `packages/${name}/test/`,
      );
      const vitest = run([process.execPath, "node_modules/vitest/vitest.mjs", "run", ...SUITES, ...more]);
      expect(vitest.status, vitest.stdout + vitest.stderr).toBe(0);
    },
    LIMIT,
  );

  test.each([
    [128, 1],
    [1769, 1],
    [10_240, 6],
  ])("cpuCount() returns the CPUs that %i MB of memory include", (megabytes, bought) => {
    const code = `import("@multiproc/core").then(({ cpuCount }) => console.log(cpuCount(), require("os").availableParallelism()))`;
    const { stdout } = run(
      [process.execPath, "--eval", code],
      { AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(megabytes) },
      "packages/pool",
    );
    const [count = 0, visible = 0] = stdout.split(" ").map(Number);
    expect(count).toBe(Math.min(bought, visible, quota()));
  });
});

/** Returns the CPUs that the control group of this machine allows. */
function quota(): number {
  const file = "/sys/fs/cgroup/cpu.max";
  const [max, period] = existsSync(file) ? readFileSync(file, "utf8").trim().split(" ").map(Number) : [];
  return max && period ? Math.max(1, Math.round(max / period)) : Number.POSITIVE_INFINITY;
}

function run(
  command: string[],
  env: Record<string, string> = {},
  cwd?: string,
): { status: number | null; stdout: string; stderr: string } {
  const options = { encoding: "utf8" as const, timeout: LIMIT, cwd, env: { ...process.env, ...env } };
  return spawnSync("sh", [WRAPPER, ...command], options);
}
