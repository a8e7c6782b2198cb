/** What a package's README says: the packages that its first example needs, and the files of that example. */
import ts from "typescript";

/** The packages that its `npm install` line names. */
export function installedBy(readme) {
  const [, line] = /^npm install (.*?)(?:\s+#.*)?$/m.exec(readme) ?? [];
  if (!line) throw new Error("The README has no line that begins with npm install");
  return line.trim().split(/\s+/);
}

/** The permissions in its line `deno run … main.ts`, which are the least that its example needs. */
export function permissionsIn(readme) {
  const [, flags] = /^deno run(.*?) main\.ts/m.exec(readme) ?? [];
  if (flags === undefined)
    throw new Error("The README has no line that begins with deno run, with the least permissions");
  return flags.trim().split(" ").filter(Boolean);
}

/** The files of the first example, as `[name, code]`: those named by `// file:` up to `main.ts`, or one block with no name. */
export function exampleOf(readme) {
  const files = [];
  for (const [, block] of readme.matchAll(/^```ts\n([\s\S]*?)^```/gm)) {
    const parts = block.split(/^(?=\/\/ file: )/m).filter(Boolean);
    for (const part of parts) {
      const [, name = "main.ts"] = /^\/\/ file: (\S+)/.exec(part) ?? [];
      files.push([name, part]);
      if (name.startsWith("main.")) return files;
    }
  }
  throw new Error("The README has no first example that ends with main.ts");
}

/** The JavaScript of an example's file, for a Node that strips no types. */
export function stripTypes(code) {
  const { outputText } = ts.transpileModule(code, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true },
  });
  return outputText.replaceAll(/(["'])(\.\/[^"']+)\.ts\1/g, "$1$2.js$1");
}
