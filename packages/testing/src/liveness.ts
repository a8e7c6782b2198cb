/** The running processes, as the operating system lists them. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { until } from "./until.ts";

interface ProcessEntry {
  pid: number;
  parentPid: number;
  state: string;
}

/**
 * Returns whether a process runs. A zombie does not: it has ended and waits for `waitpid()` of its
 * parent.
 */
export function isAlive(pid: number): boolean {
  if (process.platform === "linux") {
    const entry = readProcess(pid);
    return entry !== undefined && isRunning(entry);
  }
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/**
 * Returns the running children of a process, their children, and so on. An orphan is not a
 * descendant.
 */
export function descendants(pid: number): number[] {
  const live = listProcesses().filter(isRunning);
  const found: number[] = [];
  for (let parents = [pid]; parents.length > 0; ) {
    parents = live.filter((entry) => parents.includes(entry.parentPid)).map((entry) => entry.pid);
    found.push(...parents);
  }
  return found;
}

const REGISTRY: unique symbol = Symbol.for("multiproc.registry") as never;
const pidsAtLoad = new Set(descendants(process.pid));

/**
 * Waits until all processes have ended that this process or its children have started since this
 * module was loaded. Pass it to `afterEach`. The watchdog, fork servers and spares may stay.
 *
 * @throws Error with the remaining pids and their command lines
 */
export async function noChildLeft(options: { timeout?: number } = {}): Promise<void> {
  // `afterEach` passes the context of the test, which does not have this option.
  const timeout = typeof options?.timeout === "number" ? options.timeout : 5_000;
  // The watchdog of a process lives as long as the process.
  const isWatchdog = (pid: number) => commandOf(pid).includes("multiproc-watchdog");
  const remaining = () =>
    descendants(process.pid).filter(
      (pid) => !pidsAtLoad.has(pid) && isAlive(pid) && !isWatchdog(pid) && !isHelper(pid),
    );
  await until(() => remaining().length === 0, {
    timeout,
    interval: 10,
    message: () =>
      `all children gone; left are ${remaining()
        .map((pid) => `${pid} (${commandOf(pid)})`)
        .join(", ")}`,
  });
}

/**
 * Returns whether a process is a fork server, a preforked child or a spare;
 * start-methods/helper-processes.ts lists these.
 */
function isHelper(pid: number): boolean {
  const shared = globalThis as { [REGISTRY]?: { singletons: Map<string, unknown> } };
  return (shared[REGISTRY]?.singletons.get("helper processes") as Set<number> | undefined)?.has(pid) === true;
}

function isRunning(entry: ProcessEntry): boolean {
  return entry.state !== "Z" && entry.state !== "X";
}

function listProcesses(): ProcessEntry[] {
  if (process.platform === "linux") {
    const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
    return pids.map((pid) => readProcess(Number(pid))).filter((entry) => entry !== undefined);
  }
  const lines = execFileSync("ps", ["-A", "-o", "pid=,ppid=,state="], { encoding: "utf8" }).trim().split("\n");
  return lines.map((line) => {
    const [pid, parentPid, state] = line.trim().split(/\s+/);
    return { pid: Number(pid), parentPid: Number(parentPid), state: state?.[0] ?? "Z" };
  });
}

function readProcess(pid: number): ProcessEntry | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name of the command is in parentheses, and may contain spaces and parentheses.
    const [state, parentPid] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { pid, parentPid: Number(parentPid), state: state ?? "X" };
  } catch {
    return undefined;
  }
}

function commandOf(pid: number): string {
  try {
    return process.platform === "linux"
      ? readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim()
      : execFileSync("ps", ["-o", "args=", "-p", String(pid)], { encoding: "utf8" }).trim();
  } catch {
    return "gone by now";
  }
}
