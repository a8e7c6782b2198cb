/** The reference: every public class, function and interface has an example. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";

interface Comment {
  blockTags?: { tag: string }[];
}
interface Reflection {
  name: string;
  kind: number;
  comment?: Comment;
  signatures?: { comment?: Comment }[];
  children?: Reflection[];
}

/** typedoc's numbers of kinds. Type aliases are left out: a name for a shape is shown in use by what takes it. */
const MODULE = 2;
const SHOWN: Record<number, string> = { 64: "function", 128: "class", 256: "interface" };

test("every exported class, function and interface has an example", () => {
  const folder = mkdtempSync(join(tmpdir(), "api-docs-"));
  const file = join(folder, "api.json");
  const args = ["node_modules/typedoc/bin/typedoc", "--json", file, "--logLevel", "Error"];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  expect(status, stdout + stderr).toBe(0);
  const project = JSON.parse(readFileSync(file, "utf8")) as Reflection;
  rmSync(folder, { recursive: true });
  const modules = (project.children ?? []).filter(({ kind }) => kind === MODULE);
  const exported = modules.flatMap(({ name, children = [] }) => children.map((each) => ({ module: name, ...each })));
  expect(exported.length).toBeGreaterThan(100);
  const bare = exported.filter((each) => each.kind in SHOWN && !hasExample(each));
  expect(bare.map(({ module, kind, name }) => `${SHOWN[kind]} ${name} of ${module}`)).toStrictEqual([]);
}, 180_000);

function hasExample({ comment, signatures = [] }: Reflection): boolean {
  const comments = [comment, ...signatures.map((each) => each.comment)];
  return comments.some((each) => each?.blockTags?.some(({ tag }) => tag === "@example"));
}
