/** `currentProcess()` and `activeChildren()`. */
import { Process } from "./process.ts";
import { processTree } from "./process-tree.ts";

/**
 * Returns the object of the process that this code runs in.
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
    processTree.childCount -= 1; // the object is not a child of itself
    processTree.current = new Process({ name, daemon });
  }
  return processTree.current as Process;
}

/**
 * Returns the children of this process that were started and have not ended.
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
