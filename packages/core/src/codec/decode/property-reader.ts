/** Properties, of plain objects and of instances. */
import { ProtocolError, TargetError } from "../../errors.ts";
import { registry } from "../../registry.ts";
import { defineOwn } from "./object-builder.ts";
import type { DecodedShape, ReadContext } from "./read-context.ts";

/** Reads a count, and names and values, into `object`. */
export function readProperties<T extends object>(reader: ReadContext, object: T): T {
  const count = reader.length(2);
  for (let i = 0; i < count; i++) {
    const key = reader.text();
    if (key in object) defineOwn(object, key, reader.read());
    else (object as Record<string, unknown>)[key] = reader.read();
  }
  return object;
}

/** Reads an instance of a registered class of known keys. */
export function readInstance(reader: ReadContext, shape: DecodedShape): object {
  const { module, name } = shape.reference as { module: string; name: string };
  const object = reader.addReference(Object.create(prototypeOf(reader, module, name)) as object);
  for (const key of shape.keys) defineOwn(object, key, reader.read());
  return object;
}

/** Reads an object of a registered class that inherits from a builtin one. */
export function readBuiltinSubclass(reader: ReadContext): unknown {
  const prototype = readPrototype(reader);
  const object = reader.read();
  if (typeof object !== "object" || object === null)
    throw new ProtocolError("A message gives a class to what is no object");
  Object.setPrototypeOf(object, prototype);
  return readProperties(reader, object);
}

/** Reads an instance of a registered class, with its keys. */
export function readInstanceWithKeys(reader: ReadContext): object {
  return readProperties(reader, reader.addReference(Object.create(readPrototype(reader)) as object));
}

function readPrototype(reader: ReadContext): object {
  return prototypeOf(reader, reader.text(), reader.text());
}

/** The prototype of a registered class; that of plain objects when there is none, and the failure is noted. */
function prototypeOf(reader: ReadContext, module: string, name: string): object {
  return (
    reader.deferFailure(() => {
      const found = registry.classes.get(`${module}#${name}`);
      if (found !== undefined) return found.constructor.prototype as object;
      throw new TargetError(
        `Module "${module}" registers no class "${name}": call registerClass(import.meta.url, ${name}) in it`,
      );
    }) ?? Object.prototype
  );
}
