import { readdirSync, readFileSync } from "node:fs";
import { defineConfig } from "vitest/config";

const isDeno = "Deno" in globalThis;

/** The source of every entry point of this repository by its name, as the `exports` of each `deno.json` say. */
function sources(): Array<{ find: RegExp; replacement: string }> {
  return readdirSync("packages").flatMap((folder) => {
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
    // Packages are imported by the host itself, not transformed by vite, as users run them: on Node their build, on Deno
    // their source, which must not be loaded twice.
    server: { deps: { external: [isDeno ? /\/packages\/[^/]+\/src\// : /\/packages\/[^/]+\/dist\//] } },
  },
});
