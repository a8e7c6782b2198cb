/** The instance of a subclass, rebuilt in the process that it stands for. */
import { registry } from "@multiproc/core/child";
import type { ProcessOptions } from "./options.ts";
import type { Preparation } from "./preparation-data.ts";
import { Process } from "./process.ts";
import { family } from "./process-tree.ts";

/** Rebuilds it: the base class alone is constructed, since the fields of a subclass come with the message. */
export function revive(
  subclass: NonNullable<Preparation["subclass"]>,
  options: ProcessOptions,
  fields: unknown,
): Process {
  const Class = registry.classes.get(`${subclass.module}#${subclass.name}`)?.constructor;
  if (Class === undefined)
    throw new TypeError(`Module "${subclass.module}" does not register the class "${subclass.name}"`);
  const { name, daemon } = family.self;
  const process = Reflect.construct(Process, [{ ...options, name, daemon }], Class) as Process;
  family.childCount = 0; // it is no child of itself
  family.current = process;
  return Object.assign(process, fields);
}
