import { singleton } from "@multiproc/core/internal";

const state: { path: string | undefined } = singleton("executable", () => ({ path: undefined }));

/**
 * Sets the interpreter that children are started with, in place of this process's own.
 *
 * @param path the program's path, or its name if it is to be found in `PATH`; undefined for this process's own again
 *
 * @example Children under the interpreter of this process, said explicitly
 * ```ts
 * import { setExecutable } from "@multiproc/start-methods";
 *
 * setExecutable(undefined);
 * ```
 */
export function setExecutable(path: string | undefined): void {
  if (path !== undefined && (typeof path !== "string" || path === "")) {
    throw new TypeError(`setExecutable() takes the path of an interpreter, not ${JSON.stringify(path)}`);
  }
  state.path = path;
}

/** The interpreter that was set, if one was. */
export function getExecutable(): string | undefined {
  return state.path;
}
