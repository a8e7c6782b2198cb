/** Errors, which always arrive: what of them cannot be sent is replaced by words. */
import { errorClassNames } from "../format/error-classes.ts";
import { ARRAY, ERROR } from "../format/tags.ts";
import { describe } from "./encode-failure.ts";
import { writeText } from "./text-writer.ts";
import type { Scribe } from "./value-writer.ts";

/** What is written for every error, before its properties. */
const HEAD = new Set(["message", "stack"]);
/** Properties that matter although they are not enumerable. */
const HIDDEN = ["cause", "errors", "code"];

/** Appends an error: classes, name, message, stack, and properties with whether they are enumerable. */
export function writeError(scribe: Scribe, error: object): boolean {
  scribe.grow(1);
  scribe.tag(ERROR);
  const classes = errorClassNames(error);
  scribe.count(classes.length);
  for (const name of classes) writeText(scribe, name);
  for (const name of ["name", "message", "stack"]) scribe.write(textOf(error, name));
  const properties = propertiesOf(error);
  scribe.count(properties.length);
  for (const [name, enumerable] of properties) {
    writeText(scribe, name);
    scribe.grow(1);
    scribe.tag(enumerable ? 1 : 0);
    writeProperty(scribe, error, name);
  }
  return true;
}

function propertiesOf(error: object): [name: string, enumerable: boolean][] {
  const found: [string, boolean][] = [];
  for (const name of Object.keys(error)) if (!HEAD.has(name)) found.push([name, true]);
  for (const name of HIDDEN) {
    if (name in error && !Object.keys(error).includes(name) && isOfItself(error, name)) found.push([name, false]);
  }
  return found;
}

/** Whether a property is the error's own, or comes from a class that its receiver may not have. */
function isOfItself(error: object, name: string): boolean {
  return Object.hasOwn(error, name) || (name === "code" && !(error instanceof DOMException));
}

function writeProperty(scribe: Scribe, error: object, name: string): void {
  let value: unknown;
  try {
    value = (error as Record<string, unknown>)[name];
  } catch (thrown) {
    value = `cannot be read: ${describe(thrown)}`;
  }
  if (name !== "errors" || !Array.isArray(value)) {
    writeOrDescribe(scribe, value);
  } else if (!scribe.refer(value)) {
    scribe.tagAndCount(ARRAY, value.length);
    for (const each of value) writeOrDescribe(scribe, each);
  }
}

function writeOrDescribe(scribe: Scribe, value: unknown): void {
  const mark = scribe.mark();
  try {
    scribe.write(value);
  } catch {
    scribe.rollback(mark);
    writeText(scribe, describe(value));
  }
}

/** A property that is a text unless somebody made it something else. */
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
