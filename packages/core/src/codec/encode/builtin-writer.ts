/**
 * Writers of BigInts, and of builtin classes whose contents are not properties.
 *
 * Each writer reads the contents with the method of the builtin prototype. That works for objects
 * of other realms, and for subclasses that override the method. If the object is not of the class
 * and only has its prototype, the method throws, and the writer returns false.
 */
import { describe } from "../format/describe.ts";
import { BIGINT, BIGINT64, BOXED, DATE, MAP, REGEXP, SET, URL_TEXT } from "../format/tags.ts";
import { atPath, EncodeFailure } from "./encode-failure.ts";
import { writeText } from "./text-writer.ts";
import type { WriteContext } from "./write-context.ts";

const mapSize = getter(Map.prototype, "size");
const setSize = getter(Set.prototype, "size");
const regExpSource = getter(RegExp.prototype, "source");
const regExpFlags = getter(RegExp.prototype, "flags");
const urlHref = getter(URL.prototype, "href");

/** Appends a BigInt: in 64 bits if it fits, otherwise as its sign and hexadecimal digits. */
export function writeBigInt(writer: WriteContext, value: bigint): void {
  if (BigInt.asIntN(64, value) === value) {
    writer.tag(BIGINT64);
    writer.view.setBigInt64(writer.position, value, true);
    writer.position += 8;
    return;
  }
  writer.tag(BIGINT);
  writer.tag(value < 0n ? 1 : 0);
  writeText(writer, (value < 0n ? -value : value).toString(16));
}

/** Appends a Map: its size, then keys and values in order. */
export function writeMap(writer: WriteContext, object: object): boolean {
  const size = callOrUndefined(mapSize, object) as number | undefined;
  if (size === undefined) return false;
  writer.tagAndCount(MAP, size);
  let written = 0;
  Map.prototype.forEach.call(object as Map<unknown, unknown>, (value, key) => {
    try {
      writer.write(key);
    } catch (thrown) {
      throw atPath(thrown, `.keys()[${written}]`);
    }
    try {
      writer.write(value);
    } catch (thrown) {
      throw atPath(thrown, `.get(${describe(key)})`);
    }
    written++;
  });
  if (written !== size) throw new EncodeFailure("a Map that changed while it was read");
  return true;
}

/** Appends a Set: its size, then the values in order. */
export function writeSet(writer: WriteContext, object: object): boolean {
  const size = callOrUndefined(setSize, object) as number | undefined;
  if (size === undefined) return false;
  writer.tagAndCount(SET, size);
  let written = 0;
  Set.prototype.forEach.call(object as Set<unknown>, (value) => {
    try {
      writer.write(value);
    } catch (thrown) {
      throw atPath(thrown, `.values()[${written}]`);
    }
    written++;
  });
  if (written !== size) throw new EncodeFailure("a Set that changed while it was read");
  return true;
}

/** Appends a Date, also an invalid one. */
export function writeDate(writer: WriteContext, object: object): boolean {
  const time = callOrUndefined(Date.prototype.getTime, object) as number | undefined;
  if (time === undefined) return false;
  writer.ensure(1);
  writer.tag(DATE);
  writer.float64(time);
  return true;
}

/** Appends a RegExp without its `lastIndex`, as structured clone does. */
export function writeRegExp(writer: WriteContext, object: object): boolean {
  const source = callOrUndefined(regExpSource, object) as string | undefined;
  if (source === undefined) return false;
  writer.ensure(1);
  writer.tag(REGEXP);
  writeText(writer, source);
  writeText(writer, regExpFlags.call(object) as string);
  return true;
}

/** Appends a boxed primitive, such as `Object(1n)`. */
export function writeBoxed(writer: WriteContext, object: object): boolean {
  for (const builtin of [Number, String, Boolean, BigInt]) {
    const value = callOrUndefined(builtin.prototype.valueOf, object);
    if (value === undefined) continue;
    writer.ensure(1);
    writer.tag(BOXED);
    writer.write(value);
    return true;
  }
  return false;
}

/** Appends a URL. */
export function writeUrl(writer: WriteContext, object: object): boolean {
  const href = callOrUndefined(urlHref, object) as string | undefined;
  if (href === undefined) return false;
  writer.ensure(1);
  writer.tag(URL_TEXT);
  writeText(writer, href);
  return true;
}

type Method = (this: unknown) => unknown;

/**
 * Calls a builtin method on an object; returns undefined if the object is not of the method's
 * class.
 */
function callOrUndefined(method: Method, object: object): unknown {
  try {
    return method.call(object);
  } catch {
    return undefined;
  }
}

function getter(prototype: object, name: string): Method {
  return Object.getOwnPropertyDescriptor(prototype, name)?.get as Method;
}
