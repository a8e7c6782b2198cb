/** How much memory can still be had. The system grants any size, and ends some process when it has no more. */
import type { Native } from "../native/mod.ts";
import { readSystemFile } from "../native/proc-file.ts";

/** Bytes that are free, or can be freed at once: of the system, and of this process's control group. */
export function freeMemory(native: Native): number {
  const read = (path: string): string => readSystemFile(native, path) ?? "";
  const available = /^MemAvailable:\s+(\d+) kB$/m.exec(read("/proc/meminfo"))?.[1];
  const system = available === undefined ? Number.POSITIVE_INFINITY : Number(available) * 1024;
  return Math.min(system, ...groups(read("/proc/self/cgroup")).map((folder) => freeIn(folder, read)));
}

/** The folders that may hold a limit: of version 2, or of version 1, seen from inside of a container and from outside. */
function groups(own: string): string[] {
  const second = /^0::(.*)$/m.exec(own)?.[1] ?? "";
  const first = /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.*)$/m.exec(own)?.[1] ?? "";
  const roots = [
    ["/sys/fs/cgroup", second],
    ["/sys/fs/cgroup/memory", first],
  ] as const;
  return roots.flatMap(([root, path]) => (path.length > 1 ? [root, root + path] : [root]));
}

/** What the limit leaves; what was read from files and is not in use counts as free. */
function freeIn(folder: string, read: (path: string) => string): number {
  const limit = Number.parseInt(read(`${folder}/memory.max`) || read(`${folder}/memory.limit_in_bytes`), 10);
  if (Number.isNaN(limit)) return Number.POSITIVE_INFINITY; // "max", or no such group
  const used = Number.parseInt(read(`${folder}/memory.current`) || read(`${folder}/memory.usage_in_bytes`), 10);
  const idle = /^(?:total_)?inactive_file (\d+)$/m.exec(read(`${folder}/memory.stat`))?.[1] ?? "0";
  return Math.max(0, limit - used + Number(idle));
}
