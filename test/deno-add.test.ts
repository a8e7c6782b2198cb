/** The packages as `deno add` installs them: in Deno's cache, without a `node_modules` beside the program. */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pack, published } from "../scripts/pack.mjs";
import { exampleOf, permissionsIn } from "../scripts/readme.mjs";
import { serveRegistry } from "../scripts/registry.mjs";

const DENO = resolve("node_modules/.bin/deno");
const LIMIT = 120_000;
// The packages that start processes. They lie outside /tmp, where the permission for sockets would
// let a program read its modules.
const NAMES = ["multiproc", "@multiproc/pool", "@multiproc/process", "@multiproc/pipe", "@multiproc/queue"];
const folder = mkdtempSync("/var/tmp/multiproc-deno-add-");
let registry: Awaited<ReturnType<typeof serveRegistry>>;

beforeAll(async () => {
  registry = await serveRegistry(pack(join(folder, "archives")));
}, LIMIT);
afterAll(() => {
  registry?.close();
  rmSync(folder, { recursive: true, force: true });
});

describe.each(published().filter(({ manifest }) => NAMES.includes(manifest.name)))("$manifest.name", (found) => {
  test(
    "after deno add, runs its README's example with the least permissions that the README lists",
    async () => {
      const place = join(folder, found.folder);
      const readme = readFileSync(join(found.folder, "README.md"), "utf8");
      mkdirSync(place, { recursive: true });
      writeFileSync(join(place, "deno.json"), "{}");
      for (const [file, code] of exampleOf(readme)) writeFileSync(join(place, file), code);
      const [, added = ""] = /^deno add (.*?)(?:\s+#.*)?$/m.exec(readme) ?? [];
      await run(place, ["add", ...added.trim().split(/\s+/)]);
      const output = await run(place, ["run", "--no-prompt", ...permissionsIn(readme), "main.ts"]);
      expect(output).toMatch(/\w/);
    },
    LIMIT,
  );
});

/** Runs a command asynchronously, because the registry is in this process. */
function run(cwd: string, args: string[]): Promise<string> {
  const env = { ...process.env, TMPDIR: "/tmp", DENO_DIR: join(folder, "cache"), MULTIPROC_START_METHOD: "" };
  const child = spawn(DENO, args, { cwd, env: { ...env, NPM_CONFIG_REGISTRY: registry.url, NO_COLOR: "1" } });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => void (output += chunk));
  return new Promise((done, fail) => {
    child.on("close", (code) => (code === 0 ? done(output) : fail(new Error(`deno ${args.join(" ")}: ${output}`))));
  });
}
