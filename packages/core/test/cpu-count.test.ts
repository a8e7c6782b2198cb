import { cpuCount } from "@multiproc/core";
import { describe, expect, test } from "vitest";
import { cpuLimit } from "../src/system/cpu-count.ts";

const limitOf = (files: Record<string, string>, variables: Record<string, string> = {}) =>
  cpuLimit({ file: (path) => files[path], variable: (name) => variables[name] });

describe("cpuCount()", () => {
  test("it returns an integer of at least 1", () => {
    expect(Number.isInteger(cpuCount())).toBe(true);
    expect(cpuCount()).toBeGreaterThanOrEqual(1);
  });

  test("there is no limit without a quota", () => {
    expect(limitOf({})).toBe(Number.POSITIVE_INFINITY);
    expect(limitOf({ "/proc/self/cgroup": "garbage\n0::/\n", "/sys/fs/cgroup/cpu.max": "max 100000" })).toBe(
      Number.POSITIVE_INFINITY,
    );
  });

  test("the quota of a container limits it, rounded up to whole CPUs", () => {
    expect(limitOf({ "/sys/fs/cgroup/cpu.max": "200000 100000" })).toBe(2);
    expect(limitOf({ "/sys/fs/cgroup/cpu.max": "50000 100000" })).toBe(1);
    expect(limitOf({ "/sys/fs/cgroup/cpu.max": "250000 100000" })).toBe(3);
  });

  test("the smallest quota of nested groups limits it, in both versions", () => {
    const unified = {
      "/proc/self/cgroup": "0::/user.slice/build/job",
      "/sys/fs/cgroup/user.slice/build/job/cpu.max": "max 100000",
      "/sys/fs/cgroup/user.slice/build/cpu.max": "400000 100000",
      "/sys/fs/cgroup/user.slice/cpu.max": "800000 100000",
    };
    expect(limitOf(unified)).toBe(4);
    const old = {
      "/proc/self/cgroup": "11:memory:/a/b\n4:cpu,cpuacct:/a/b\n0::/a",
      "/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us": "-1",
      "/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us": "100000",
      "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "300000",
      "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000",
    };
    expect(limitOf(old)).toBe(3);
    // In a container, the path is that outside of the container, and the files are inside.
    expect(
      limitOf({
        "/proc/self/cgroup": "4:cpu,cpuacct:/docker/0123",
        "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000",
        "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
      }),
    ).toBe(2);
  });

  test("the memory of a Lambda function limits it", () => {
    for (const [megabytes, cpus] of [
      [128, 1],
      [1769, 1],
      [3008, 2],
      [10_240, 6],
    ]) {
      expect(limitOf({}, { AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(megabytes) })).toBe(cpus);
    }
  });
});
