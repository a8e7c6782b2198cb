/**
 * Big integers, and builtin classes with contents that are no properties.
 *
 * Each function reads the contents with the builtin's own method, which works across realms and in spite of overridden
 * methods, and throws for what is not of the class; then the function answers `false`.
 */

import { BIGINT, BIGINT64, BOXED, DATE, MAP, REGEXP, SET, URL_TEXT } from "../format/tags.ts";
import { describe, Refusal, refusedAt } from "./encode-failure.ts";
import { writeText } from "./text-writer.ts";
import type { Scribe } from "./value-writer.ts";

const mapSize = getter(Map.prototype, "size");
const setSize = getter(Set.prototype, "size");
const regExpSource = getter(RegExp.prototype, "source");
const regExpFlags = getter(RegExp.prototype, "flags");
const urlHref = getter(URL.prototype, "href");

/** Appends a big integer: 64 bits, or its sign and hexadecimal digits. */
export function writeBigInt(scribe: Scribe, value: bigint): void {
  if (BigInt.asIntN(64, value) === value) {
    scribe.tag(BIGINT64);
    scribe.view.setBigInt64(scribe.position, value, true);
    scribe.position += 8;
    return;
  }
  scribe.tag(BIGINT);
  scribe.tag(value < 0n ? 1 : 0);
  writeText(scribe, (value < 0n ? -value : value).toString(16));
}

/** Appends a Map, keys and values in order. */
export function writeMap(scribe: Scribe, object: object): boolean {
  const size = contents(mapSize, object) as number | undefined;
  if (size === undefined) return false;
  scribe.tagAndCount(MAP, size);
  let written = 0;
  Map.prototype.forEach.call(object as Map<unknown, unknown>, (value, key) => {
    try {
      scribe.write(key);
    } catch (thrown) {
      throw refusedAt(thrown, `.keys()[${written}]`);
    }
    try {
      scribe.write(value);
    } catch (thrown) {
      throw refusedAt(thrown, `.get(${describe(key)})`);
    }
    written++;
  });
  if (written !== size) throw new Refusal("a Map that changed while it was read");
  return true;
}

/** Appends a Set in order. */
export function writeSet(scribe: Scribe, object: object): boolean {
  const size = contents(setSize, object) as number | undefined;
  if (size === undefined) return false;
  scribe.tagAndCount(SET, size);
  let written = 0;
  Set.prototype.forEach.call(object as Set<unknown>, (value) => {
    try {
      scribe.write(value);
    } catch (thrown) {
      throw refusedAt(thrown, `.values()[${written}]`);
    }
    written++;
  });
  if (written !== size) throw new Refusal("a Set that changed while it was read");
  return true;
}

/** Appends a Date, also an invalid one. */
export function writeDate(scribe: Scribe, object: object): boolean {
  const time = contents(Date.prototype.getTime, object) as number | undefined;
  if (time === undefined) return false;
  scribe.grow(1);
  scribe.tag(DATE);
  scribe.float64(time);
  return true;
}

/** Appends a RegExp without its `lastIndex`, as structured clone does. */
export function writeRegExp(scribe: Scribe, object: object): boolean {
  const source = contents(regExpSource, object) as string | undefined;
  if (source === undefined) return false;
  scribe.grow(1);
  scribe.tag(REGEXP);
  writeText(scribe, source);
  writeText(scribe, regExpFlags.call(object) as string);
  return true;
}

/** Appends a primitive in its object, such as `Object(1n)`. */
export function writeBoxed(scribe: Scribe, object: object): boolean {
  for (const builtin of [Number, String, Boolean, BigInt]) {
    const value = contents(builtin.prototype.valueOf, object);
    if (value === undefined) continue;
    scribe.grow(1);
    scribe.tag(BOXED);
    scribe.write(value);
    return true;
  }
  return false;
}

/** Appends a URL. */
export function writeUrl(scribe: Scribe, object: object): boolean {
  const href = contents(urlHref, object) as string | undefined;
  if (href === undefined) return false;
  scribe.grow(1);
  scribe.tag(URL_TEXT);
  writeText(scribe, href);
  return true;
}

type Method = (this: unknown) => unknown;

/** What a builtin's method says about an object; nothing if the object is not of its class. */
function contents(method: Method, object: object): unknown {
  try {
    return method.call(object);
  } catch {
    return undefined;
  }
}

function getter(prototype: object, name: string): Method {
  return Object.getOwnPropertyDescriptor(prototype, name)?.get as Method;
}
