import { host } from "./host/mod.ts";

/** A Lambda function gets one CPU's worth of time for so many megabytes of memory (AWS Lambda, "Configure function memory"). */
const LAMBDA_MB_PER_CPU = 1769;

/**
 * How many CPUs this process can keep busy: those that it may run on, no more than its control group's quota pays for, and
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
  const limits = [host.availableParallelism(), quota(), lambda()].filter((n) => n !== undefined);
  return Math.max(1, Math.floor(Math.min(...limits) + 1e-6));
}

/** CPUs that the control group pays for: version 2 keeps both numbers in one file, version 1 in two. */
function quota(): number | undefined {
  const [max, period] = read("/sys/fs/cgroup/cpu.max")?.split(/\s+/) ?? [
    read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
    read("/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
  ];
  const share = Number(max) / Number(period);
  // "max" and -1 say that there is no limit.
  return share > 0 ? Math.max(1, Math.round(share)) : undefined;
}

function lambda(): number | undefined {
  const megabytes = Number(host.env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"));
  return megabytes > 0 ? Math.max(1, Math.round(megabytes / LAMBDA_MB_PER_CPU)) : undefined;
}

function read(path: string): string | undefined {
  try {
    return host.readTextFile(path).trim();
  } catch {
    return undefined; // another host, or not permitted
  }
}
