/**
 * Selects the writer of an object by its prototype. Plain objects and plain arrays do not need one.
 */
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

/**
 * Writes an object of a builtin class. Returns false if the object is not one, but only has its
 * prototype or name.
 */
type BuiltinWriter = (writer: WriteContext, object: object) => boolean;
/** Writes an object with a given prototype. */
type ClassWriter = (writer: WriteContext, object: object, prototype: object) => void;

/**
 * Builtin classes, by the names that `Object.prototype.toString` returns for their instances, also
 * for those of other realms. `TypedArray` stands for all typed arrays.
 */
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

/** The writers of the prototypes that have been classified. */
const classWriters = new WeakMap<object, ClassWriter>();

/** Appends an object that is neither a plain object nor a plain array. */
export function writeByClass(writer: WriteContext, object: object, prototype: object | null): void {
  if (prototype === null) {
    if (tagOf(object) === "Module") throw new EncodeFailure("a module");
    writer.writeObject(object, null);
    return;
  }
  let write = classWriters.get(prototype);
  if (write === undefined) classWriters.set(prototype, (write = classify(object, prototype)));
  write(writer, object, prototype);
}

function classify(object: object, prototype: object): ClassWriter {
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

/** Returns the builtin class that a prototype belongs to or inherits from. */
function nearestBuiltin(prototype: object): { prototype: object; write: BuiltinWriter } | undefined {
  for (let each: object | null = prototype; each !== null; each = Object.getPrototypeOf(each)) {
    for (const builtin of BUILTINS.values()) if (builtin.prototype === each) return builtin;
  }
  return undefined;
}

/**
 * Returns the builtin class whose name an object of another realm has. The writer of the class then
 * verifies the object. Errors cannot be verified, so an object that sets its name to "Error" itself
 * is excluded here.
 */
function foreignBuiltin(object: object, tag: string): { prototype: object; write: BuiltinWriter } | undefined {
  if (tag === "Error" && Symbol.toStringTag in object) return undefined;
  return BUILTINS.get(ArrayBuffer.isView(object) ? "TypedArray" : tag);
}

function isTypedArrayPrototype(prototype: object): boolean {
  return Object.hasOwn(prototype, "BYTES_PER_ELEMENT");
}

/**
 * Appends an instance of a class that extends a builtin class. It is sent as an instance of its own
 * class if that is registered, otherwise as one of the builtin class.
 */
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
      writer.properties(object, extraKeys(object));
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

/** Returns the keys of the properties that the writer of the builtin class does not write. */
function extraKeys(object: object): string[] {
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
