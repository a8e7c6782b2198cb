/**
 * Type-checks and runs every example of the docs, on Node and on Deno.
 *
 * An example is a block fenced with ```ts or ```js in a doc comment of packages/<name>/src, in README.md,
 * packages/<name>/README.md or docs/guide. It passes if its program exits with code 0 within 30 seconds
 * and printed what its comments say, see `printed.mjs`.
 *
 * A line `// file: tasks.ts` begins one file of a small project. The blocks after it in the same doc
 * belong to it, up to the program, which is the first block named `main.…` or with no name.
 * A block fenced with ```ts no-run is only type-checked.
 *
 *   node scripts/doc-examples.mjs [words that the example's place holds …]
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import process from "node:process";
import ts from "typescript";
import { unprinted } from "./printed.mjs";

// Inside the repository, so that packages are found by name.
const FOLDER = ".cache/examples";
const LIMIT = 30_000;
const TYPES_LIMIT = 5 * 60_000;
const CONCURRENCY = 2;
const FILE_MARK = /^\s*\/\/ file: (\S+)/;
const DENO = `${process.cwd()}/node_modules/.bin/deno`;

const words = process.argv.slice(2);
const examples = documents()
  .flatMap(({ file, lines }) => projectsOf(blocksOf(lines)).map((blocks) => layOut(file, blocks)))
  .filter(({ place }) => words.length === 0 || words.some((word) => place.includes(word)));

rmSync(FOLDER, { recursive: true, force: true });
for (const example of examples) writeFiles(example);

const failures = await checkTypes();
const toRun = examples.filter((example) => !example.skipped);
const waiting = toRun.values();
await Promise.all(
  Array.from({ length: CONCURRENCY }, async () => {
    // On one host after the other: a program may use a name that all processes see.
    for (const example of waiting)
      for (const host of ["Node", "Deno"]) failures.push(...(await runExample(example, host)));
  }),
);

for (const failure of failures) console.error(failure);
console.log(
  `${toRun.length} examples, each on Node and on Deno: ${failures.length} failures, ${examples.length - toRun.length} only type-checked`,
);
process.exitCode = failures.length > 0 ? 1 : 0;

/** Every document as numbered lines: a Markdown file is one, and so is each doc comment. */
function documents() {
  const packages = readdirSync("packages").map((name) => `packages/${name}`);
  const guide = existsSync("docs/guide") ? readdirSync("docs/guide").map((name) => `docs/guide/${name}`) : [];
  const texts = ["README.md", ...packages.map((folder) => `${folder}/README.md`), ...guide].filter(
    (file) => file.endsWith(".md") && existsSync(file),
  );
  const sources = packages.flatMap((folder) =>
    readdirSync(`${folder}/src`, { recursive: true })
      .map((name) => `${folder}/src/${name}`)
      .filter((file) => file.endsWith(".ts")),
  );
  return [
    ...texts.map((file) => ({ file, lines: numbered(readFileSync(file, "utf8"), 1) })),
    ...sources.flatMap((file) => docComments(readFileSync(file, "utf8")).map((lines) => ({ file, lines }))),
  ];
}

function docComments(source) {
  return [...source.matchAll(/^[ \t]*\/\*\*[\s\S]*?\*\//gm)].map((match) => {
    const firstLine = source.slice(0, match.index).split("\n").length;
    return numbered(match[0], firstLine).map(({ text, line }) => ({ text: text.replace(/^\s*\* ?/, ""), line }));
  });
}

function numbered(text, firstLine) {
  return text.split("\n").map((text, index) => ({ text, line: firstLine + index }));
}

function blocksOf(lines) {
  const blocks = [];
  /** @type {{ language: string, skipped: boolean, line: number, code: string[] } | undefined} */
  let open;
  for (const { text, line } of lines) {
    const fence = text.match(/^\s*```(\S*)(.*)$/);
    if (open && fence) {
      if (/^(ts|js)$/.test(open.language)) blocks.push(open);
      open = undefined;
    } else if (open) {
      // A block can hold several files, one after the other.
      if (open.code.length > 0 && FILE_MARK.test(text)) {
        if (/^(ts|js)$/.test(open.language)) blocks.push(open);
        open = { ...open, line, code: [] };
      }
      open.code.push(text);
    } else if (fence) {
      open = { language: fence[1], skipped: /\bno-run\b/.test(fence[2]), line: line + 1, code: [] };
    }
  }
  return blocks.map((block) => ({ ...block, name: block.code[0]?.match(FILE_MARK)?.[1] }));
}

function projectsOf(blocks) {
  const projects = [];
  let files = [];
  const close = () => {
    if (files.length > 0) projects.push(files);
    files = [];
  };
  for (const block of blocks) {
    // A name that comes again begins another project.
    if (files.some(({ name }) => name === block.name)) close();
    files.push(block);
    if (!block.name || block.name.startsWith("main.")) close();
  }
  close();
  return projects;
}

function layOut(file, blocks) {
  const place = `${file}:${blocks[0].line}`;
  const files = blocks.map(({ name, language, line, code }) => ({
    name: name ?? `main.${language}`,
    // Pushed down to the line it has in its document, so that errors name that line.
    code: "\n".repeat(line - 1) + code.join("\n"),
  }));
  const folder = `${FOLDER}/${place.replaceAll(/[/:]/g, "-")}`;
  return { place, folder, files, program: files.at(-1).name, skipped: blocks.some((block) => block.skipped) };
}

/** Deno runs the files as they stand; beside each TypeScript file lies one with its types stripped, for Node. */
function writeFiles({ folder, files }) {
  mkdirSync(folder, { recursive: true });
  for (const { name, code } of files) {
    writeFileSync(`${folder}/${name}`, code);
    if (name.endsWith(".ts")) writeFileSync(`${folder}/${forNode(name)}`, stripTypes(code, files));
  }
}

function stripTypes(code, files) {
  const { outputText } = ts.transpileModule(code, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true },
  });
  // Not only imports name the project's files: `new URL("./tasks.ts", import.meta.url)` does too.
  return files.reduce((text, { name }) => text.replaceAll(`"./${name}"`, `"./${forNode(name)}"`), outputText);
}

function forNode(name) {
  return name.replace(/\.ts$/, ".js");
}

async function checkTypes() {
  const files = examples.flatMap(({ folder, files }) => files.map(({ name }) => `${folder}/${name}`));
  const typed = files.filter((file) => file.endsWith(".ts"));
  if (typed.length === 0) return [];
  const { code, output } = await run(DENO, ["check", "--quiet", ...typed], process.cwd(), TYPES_LIMIT);
  return code === 0 ? [] : [`Types of the examples, ended with ${code}:\n${output}`];
}

async function runExample({ place, folder, files, program }, host) {
  const [command, ...args] =
    host === "Node" ? [process.execPath, forNode(program)] : [DENO, "run", "-A", "--no-check", program];
  const { code, output, printed } = await run(command, args, folder);
  if (code !== 0) return [`${place} on ${host} ended with ${code}:\n${output}`];
  const text = files.find(({ name }) => name === program).code;
  // Blocks that ask for start method `fork` are not entered on Deno.
  const missing = unprinted(text, printed, { inBlocks: host === "Node" || !text.includes('includes("fork")') });
  return missing.map((said) => `${place} on ${host} did not print in its turn: ${said}\n${output}`);
}

function run(command, args, cwd, timeout = LIMIT) {
  const child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "pipe"], timeout, killSignal: "SIGKILL" });
  let output = "";
  let printed = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text) => {
      output += text;
      if (stream === child.stdout) printed += text;
    });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code: code ?? signal, output, printed }));
  });
}
