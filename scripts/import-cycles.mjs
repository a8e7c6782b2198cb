/**
 * The check for circular imports in `packages/<name>/src`. Imports of types count too, which the
 * linter's rule leaves out: two files that need each other's types are one unit to their reader.
 */
import { readdirSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import process from "node:process";
import ts from "typescript";

const files = readdirSync("packages").flatMap((name) =>
  readdirSync(`packages/${name}/src`, { recursive: true })
    .map((file) => `packages/${name}/src/${file}`)
    .filter((file) => file.endsWith(".ts")),
);
const imports = new Map(files.map((file) => [file, importsOf(file)]));
const cycles = stronglyConnected(imports).filter((group) => group.length > 1);

for (const cycle of cycles) console.error(`These files import each other: ${cycle.sort().join(", ")}`);
console.log(`${files.length} files: ${cycles.length} circles of imports`);
process.exitCode = cycles.length > 0 ? 1 : 0;

/** Returns the files of the same package that a file imports statically, with `import("…")` types. */
function importsOf(file) {
  const found = new Set();
  const source = ts.createSourceFile(file, readFileSync(file, "utf8"), ts.ScriptTarget.Latest);
  const visit = (node) => {
    const isStatic = ts.isImportDeclaration(node) || ts.isExportDeclaration(node);
    const isTypeOnly = ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument);
    const specifier = isStatic ? node.moduleSpecifier : isTypeOnly ? node.argument.literal : undefined;
    if (specifier && ts.isStringLiteral(specifier) && specifier.text.startsWith("."))
      found.add(posix.join(posix.dirname(file), specifier.text));
    ts.forEachChild(node, visit);
  };
  visit(source);
  return [...found];
}

/** Tarjan's algorithm: the groups of nodes that reach each other. https://doi.org/10.1137/0201010 */
function stronglyConnected(graph) {
  const state = new Map();
  const stack = [];
  const groups = [];
  const connect = (node) => {
    const own = { index: state.size, low: state.size, isOnStack: true };
    state.set(node, own);
    stack.push(node);
    for (const next of graph.get(node) ?? []) {
      const seen = state.get(next);
      if (seen === undefined) own.low = Math.min(own.low, connect(next).low);
      else if (seen.isOnStack) own.low = Math.min(own.low, seen.index);
    }
    if (own.low === own.index) {
      const group = stack.splice(stack.indexOf(node));
      for (const member of group) state.get(member).isOnStack = false;
      groups.push(group);
    }
    return own;
  };
  for (const node of graph.keys()) if (!state.has(node)) connect(node);
  return groups;
}
