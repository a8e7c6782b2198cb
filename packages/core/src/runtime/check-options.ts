/**
 * Checks the options of public calls. Options that are not a plain object, and options with an
 * unknown name, are errors. The error proposes the most similar known name.
 */

/** Largest edit distance between a misspelt option and the option that an error proposes. */
const MAX_EDITS = 3;

/**
 * Checks the names of the options of a call. The options may be `undefined`.
 *
 * @param call the call as the user writes it, for the error: `"new Pool()"`
 * @param options the argument that the user passed
 * @param known the names of all options of the call
 * @param synonyms names that other libraries use, each with ours: `{ workers: "processes" }`
 * @throws {TypeError} if `options` is not a plain object, or has a name that is not in `known`
 */
export function checkOptions(
  call: string,
  options: unknown,
  known: readonly string[],
  synonyms: Readonly<Record<string, string>> = {},
): void {
  if (options === undefined) return;
  if (!isPlainObject(options))
    throw new TypeError(
      `${call} takes its options as one object, such as { ${known[0]}: … }, not ${describeValue(options)}`,
    );
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    const nearest = Object.hasOwn(synonyms, name) ? synonyms[name] : nearestOf(name, known);
    const proposal = nearest === undefined ? "" : ` Did you mean "${nearest}"?`;
    throw new TypeError(`${call} does not take the option "${name}".${proposal} It takes: ${known.join(", ")}`);
  }
}

function isPlainObject(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  // Each realm (`node:vm`) has its own `Object.prototype`. The prototype of each of them is null.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** Returns whether a value is a function that was written with the keyword `class`. */
export function isClass(value: unknown): boolean {
  return typeof value === "function" && /^class[\s{]/.test(Function.prototype.toString.call(value));
}

/** Describes a wrong argument for an error message. */
export function describeValue(value: unknown): string {
  if (typeof value === "function")
    return `the ${isClass(value) ? "class" : "function"} ${value.name || "without a name"}`;
  if (typeof value === "object" && value !== null)
    return Array.isArray(value) ? "an array" : `an instance of ${value.constructor?.name || "a class"}`;
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

function nearestOf(name: string, known: readonly string[]): string | undefined {
  const ranked = known.map((each) => ({ each, edits: editDistance(name.toLowerCase(), each.toLowerCase()) }));
  ranked.sort((a, b) => a.edits - b.edits);
  const [best] = ranked;
  return best !== undefined && best.edits <= Math.min(MAX_EDITS, name.length / 2) ? best.each : undefined;
}

/** Returns the Levenshtein distance: the number of letters to insert, remove or replace. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
