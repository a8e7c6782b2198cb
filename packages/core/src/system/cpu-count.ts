import { host } from "../host/mod.ts";

/** A Lambda function gets one CPU's worth of time for so many megabytes of memory (AWS Lambda, "Configure function memory"). */
const LAMBDA_MB_PER_CPU = 1769;
const CGROUP_ROOT = "/sys/fs/cgroup";

/** Where limits are written down: the text of a file, or of a variable; undefined if there is none. */
export interface LimitSource {
  file(path: string): string | undefined;
  variable(name: string): string | undefined;
}

/**
 * How many CPUs this process can keep busy: those that it may run on, no more than the quotas of its control groups pay for, and
 * on AWS Lambda no more than the function's memory buys.
 *
 * @returns a whole number, at least 1
 *
 * @example Make as many chunks as there are CPUs
 * ```ts
 * import { cpuCount } from "@multiproc/core";
 *
 * console.log(cpuCount() >= 1); // true
 * ```
 */
export function cpuCount(): number {
  const source = { file: read, variable: (name: string) => host.env(name) };
  return Math.max(1, Math.floor(Math.min(host.availableParallelism(), cpuLimit(source))));
}

/** How many CPUs are paid for; infinite where nothing is said. Parts of one count as a whole: it would idle otherwise. */
export function cpuLimit(source: LimitSource): number {
  const megabytes = Number(source.variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"));
  const lambda = megabytes > 0 ? Math.max(1, Math.round(megabytes / LAMBDA_MB_PER_CPU)) : Number.POSITIVE_INFINITY;
  return Math.min(lambda, Math.ceil(cgroupQuota(source)));
}

/** A group has what it was given, and no more than any group around it. A container sees its own group as the outermost. */
function cgroupQuota(source: LimitSource): number {
  let least = Number.POSITIVE_INFINITY;
  for (const { folder, path, isUnified } of cpuCgroups(source)) {
    for (let group = path; ; group = group.slice(0, Math.max(0, group.lastIndexOf("/")))) {
      least = Math.min(least, quotaOf(source, `${folder}${group}`, isUnified));
      if (group === "") break;
    }
  }
  return least;
}

/** The control groups of this process that are about CPU time: of version 2 there is one, of version 1 one by name. */
function cpuCgroups(source: LimitSource): Array<{ folder: string; path: string; isUnified: boolean }> {
  const found = [];
  for (const line of (source.file("/proc/self/cgroup") ?? "0::/\n1:cpu:/").split("\n")) {
    const [, controllers = "", cgroupPath = ""] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    const path = cgroupPath.replace(/\/+$/, "");
    if (controllers === "") found.push({ folder: CGROUP_ROOT, path, isUnified: true });
    else if (controllers.split(",").includes("cpu")) {
      for (const name of new Set(["cpu", controllers]))
        found.push({ folder: `${CGROUP_ROOT}/${name}`, path, isUnified: false });
    }
  }
  return found;
}

/** Version 2 keeps both numbers in one file, version 1 in two. "max" and -1 say that there is no limit. */
function quotaOf(source: LimitSource, folder: string, isUnified: boolean): number {
  const [max, period] = isUnified
    ? (source.file(`${folder}/cpu.max`)?.split(/\s+/) ?? [])
    : [source.file(`${folder}/cpu.cfs_quota_us`), source.file(`${folder}/cpu.cfs_period_us`)];
  const cpus = Number(max) / Number(period);
  return cpus > 0 ? cpus : Number.POSITIVE_INFINITY;
}

function read(path: string): string | undefined {
  try {
    return host.readTextFile(path).trim();
  } catch {
    return undefined; // another system, or not permitted
  }
}
