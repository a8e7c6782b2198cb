/**
 * The entry module of a child without permission to read the files of this library. It imports
 * statically what other children load on demand: on Deno, static imports need no permission.
 */
export * as codec from "@multiproc/core/internal";
export { run } from "./process-entry.ts";
export { rebuildSubclass } from "./subclass-instance.ts";
