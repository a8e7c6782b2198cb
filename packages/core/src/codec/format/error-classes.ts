/**
 * The classes of errors that sender and receiver share: builtin classes, those of this library, and
 * registered classes.
 */
import { type ErrorClass, registry } from "../../registry.ts";

const builtins = [
  Error,
  TypeError,
  RangeError,
  SyntaxError,
  ReferenceError,
  URIError,
  EvalError,
  AggregateError,
  DOMException,
];
const builtinsByName = new Map<string, ErrorClass>(builtins.map((builtin) => [builtin.name, builtin]));

/**
 * Returns the names of an error's class and its superclasses, nearest first. Classes outside of the
 * three groups above are left out.
 */
export function errorClassNames(error: object): string[] {
  const found: string[] = [];
  let prototype: object | null = Object.getPrototypeOf(error);
  for (; prototype !== null; prototype = Object.getPrototypeOf(prototype)) {
    const name = sharedClassName(prototype);
    if (name !== undefined) found.push(name);
  }
  return found;
}

/**
 * Returns the prototype of the first named class that is known here and is an error class;
 * otherwise that of `Error`. Loads no module.
 */
export function errorPrototype(candidates: readonly string[]): object {
  for (const name of candidates) {
    const knownClass = builtinsByName.get(name) ?? registry.errors.get(name) ?? registry.classes.get(name)?.constructor;
    const prototype = knownClass?.prototype as object | undefined;
    if (prototype === Error.prototype || prototype instanceof Error) return prototype;
  }
  return Error.prototype;
}

function sharedClassName(prototype: object): string | undefined {
  const libraryName = registry.errorNames.get(prototype);
  if (libraryName !== undefined) return libraryName;
  const registered = registry.classesByPrototype.get(prototype);
  if (registered !== undefined) return `${registered.module}#${registered.name}`;
  const { name } = prototype.constructor;
  return builtinsByName.get(name)?.prototype === prototype ? name : undefined;
}
