/**
 * The prose check: finds banned patterns in comments, messages, test names and Markdown. CONTRIBUTING.md explains the rules.
 *
 *   node scripts/prose.mjs [--count] [words that the file's path holds …]
 *
 * Code spans, links' targets and fenced blocks are not prose. Headings and questions may start with "What" or "Who".
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";
import ts from "typescript";

const MAX_COLUMNS = 120;
/**
 * The rules: an advice, and the pattern of what it replaces.
 *
 * @type {[string, RegExp][]}
 */
const RULES = [
  [
    "name the subject",
    /\b(nobody|somebody|whoever|someone else)\b|\b(those|ones?|he|of|for|to|from|by|and|but|if|when|while) who\b/i,
  ],
  ["name the subject", /\b(ones?|those) that\b/i],
  [
    "start with a verb or a noun",
    /(?<=^|[.!?;] )(Who|Whose|Whom|What|Of what|Of one|Of those|One that|Has \w+ (?!been)[a-z]+)\b(?![^.]*\?)/,
  ],
  ["give the number, or name the limit", /\bso (many|much|often|few)\b(?! (as|that))|\bhow-manieth\b/i],
  ['write "is not a"', /(?<!there )\b(is|are|was|were|be) no (?!longer|more|less|different)[a-z]/i],
  ["use a plainer word", /\b(anew|besides|meanwhile|in place of|to be had|the like|all the same|mostly|of late)\b/i],
  ['write "is created"', /\b(comes?|came|coming) to be\b/i],
  ['write "returns", "reports" or "shows"', /\b(tells?|told|telling)\b/i],
  ['write "continues"', /\b(goes|go|went|going|gone) on\b/i],
  ['write "cancels", "releases" or "stops"', /\b(gives?|gave|giving|given) up\b/i],
];

const args = process.argv.slice(2);
const words = args.filter((word) => !word.startsWith("--"));
const patterns = ["*.ts", "*.mjs", "*.js", "*.md", "*.py", ".github/*", ".changeset/*.md"];
const files = execFileSync("git", ["ls-files", "-co", "--exclude-standard", "--", ...patterns], { encoding: "utf8" })
  .split("\n")
  .filter((file) => file !== "" && file !== "scripts/prose.mjs" && !/^docs\/benchmarks|CHANGELOG\.md$/.test(file))
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word)));

const faults = files.flatMap((file) => {
  const text = readFileSync(file, "utf8");
  const passages = /\.(ts|mjs|js)$/.test(file)
    ? passagesOfCode(text)
    : /\.md$/.test(file)
      ? passagesOfMarkdown(text)
      : [];
  return passages.flatMap((passage) => faultsOf(file, passage));
});

if (args.includes("--count")) for (const [place, count] of countsOf(faults)) console.log(`${count}\t${place}`);
else for (const { file, line, fault } of faults) console.log(`${file}:${line}: ${fault}`);
console.log(`${files.length} files: ${faults.length} faults of prose`);
process.exitCode = faults.length > 0 ? 1 : 0;

/** Finds what the rules forbid in one passage: `lines` are its lines of prose, the first of which is line `first` of the file. */
function faultsOf(file, { first, lines, isComment }) {
  const prose = lines.map((line) =>
    line.replace(/`[^`]*`|\{@link(code|plain)? [^}]*\}|\]\([^)]*\)|https?:\S+/g, (code) => "_".repeat(code.length)),
  );
  const found = [];
  const text = prose.map((line) => line.trim()).join("\n");
  for (const [advice, pattern] of RULES) {
    const flat = text.replaceAll("\n", " ");
    for (const match of flat.matchAll(new RegExp(pattern, `${pattern.flags}g`)))
      found.push({
        file,
        line: first + text.slice(0, match.index).split("\n").length - 1,
        fault: `"${match[0]}": ${advice}`,
      });
  }
  for (const [index, line] of lines.entries())
    if (isComment && line.length > MAX_COLUMNS)
      found.push({ file, line: first + index, fault: `a comment line of ${line.length} columns` });
  return found;
}

/** Comments, and strings that hold a sentence: messages and the names of tests. */
function passagesOfCode(text) {
  const source = ts.createSourceFile("file.ts", text, ts.ScriptTarget.Latest, true);
  const lineAt = (position) => source.getLineAndCharacterOfPosition(position).line + 1;
  const comments = new Map();
  const strings = [];
  const visit = (node) => {
    for (const range of [
      ...(ts.getLeadingCommentRanges(text, node.getFullStart()) ?? []),
      ...(ts.getTrailingCommentRanges(text, node.end) ?? []),
    ])
      comments.set(range.pos, range.end);
    if ("text" in node && typeof node.text === "string" && !ts.isIdentifier(node) && /\w+ \w+ \w+/.test(node.text))
      strings.push({ first: lineAt(node.getStart()), lines: node.text.split("\n"), isComment: false });
    ts.forEachChild(node, visit);
  };
  ts.forEachChild(source, visit);
  const passages = [...comments].map(([start, end]) => {
    const column = source.getLineAndCharacterOfPosition(start).character;
    return commentPassage(" ".repeat(column) + text.slice(start, end), lineAt(start));
  });
  return [...joinedLineComments(passages), ...strings];
}

/** A comment as a passage. Its marks become spaces, which keeps the columns. Its fenced blocks become empty lines. */
function commentPassage(comment, first) {
  const isLine = comment.trim().startsWith("//");
  const lines = comment
    .split("\n")
    .map((line) => line.replace(/^(\s*)(\/\*\*?|\*\/|\*|\/\/)/, (mark) => " ".repeat(mark.length)));
  return { first, lines: withoutFences(lines).map((line) => line.replace(/\*\/$/, "")), isComment: true, isLine };
}

/** Line comments under each other are one passage. */
function joinedLineComments(passages) {
  const joined = [];
  for (const passage of passages.sort((a, b) => a.first - b.first)) {
    const last = joined.at(-1);
    if (passage.isLine && last?.isLine && last.first + last.lines.length === passage.first)
      last.lines.push(...passage.lines);
    else joined.push(passage);
  }
  return joined;
}

/** Paragraphs of Markdown; each list item and each row of a table is one. */
function passagesOfMarkdown(text) {
  const passages = [];
  for (const [index, line] of withoutFences(text.split("\n")).entries()) {
    const isOwn = /^\s*([-*>|]|\d+\.) ?/.test(line) || line.trim() === "" || /^#/.test(line);
    if (/^#/.test(line)) continue;
    const last = passages.at(-1);
    if (isOwn || !last || last.first + last.lines.length !== index + 1) {
      const cells = line.split(/\s\|\s/);
      for (const cell of cells)
        passages.push({ first: index + 1, lines: [cell.replace(/^\s*([-*>|]|\d+\.)\s+/, "")], isComment: false });
    } else last.lines.push(line);
  }
  return passages;
}

function withoutFences(lines) {
  let isFenced = false;
  return lines.map((line) => {
    const isFence = /^\s*```/.test(line);
    if (isFence) isFenced = !isFenced;
    return isFence || isFenced ? "" : line;
  });
}

function countsOf(found) {
  const counts = new Map();
  for (const { file } of found) {
    const place = file
      .split("/")
      .slice(0, file.startsWith("packages/core/src") ? 4 : 3)
      .join("/");
    counts.set(place, (counts.get(place) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]);
}
