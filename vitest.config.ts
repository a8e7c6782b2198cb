import { existsSync, readdirSync, readFileSync } from "node:fs";
import { defineConfig } from "vitest/config";

const isDeno = "Deno" in globalThis;

/** Returns the source of every entry point by its name, as listed by the `exports` of each `deno.json`. */
function sources(): Array<{ find: RegExp; replacement: string }> {
  // scripts/hosts.mjs runs the tests with packed packages, and without their sources.
  const folders = readdirSync("packages").filter((folder) => existsSync(`packages/${folder}/deno.json`));
  return folders.flatMap((folder) => {
    const { name, exports } = JSON.parse(readFileSync(`packages/${folder}/deno.json`, "utf8"));
    const entries = Object.entries<string>(typeof exports === "string" ? { ".": exports } : exports);
    return entries.map(([subpath, file]) => ({
      find: new RegExp(`^${name}${subpath.slice(1)}$`),
      replacement: new URL(`packages/${folder}/${file}`, import.meta.url).pathname,
    }));
  });
}

export default defineConfig({
  resolve: isDeno ? { alias: sources() } : {},
  test: {
    include: ["packages/*/test/**/*.test.ts", "test/**/*.test.ts"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // The host itself imports the packages, without vite, as for users: their build on Node, their
    // source on Deno. A source that a test imports by its path is then the same module instance.
    server: { deps: { external: [isDeno ? /\/packages\/[^/]+\/src\// : /\/packages\/[^/]+\/dist\//] } },
  },
});
