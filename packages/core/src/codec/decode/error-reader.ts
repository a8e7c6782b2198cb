/** The reader of errors. An error never makes the receiver load a module. */
import { ProtocolError } from "../../errors.ts";
import { errorPrototype } from "../format/error-classes.ts";
import type { ReadContext } from "./read-context.ts";

/**
 * Reads an error. It gets the nearest of its classes that is known here, or `Error`. It keeps its
 * name.
 */
export function readError(reader: ReadContext): unknown {
  const classes: string[] = [];
  const count = reader.length(1);
  for (let i = 0; i < count; i++) classes.push(reader.text());
  const [name, message, stack] = [optionalText(reader), optionalText(reader), optionalText(reader)];
  const error = reader.addReference(createError(errorPrototype(classes), name, message));
  if (name !== undefined && !hasName(error, name)) defineNonEnumerable(error, "name", name);
  defineNonEnumerable(error, "stack", stack ?? `${name}: ${message}`);
  const propertyCount = reader.length(3);
  for (let i = 0; i < propertyCount; i++) {
    const key = reader.text();
    const enumerable = reader.byte() === 1;
    Object.defineProperty(error, key, { value: reader.read(), writable: true, enumerable, configurable: true });
  }
  return error;
}

function createError(prototype: object, name: string | undefined, message: string | undefined): Error {
  if (prototype === DOMException.prototype) return new DOMException(message, name);
  const error = new Error(message);
  if (prototype !== Error.prototype) Object.setPrototypeOf(error, prototype);
  return error;
}

function hasName(error: Error, name: string): boolean {
  try {
    return error.name === name;
  } catch {
    // A getter of a registered class can throw, because the constructor has not run.
    return false;
  }
}

function defineNonEnumerable(error: object, key: string, value: string): void {
  Object.defineProperty(error, key, { value, writable: true, enumerable: false, configurable: true });
}

function optionalText(reader: ReadContext): string | undefined {
  const value = reader.read();
  if (value === undefined || typeof value === "string") return value;
  throw new ProtocolError("Malformed message: invalid error");
}
