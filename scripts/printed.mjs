/**
 * What an example says that it prints, against what it printed.
 *
 * It is said behind `console.log(…);` in the same line: `// 49`. What follows a colon explains it, `// null: it goes on`; a line that
 * runs several times says `// 1, 4, 9`, or `// in any order: 16, 25`. The lines come in the order of the text; others may be between.
 */
const SAID = /console\.log\(.*\); \/\/ (.+)$/;
const ANY_ORDER = "in any order: ";

/**
 * @param {string} code the program
 * @param {string} output what it wrote to standard output
 * @param {{ inBlocks: boolean }} options whether lines in blocks are looked at too: the program may have skipped these
 * @returns {string[]} what was said and is not there
 */
export function unprinted(code, output, { inBlocks }) {
  const printed = output.split("\n").map(plain);
  const missing = [];
  let at = 0;
  for (const line of code.split("\n")) {
    const [, said] = SAID.exec(line) ?? [];
    if (said === undefined || (!inBlocks && /^\s/.test(line))) continue;
    const next = end(said, printed, at);
    if (next < 0) missing.push(said);
    else at = next;
  }
  return missing;
}

/** Where to go on behind what was said; -1 if it is not there. */
function end(said, printed, at) {
  if (said.startsWith(ANY_ORDER)) {
    const values = said.slice(ANY_ORDER.length).split(", ");
    const places = values.map((value) => printed.indexOf(plain(value), at));
    return places.includes(-1) ? -1 : Math.max(...places) + 1;
  }
  const [value = said] = said.split(": ", 1);
  for (const values of [[said], [value], value.split(", ")]) {
    let place = at;
    for (const each of values) {
      const found = place < 0 ? -1 : printed.indexOf(plain(each), place);
      place = found < 0 ? -1 : found + 1;
    }
    if (place >= 0) return place;
  }
  return -1;
}

/** The hosts differ in the quotes around text, and whether there are any depends on where it stands. */
function plain(text) {
  return text.replaceAll(/["']/g, "").replaceAll(/\s+/g, " ").trim();
}
