import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["packages/*/test/**/*.test.ts", "test/**/*.test.ts"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // Packages imported by name run from their build as users run them: native ES modules, not transformed by vite.
    server: { deps: { external: [/\/packages\/[^/]+\/dist\//] } },
  },
});
