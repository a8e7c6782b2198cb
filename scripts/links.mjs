/**
 * The check of links: every `{@link}` of the sources names something that its file knows, and every relative link of a
 * Markdown file leads to a file, and to a heading of it. A paragraph that ends without punctuation is reported too: an
 * edit has torn it.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { posix } from "node:path";
import process from "node:process";
import ts from "typescript";

const REPOSITORY = /^https:\/\/github\.com\/multiproc\/multiproc\/(?:blob|tree)\/main\//;
const tracked = (...patterns) =>
  execFileSync("git", ["ls-files", "-co", "--exclude-standard", "--", ...patterns], { encoding: "utf8" })
    .trim()
    .split("\n");

const faults = [...faultsOfSources(tracked("packages/*/src/*.ts")), ...tracked("*.md").flatMap(faultsOfMarkdown)];
for (const fault of faults) console.error(fault);
console.log(`${faults.length} broken links and torn paragraphs`);
process.exitCode = faults.length > 0 ? 1 : 0;

/** The `{@link}`s that lead nowhere. */
function faultsOfSources(files) {
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile("tsconfig.base.json", ts.sys.readFile).config,
    ts.sys,
    ".",
  );
  const program = ts.createProgram(files, { ...options, composite: false, noEmit: true, emitDeclarationOnly: false });
  const checker = program.getTypeChecker();
  const found = [];
  for (const file of files) {
    const source = program.getSourceFile(file);
    // The comment of a module may name what the module exports from others.
    const module = checker.getSymbolAtLocation(source);
    const exported = new Set((module ? checker.getExportsOfModule(module) : []).map(({ name }) => name));
    const visitDoc = (node) => {
      if ((ts.isJSDocLink(node) || ts.isJSDocLinkCode(node) || ts.isJSDocLinkPlain(node)) && node.name) {
        const isFound = checker.getSymbolAtLocation(node.name) !== undefined || exported.has(node.name.getText(source));
        const line = source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;
        if (!isFound) found.push(`${file}:${line}: {@link ${node.name.getText(source)}} leads nowhere`);
      }
      ts.forEachChild(node, visitDoc);
    };
    const visit = (node) => {
      for (const doc of node.jsDoc ?? []) visitDoc(doc);
      ts.forEachChild(node, visit);
    };
    visit(source);
  }
  return [...new Set(found)];
}

function faultsOfMarkdown(file) {
  const text = readFileSync(file, "utf8").replace(/^```[\s\S]*?^```/gm, (block) => block.replace(/[^\n]/g, ""));
  const lineAt = (index) => text.slice(0, index).split("\n").length;
  const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].filter(([, target]) => !leadsSomewhere(file, target));
  const torn = [...text.matchAll(/(?<=\n\n)[A-Z][^|#>\n][^\n]*(?:\n[^\n]+)*(?=\n\n(?!(?:[-*]|\d+\.) )|\n*$)/g)].filter(
    ([paragraph]) => !/[.:!?)*`_…>]$|^\s*(-|\d+\.|\|)/m.test(paragraph.trimEnd().split("\n").at(-1).trimEnd()),
  );
  return [
    ...links.map(({ 1: target, index }) => `${file}:${lineAt(index)}: the link to ${target} leads nowhere`),
    ...torn.map(({ index }) => `${file}:${lineAt(index)}: the paragraph ends without punctuation`),
  ];
}

/** Whether a link leads out of the repository, or to a file of it, and to a heading of that file. */
function leadsSomewhere(file, target) {
  const [path, anchor] = target.replace(REPOSITORY, "/").split("#");
  if (/^[a-z]+:/.test(path)) return true;
  const place = path === "" ? file : path.startsWith("/") ? path.slice(1) : posix.join(posix.dirname(file), path);
  if (!existsSync(place)) return place.startsWith("docs/api");
  return anchor === undefined || statSync(place).isDirectory() || anchorsOf(place).includes(anchor);
}

/** The anchors that GitHub gives to headings. */
function anchorsOf(file) {
  const headings = [...readFileSync(file, "utf8").matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading);
  return headings.map((heading) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  );
}
