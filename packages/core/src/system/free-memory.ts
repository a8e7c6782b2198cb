/**
 * The amount of free memory, which is checked before a large allocation. Linux overcommits: it
 * grants more memory than there is, and kills a process when memory runs out.
 */
import type { Native } from "../native/mod.ts";
import { readProcFile } from "../native/proc-file.ts";

/**
 * Returns the bytes that are free or can be freed at once, in the system and in this process's
 * control group.
 */
export function freeMemory(native: Native): number {
  const read = (path: string): string => readProcFile(native, path) ?? "";
  const available = /^MemAvailable:\s+(\d+) kB$/m.exec(read("/proc/meminfo"))?.[1];
  const systemBytes = available === undefined ? Number.POSITIVE_INFINITY : Number(available) * 1024;
  return Math.min(systemBytes, ...cgroupDirs(read("/proc/self/cgroup")).map((folder) => cgroupFreeBytes(folder, read)));
}

/**
 * Returns the folders of control groups that may limit this process. A group of cgroup v2 or v1 is
 * at its own path on the host, and at the root inside a container.
 */
function cgroupDirs(cgroupText: string): string[] {
  const v2Path = /^0::(.*)$/m.exec(cgroupText)?.[1] ?? "";
  const v1Path = /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.*)$/m.exec(cgroupText)?.[1] ?? "";
  const roots = [
    ["/sys/fs/cgroup", v2Path],
    ["/sys/fs/cgroup/memory", v1Path],
  ] as const;
  return roots.flatMap(([root, path]) => (path.length > 1 ? [root, root + path] : [root]));
}

/** Returns how many bytes a group may still use. Inactive page cache counts as free. */
function cgroupFreeBytes(folder: string, read: (path: string) => string): number {
  const limit = Number.parseInt(read(`${folder}/memory.max`) || read(`${folder}/memory.limit_in_bytes`), 10);
  if (Number.isNaN(limit)) return Number.POSITIVE_INFINITY; // "max", or no such group
  const used = Number.parseInt(read(`${folder}/memory.current`) || read(`${folder}/memory.usage_in_bytes`), 10);
  const inactiveFile = /^(?:total_)?inactive_file (\d+)$/m.exec(read(`${folder}/memory.stat`))?.[1] ?? "0";
  return Math.max(0, limit - used + Number(inactiveFile));
}
