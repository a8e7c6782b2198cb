/** The interpreter of the children, if the program sets one. */
import { describeValue, singleton } from "@multiproc/core/internal";

const state: { path: string | undefined } = singleton("executable", () => ({ path: undefined }));

/**
 * Sets the interpreter of children, instead of the one of this process.
 *
 * @param path the path of the interpreter, or a name that is looked up in `PATH`; undefined for the
 * one of this process
 * @throws {TypeError} if `path` is not a string, or is empty
 *
 * @example Children run under the interpreter of this process again
 * ```ts
 * import { setExecutable } from "@multiproc/start-methods";
 *
 * setExecutable(undefined);
 * ```
 */
export function setExecutable(path: string | undefined): void {
  if (path !== undefined && (typeof path !== "string" || path === "")) {
    throw new TypeError(`setExecutable() takes the path of an interpreter, not ${describeValue(path)}`);
  }
  state.path = path;
}

/** Returns the interpreter that the program has set, if it has. */
export function getExecutable(): string | undefined {
  return state.path;
}
