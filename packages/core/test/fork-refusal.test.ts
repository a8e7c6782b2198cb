import { describe, expect, test } from "vitest";
import { whyNoForkOn } from "../src/host/fork-refusal.ts";

describe("whyNoForkOn()", () => {
  test("returns no reason on the tested platform", () => {
    expect(whyNoForkOn({ host: "node", platform: "linux", arch: "x64" })).toBeUndefined();
  });

  test.each([
    ["node", "linux", "arm64", "forking requires Node on Linux on x64, and is untested on arm64"],
    ["node", "linux", "riscv64", "forking requires Node on Linux on x64, and is untested on riscv64"],
    ["node", "darwin", "arm64", "forking requires Node on Linux on x64, and this is darwin"],
    ["deno", "linux", "x64", "forking requires Node on Linux on x64"],
  ])("%s on %s on %s is refused with the reason", (host, platform, arch, message) => {
    expect(whyNoForkOn({ host, platform, arch })).toEqual({ reason: "platform", message });
  });
});
