/**
 * The self-test of forking. Before the first real child, a *probe* child uses everything that
 * children need.
 *
 * Its result, not the version of Node, decides whether this process can be forked.
 */

import { type ForkRefusal, refusal } from "../host/fork-refusal.ts";
import { SIGKILL } from "../native/linux.ts";
import type { Native } from "../native/native.ts";
import { collectGarbage } from "./collect-garbage.ts";
import type { Forker, ForkResult } from "./forker.ts";
import { reap, reapNow } from "./waitpid.ts";

const PROBE_TIMEOUT_MS = 3000;
/** The exit code of a probe that has passed. Node itself never exits with it. */
const PASSED_EXIT_CODE = 47;
const ALLOCATED_ROWS = 40;

/**
 * Forks a probe and blocks until it ends. In the probe itself the promise never settles.
 *
 * @param prepareProbe runs first in the probe
 * @returns the reason if the probe failed
 */
export async function selfTest(
  native: Native,
  forker: Forker,
  threads: number,
  prepareProbe: () => void = () => {},
): Promise<ForkRefusal | undefined> {
  const fork = forker.fork({ threads, diesWithParent: true });
  if (fork.role === "child") {
    prepareProbe();
    return runProbe();
  }
  return awaitProbe(native, fork);
}

/**
 * Runs a shorter test for a fork in the middle of a program: its probe does not use the event loop.
 */
export function quickTest(native: Native, forker: Forker): ForkRefusal | undefined {
  const fork = forker.fork({ diesWithParent: true });
  if (fork.role === "child") {
    const rows = allocate();
    collectGarbage();
    native.libc._exit(rows.length === ALLOCATED_ROWS ? PASSED_EXIT_CODE : 1);
  }
  return awaitProbe(native, fork);
}

function awaitProbe(native: Native, fork: ForkResult): ForkRefusal | undefined {
  if (fork.role !== "parent") return fork.role === "refused" ? fork.refusal : undefined;
  const sleepCell = new Int32Array(new SharedArrayBuffer(4));
  for (let waitedMs = 0; waitedMs < PROBE_TIMEOUT_MS; waitedMs++) {
    const status = reap(native, fork.pid);
    if (status?.code === PASSED_EXIT_CODE) return undefined;
    if (status !== undefined) {
      const how = status.signal ?? `exit code ${status.code}`;
      return refusal("self-test", `a probe child ended with ${how} instead of passing the self-test`);
    }
    Atomics.wait(sleepCell, 0, 0, 1);
  }
  native.libc.kill(fork.pid, SIGKILL);
  reapNow(native, fork.pid);
  return refusal("self-test", `a probe child did not pass the self-test within ${PROBE_TIMEOUT_MS} ms`);
}

/**
 * Runs in the probe. Uses V8's worker threads, the heap, the event loop, libuv's thread pool and
 * `process.exit()`.
 */
async function runProbe(): Promise<never> {
  const rows = allocate();
  collectGarbage();
  await new Promise((resolve) => setTimeout(resolve, 1));
  const stat = await process.getBuiltinModule("node:fs/promises").readFile("/proc/self/stat", "latin1");
  const hasPassed = rows.length === ALLOCATED_ROWS && stat.startsWith(`${process.pid} `);
  return process.exit(hasPassed ? PASSED_EXIT_CODE : 1);
}

/** Allocates enough to make V8 collect garbage by itself. */
function allocate(): unknown[][] {
  return Array.from({ length: ALLOCATED_ROWS }, () => Array.from({ length: 10_000 }, (_, j) => ({ j })));
}
