/** Readers of the properties of plain objects and of instances. */
import { ProtocolError, TargetError } from "../../errors.ts";
import { registry } from "../../registry.ts";
import { defineOwn } from "./object-builder.ts";
import type { DecodedShape, ReadContext } from "./read-context.ts";

/** Reads properties (a count, names and values) into `object`. */
export function readProperties<T extends object>(reader: ReadContext, object: T): T {
  const count = reader.length(2);
  for (let i = 0; i < count; i++) {
    const key = reader.text();
    if (key in object) defineOwn(object, key, reader.read());
    else (object as Record<string, unknown>)[key] = reader.read();
  }
  return object;
}

/** Reads an instance of a registered class whose keys are in the dictionary. */
export function readInstance(reader: ReadContext, shape: DecodedShape): object {
  const { module, name } = shape.reference as { module: string; name: string };
  const object = reader.addReference(Object.create(prototypeOf(reader, module, name)) as object);
  for (const key of shape.keys) defineOwn(object, key, reader.read());
  return object;
}

/** Reads an instance of a registered class that extends a builtin class. */
export function readBuiltinSubclass(reader: ReadContext): unknown {
  const prototype = readPrototype(reader);
  const object = reader.read();
  if (typeof object !== "object" || object === null)
    throw new ProtocolError("Malformed message: a value with a class is not an object");
  Object.setPrototypeOf(object, prototype);
  return readProperties(reader, object);
}

/** Reads an instance of a registered class whose keys are in the message. */
export function readInstanceWithKeys(reader: ReadContext): object {
  return readProperties(reader, reader.addReference(Object.create(readPrototype(reader)) as object));
}

function readPrototype(reader: ReadContext): object {
  return prototypeOf(reader, reader.text(), reader.text());
}

/**
 * Returns the prototype of a registered class. If the class is not registered, makes the message
 * fail at its end and returns `Object.prototype`.
 */
function prototypeOf(reader: ReadContext, module: string, name: string): object {
  return (
    reader.deferFailure(() => {
      const found = registry.classes.get(`${module}#${name}`);
      if (found !== undefined) return found.constructor.prototype as object;
      throw new TargetError(
        `Class "${name}" is not registered by module "${module}": call registerClass(import.meta.url, ${name}) there`,
      );
    }) ?? Object.prototype
  );
}
