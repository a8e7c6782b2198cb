/** Reads a package's README: the packages that its first example needs, and the files of that example. */
import ts from "typescript";

/** Returns the packages of its `npm install` line. */
export function installedBy(readme) {
  const [, line] = /^npm install (.*?)(?:\s+#.*)?$/m.exec(readme) ?? [];
  if (!line) throw new Error("The README has no line that begins with npm install");
  return line.trim().split(/\s+/);
}

/** Returns the permissions of its line `deno run … main.ts`: the least that its example needs. */
export function permissionsIn(readme) {
  const [, flags] = /^deno run(.*?) main\.ts/m.exec(readme) ?? [];
  if (flags === undefined)
    throw new Error("The README has no line that begins with deno run, with the least permissions");
  return flags.trim().split(" ").filter(Boolean);
}

/** Returns the files of the first example as `[name, code]`: from the first `// file:` to `main.ts`, or one block. */
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

/** Returns an example's file as JavaScript, for a Node that does not strip types. */
export function stripTypes(code) {
  const { outputText } = ts.transpileModule(code, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true },
  });
  return outputText.replaceAll(/(["'])(\.\/[^"']+)\.ts\1/g, "$1$2.js$1");
}
