import { describe, expect, test } from "vitest";
import type { DenoApi } from "../src/host/deno-api.ts";
import { permissionFlags } from "../src/host/deno-permissions.ts";

/** A Deno that has these permissions as a whole. */
function denoWith(...granted: string[]): DenoApi {
  const querySync = ({ name }: { name: string }) => ({
    state: granted.includes(name) ? "granted" : "prompt",
    partial: false,
  });
  return { mainModule: "file:///app/main.ts", cwd: () => "/app", permissions: { querySync } } as unknown as DenoApi;
}

const requiredAccess = { read: ["/lib/child.ts"], write: [], sockets: ["/tmp/s"] };
const flagsFor = (wanted: unknown, ...granted: string[]): string[] =>
  permissionFlags(denoWith(...granted), wanted as never, requiredAccess);

describe("permissionFlags()", () => {
  test("a child with requested permissions gets those and access to its own files", () => {
    expect(flagsFor({ env: ["HOME"], net: false }, "read", "env")).toEqual([
      "--allow-env=HOME",
      "--allow-read=/lib,/tmp/s",
    ]);
    expect(flagsFor("none", "env")).toEqual([]);
  });

  test("a request is refused with the flag that the parent lacks", () => {
    expect(() => flagsFor({ sys: true }, "read")).toThrow("--allow-sys");
  });

  test.each([
    ["all", 'permissions must be "inherit", "none" or an object such as { read: true }, not "all"'],
    [["read"], 'permissions must be "inherit", "none" or an object such as { read: true }, not ["read"]'],
    [true, 'permissions must be "inherit", "none" or an object such as { read: true }, not true'],
    [{ read: "/tmp" }, 'permissions.read must be true, false or an array, not "/tmp"'],
    [{ sound: true }, 'permissions names "sound": use read, write, net'],
  ])("the mistake %j is refused with the form that is right", (wanted, message) => {
    expect(() => flagsFor(wanted, "read")).toThrow(message);
  });
});
