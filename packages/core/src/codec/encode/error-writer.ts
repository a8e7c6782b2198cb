/**
 * The writer of errors. An error can always be sent. A property that cannot be sent is replaced by
 * a description of its value.
 */
import { describe } from "../format/describe.ts";
import { errorClassNames } from "../format/error-classes.ts";
import { ARRAY, ERROR } from "../format/tags.ts";
import { writeText } from "./text-writer.ts";
import type { WriteContext } from "./write-context.ts";

/** Properties that are not sent again, because the header of every error contains them. */
const HEADER_PROPERTIES = new Set(["message", "stack"]);
/** Properties that are sent although they are not enumerable. */
const NON_ENUMERABLE_PROPERTIES = ["cause", "errors", "code"];

/** Appends an error: classes, name, message, stack, and the properties with their enumerability. */
export function writeError(writer: WriteContext, error: object): boolean {
  writer.ensure(1);
  writer.tag(ERROR);
  const classes = errorClassNames(error);
  writer.count(classes.length);
  for (const name of classes) writeText(writer, name);
  for (const name of ["name", "message", "stack"]) writer.write(textOf(error, name));
  const properties = propertiesOf(error);
  writer.count(properties.length);
  for (const [name, enumerable] of properties) {
    writeText(writer, name);
    writer.ensure(1);
    writer.tag(enumerable ? 1 : 0);
    writeProperty(writer, error, name);
  }
  return true;
}

function propertiesOf(error: object): [name: string, enumerable: boolean][] {
  const found: [string, boolean][] = [];
  for (const name of Object.keys(error)) if (!HEADER_PROPERTIES.has(name)) found.push([name, true]);
  for (const name of NON_ENUMERABLE_PROPERTIES) {
    if (name in error && !Object.keys(error).includes(name) && mustBeSent(error, name)) found.push([name, false]);
  }
  return found;
}

/**
 * Whether a property is the error's own, or a `code` that comes from a class that the receiver may
 * lack.
 */
function mustBeSent(error: object, name: string): boolean {
  return Object.hasOwn(error, name) || (name === "code" && !(error instanceof DOMException));
}

function writeProperty(writer: WriteContext, error: object, name: string): void {
  let value: unknown;
  try {
    value = (error as Record<string, unknown>)[name];
  } catch (thrown) {
    value = `cannot be read: ${describe(thrown)}`;
  }
  if (name !== "errors" || !Array.isArray(value)) {
    writeOrDescribe(writer, value);
  } else if (!writer.tryWriteReference(value)) {
    writer.tagAndCount(ARRAY, value.length);
    for (const each of value) writeOrDescribe(writer, each);
  }
}

function writeOrDescribe(writer: WriteContext, value: unknown): void {
  const mark = writer.mark();
  try {
    writer.write(value);
  } catch {
    writer.rollback(mark);
    writeText(writer, describe(value));
  }
}

/** Returns a property as a text; undefined if it is missing or cannot be read. */
function textOf(error: object, name: string): string | undefined {
  try {
    const value = (error as Record<string, unknown>)[name];
    return value === undefined || (name === "message" && value === "" && !Object.hasOwn(error, name))
      ? undefined
      : String(value);
  } catch {
    return undefined;
  }
}
