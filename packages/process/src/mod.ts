/**
 * Runs functions in child processes.
 *
 * A {@link Process} takes a *target*, which is a function that another process can find, and its
 * arguments. `start()` starts the child, and `join()` waits for its end. No child outlives its
 * parent, however either of them ends.
 *
 * @module
 */
export { cpuCount } from "@multiproc/core";
export { activeChildren, currentProcess } from "./current-process.ts";
export type { ProcessOptions } from "./options.ts";

export { Process } from "./process.ts";
export { type ParentProcess, parentProcess } from "./process-tree.ts";
export type { Sentinel } from "./sentinel.ts";
