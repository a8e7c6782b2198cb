/** Rebuilds the instance of a subclass of `Process` in the child that it represents. */
import { registry } from "@multiproc/core/child";
import type { ProcessOptions } from "./options.ts";
import type { PreparationData } from "./preparation-data.ts";
import { Process } from "./process.ts";
import { processTree } from "./process-tree.ts";

/**
 * Constructs an instance of a subclass without running the constructor of the subclass, because the
 * fields were sent.
 */
export function rebuildSubclass(
  subclass: NonNullable<PreparationData["subclass"]>,
  options: ProcessOptions,
  fields: unknown,
): Process {
  const Class = registry.classes.get(`${subclass.module}#${subclass.name}`)?.constructor;
  if (Class === undefined)
    throw new TypeError(`Module "${subclass.module}" does not register the class "${subclass.name}"`);
  const { name, daemon } = processTree.self;
  const process = Reflect.construct(Process, [{ ...options, name, daemon }], Class) as Process;
  processTree.childCount = 0; // the object is not a child of itself
  processTree.current = process;
  return Object.assign(process, fields);
}
