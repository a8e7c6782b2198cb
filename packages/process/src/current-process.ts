/** The processes that a program asks for: the one that it runs in, and its children. */
import { Process } from "./process.ts";
import { processTree } from "./process-tree.ts";

/**
 * The object that stands for the process this code runs in.
 *
 * @example
 * ```ts
 * import { currentProcess } from "@multiproc/process";
 *
 * console.log(currentProcess().name); // "MainProcess"
 * ```
 */
export function currentProcess(): Process {
  if (processTree.current === undefined) {
    const { name, daemon } = processTree.self;
    processTree.childCount -= 1; // it is no child of itself
    processTree.current = new Process({ name, daemon });
  }
  return processTree.current as Process;
}

/**
 * The children of this process that have been started and have not ended.
 *
 * @example
 * ```ts
 * import { activeChildren } from "@multiproc/process";
 *
 * console.log(activeChildren().length); // 0
 * ```
 */
export function activeChildren(): Process[] {
  return [...processTree.children] as Process[];
}
