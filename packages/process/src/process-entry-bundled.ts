/**
 * The entry of a process that may not read this library's files, and so cannot load parts of it later: on Deno, a program needs
 * no permission for what it imports from the start.
 */
export * as codec from "@multiproc/core/internal";
export { run } from "./process-entry.ts";
export { rebuildSubclass } from "./subclass-instance.ts";
