/**
 * Functions that run in processes of their own.
 *
 * A {@link Process} takes a target, a function that another process can find, and its arguments. `start()` starts the child,
 * `join()` waits for its end. No child outlives its parent, however either of them ends.
 *
 * @module
 */
export { cpuCount } from "@multiproc/core";
export type { ProcessOptions } from "./options.ts";
export { currentProcess, Process } from "./process.ts";
export { activeChildren, type ParentProcess, parentProcess } from "./process-tree.ts";
export type { Sentinel } from "./sentinel.ts";
