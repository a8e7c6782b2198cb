/** The classes that an error can have at both ends: builtin ones, this library's, and registered ones. */
import * as errors from "../errors.ts";
import { registry } from "../registry.ts";

/** By a name that is the same in every process; those of this library are the same on every host. */
const prototypes = new Map<string, object>();
const names = new Map<object, string>();

for (const builtin of [
  Error,
  TypeError,
  RangeError,
  SyntaxError,
  ReferenceError,
  URIError,
  EvalError,
  AggregateError,
  DOMException,
]) {
  add(builtin.name, builtin.prototype);
}
for (const own of Object.values(errors)) add(`multiproc:${own.name}`, own.prototype);

/** The names of an error's class and of the classes above it, as far as others may know them; nearest first. */
export function errorClassNames(error: object): string[] {
  const found: string[] = [];
  for (let each: object | null = Object.getPrototypeOf(error); each !== null; each = Object.getPrototypeOf(each)) {
    const registered = registry.classesByPrototype.get(each);
    const name = names.get(each) ?? (registered && `${registered.module}#${registered.name}`);
    if (name !== undefined) found.push(name);
  }
  return found;
}

/** The prototype of the first of these classes that is known here, or that of `Error`. Loads nothing. */
export function errorPrototype(candidates: readonly string[]): object {
  for (const name of candidates) {
    const prototype = prototypes.get(name) ?? (registry.classes.get(name)?.constructor.prototype as object | undefined);
    if (prototype !== undefined && (prototype === Error.prototype || prototype instanceof Error)) return prototype;
  }
  return Error.prototype;
}

function add(name: string, prototype: object): void {
  prototypes.set(name, prototype);
  names.set(prototype, name);
}
