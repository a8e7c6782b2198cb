/** The instance of a subclass, rebuilt in the process that it stands for. */
import { registry } from "@multiproc/core/child";
import type { ProcessOptions } from "./options.ts";
import type { PreparationData } from "./preparation-data.ts";
import { Process } from "./process.ts";
import { processTree } from "./process-tree.ts";

/** Rebuilds it: the base class alone is constructed, since the fields of a subclass come with the message. */
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
  processTree.childCount = 0; // it is no child of itself
  processTree.current = process;
  return Object.assign(process, fields);
}
