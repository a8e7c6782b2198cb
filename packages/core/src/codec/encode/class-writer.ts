/** Finds out what an object is that is neither a plain one nor a plain array, and has it written. */
import { type RegisteredClass, registry } from "../../registry.ts";
import { HANDLE, type Shareable } from "../../targets/shareable.ts";
import { BUILTIN_SUBCLASS } from "../format/tags.ts";
import { writeArray } from "./array-writer.ts";
import { writeArrayBuffer, writeView } from "./binary-writer.ts";
import { writeBoxed, writeDate, writeMap, writeRegExp, writeSet, writeUrl } from "./builtin-writer.ts";
import { EncodeFailure } from "./encode-failure.ts";
import { writeError } from "./error-writer.ts";
import { writeShareable } from "./function-writer.ts";
import { writeText } from "./text-writer.ts";
import { whyUnsendable } from "./unsendable-classes.ts";
import type { WriteContext } from "./write-context.ts";

/** Writes an object of a builtin class; `false` if it only looks as if it were of that class. */
type BuiltinWriter = (writer: WriteContext, object: object) => boolean;
/** Writes an object with that prototype. */
type Writer = (writer: WriteContext, object: object, prototype: object) => void;

/** Builtin classes by the name that `Object.prototype.toString` gives their instances, also those of other realms. */
const BUILTINS: ReadonlyMap<string, { prototype: object; write: BuiltinWriter }> = new Map([
  ["Array", { prototype: Array.prototype, write: writeAnyArray }],
  ["Map", { prototype: Map.prototype, write: writeMap }],
  ["Set", { prototype: Set.prototype, write: writeSet }],
  ["Date", { prototype: Date.prototype, write: writeDate }],
  ["RegExp", { prototype: RegExp.prototype, write: writeRegExp }],
  ["Number", { prototype: Number.prototype, write: writeBoxed }],
  ["String", { prototype: String.prototype, write: writeBoxed }],
  ["Boolean", { prototype: Boolean.prototype, write: writeBoxed }],
  ["BigInt", { prototype: BigInt.prototype, write: writeBoxed }],
  ["URL", { prototype: URL.prototype, write: writeUrl }],
  ["Error", { prototype: Error.prototype, write: writeError }],
  ["ArrayBuffer", { prototype: ArrayBuffer.prototype, write: writeArrayBuffer }],
  ["DataView", { prototype: DataView.prototype, write: writeView }],
  ["TypedArray", { prototype: Object.getPrototypeOf(Uint8Array.prototype), write: writeView }],
]);

/** What was found out about prototypes. */
const writers = new WeakMap<object, Writer>();

/** Appends an object that is neither plain nor a plain array. */
export function writeByClass(writer: WriteContext, object: object, prototype: object | null): void {
  if (prototype === null) {
    if (tagOf(object) === "Module") throw new EncodeFailure("a module");
    writer.writeObject(object, null);
    return;
  }
  let write = writers.get(prototype);
  if (write === undefined) writers.set(prototype, (write = classify(object, prototype)));
  write(writer, object, prototype);
}

function classify(object: object, prototype: object): Writer {
  const tag = tagOf(object);
  const builtin = nearestBuiltin(prototype) ?? foreignBuiltin(object, tag);
  if (builtin === undefined) {
    const whyNot = whyUnsendable(object, tag);
    return (writer, each, proto) => writeInstance(writer, each, proto, whyNot);
  }
  const { write } = builtin;
  if (prototype === builtin.prototype || write === writeError || isTypedArrayPrototype(prototype)) {
    return (writer, each) => write(writer, each) || writer.writeObject(each, null);
  }
  return (writer, each, proto) => writeBuiltinSubclass(writer, each, proto, write);
}

/** The builtin class that a prototype is of, or inherits from. */
function nearestBuiltin(prototype: object): { prototype: object; write: BuiltinWriter } | undefined {
  for (let each: object | null = prototype; each !== null; each = Object.getPrototypeOf(each)) {
    for (const builtin of BUILTINS.values()) if (builtin.prototype === each) return builtin;
  }
  return undefined;
}

/** The builtin class of another realm. Each writer finds out whether it really is, but for errors nobody can. */
function foreignBuiltin(object: object, tag: string): { prototype: object; write: BuiltinWriter } | undefined {
  if (tag === "Error" && Symbol.toStringTag in object) return undefined;
  return BUILTINS.get(ArrayBuffer.isView(object) ? "TypedArray" : tag);
}

function isTypedArrayPrototype(prototype: object): boolean {
  return Object.hasOwn(prototype, "BYTES_PER_ELEMENT");
}

/** Appends an object of a class that inherits from a builtin one: as itself if the class is registered. */
function writeBuiltinSubclass(writer: WriteContext, object: object, prototype: object, write: BuiltinWriter): void {
  if (isShareable(object)) {
    writeShareable(writer, object);
    return;
  }
  const entry = registry.classesByPrototype.get(prototype);
  if (entry !== undefined) {
    const mark = writer.mark();
    writeSubclassHeader(writer, entry);
    if (write(writer, object)) {
      writer.properties(object, ownKeys(object));
      return;
    }
    writer.rollback(mark);
  } else if (write(writer, object)) {
    return;
  }
  writeInstance(writer, object, prototype, null);
}

function writeInstance(writer: WriteContext, object: object, prototype: object, whyNot: string | null): void {
  if (isShareable(object)) {
    writeShareable(writer, object);
    return;
  }
  const entry = registry.classesByPrototype.get(prototype);
  if (entry === undefined && whyNot !== null) throw new EncodeFailure(whyNot);
  writer.writeObject(object, entry ?? null);
}

function writeSubclassHeader(writer: WriteContext, entry: RegisteredClass): void {
  writer.attachments.requireModule(entry.module);
  writer.ensure(1);
  writer.tag(BUILTIN_SUBCLASS);
  writeText(writer, entry.module);
  writeText(writer, entry.name);
}

/** The own enumerable properties that are not part of the contents. */
function ownKeys(object: object): string[] {
  if (Array.isArray(object)) return [];
  return Object.keys(object).filter((key) => !(isIndexed(object) && /^\d+$/.test(key)));
}

function isIndexed(object: object): boolean {
  return ArrayBuffer.isView(object) || object instanceof String;
}

function isShareable(object: object): object is Shareable {
  return typeof (object as Partial<Shareable>)[HANDLE] === "function";
}

function writeAnyArray(writer: WriteContext, object: object): boolean {
  if (!Array.isArray(object)) return false;
  writeArray(writer, object);
  return true;
}

function tagOf(object: object): string {
  return Object.prototype.toString.call(object).slice(8, -1);
}
