import { host } from "../host/mod.ts";

/** AWS Lambda gives a function one CPU for this much memory (docs, "Configure function memory"). */
const LAMBDA_MB_PER_CPU = 1769;
const CGROUP_ROOT = "/sys/fs/cgroup";

/** Reads the files and environment variables with the limits. A missing one is `undefined`. */
export interface LimitSource {
  file(path: string): string | undefined;
  variable(name: string): string | undefined;
}

/**
 * Returns how many CPUs this process can keep busy: the CPUs that it may run on, limited by the CPU
 * quotas of its control groups and, on AWS Lambda, by the memory of the function.
 *
 * @returns an integer, at least 1
 *
 * @example The number of usable CPUs
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

/**
 * Returns the CPU limit in whole CPUs; infinite without a limit. A fraction of a quota is rounded
 * up, because that part of a CPU would be idle otherwise. The Lambda limit is rounded to the
 * nearest.
 */
export function cpuLimit(source: LimitSource): number {
  const megabytes = Number(source.variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"));
  const lambda = megabytes > 0 ? Math.max(1, Math.round(megabytes / LAMBDA_MB_PER_CPU)) : Number.POSITIVE_INFINITY;
  return Math.min(lambda, Math.ceil(cgroupQuota(source)));
}

/**
 * Returns the smallest quota of the process's control group and its ancestors. Inside a container,
 * the container's own group is the root.
 */
function cgroupQuota(source: LimitSource): number {
  let smallest = Number.POSITIVE_INFINITY;
  for (const { folder, path, isUnified } of cpuCgroups(source)) {
    for (let group = path; ; group = group.slice(0, Math.max(0, group.lastIndexOf("/")))) {
      smallest = Math.min(smallest, quotaOf(source, `${folder}${group}`, isUnified));
      if (group === "") break;
    }
  }
  return smallest;
}

/**
 * Returns the control groups that limit the CPU time of this process: its group in the unified
 * hierarchy of cgroup v2, or its group in the `cpu` hierarchy of cgroup v1.
 */
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

/**
 * Returns the quota of a control group in CPUs: the CPU time that it may use in each period,
 * divided by the period. cgroup v2 has both numbers in one file, v1 in two. "max" and -1 mean no
 * limit.
 */
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
    return undefined; // the file does not exist, or may not be read
  }
}
