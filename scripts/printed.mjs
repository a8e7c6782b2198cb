/**
 * Compares the output of an example with the output that its comments promise.
 *
 * A promise is a comment after `console.log(…);` in the same line: `// 49`. Text after a colon explains
 * it: `// null: the wait timed out`. A line that runs several times promises `// 1, 4, 9`, or
 * `// in any order: 16, 25`. The promised lines must appear in the order of the text, among others.
 */
const SAID = /console\.log\(.*\); \/\/ (.+)$/;
const ANY_ORDER = "in any order: ";

/**
 * @param {string} code the program
 * @param {string} output what it wrote to standard output
 * @param {{ inBlocks: boolean }} options whether lines in blocks count too: the program may have skipped them
 * @returns {string[]} the promises that are missing in the output
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

/** Returns the position after the promised output, or -1 if it is missing. */
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

/** Removes quotes: hosts differ in the quotes around text, and in where they print any. */
function plain(text) {
  return text.replaceAll(/["']/g, "").replaceAll(/\s+/g, " ").trim();
}
