/** Arrays: dense ones by their elements, those of nothing but numbers or strings as blocks, others by their keys. */

import { ARRAY, DOUBLES, INTS8, INTS16, INTS32, SHORT_ARRAY, SPARSE, STRINGS } from "../format/tags.ts";
import { atPath } from "./encode-failure.ts";
import { writeText } from "./text-writer.ts";
import type { WriteContext } from "./write-context.ts";

/** From this length on it is worth looking whether all elements are of one kind. */
const MIN_BLOCK_ELEMENTS = 8;
/** The texts of so many characters together are written as one; longer, and a part would keep too much alive. */
const MAX_JOINED_CHARS = 4096;

/** The last keys of short arrays, by length. */
const LAST_KEYS = ["0", "1", "2"];

/** See {@link assumeDense}. */
let assumedDense: readonly unknown[] | undefined;

/**
 * Has something written in which there is a list that the library has made itself, with neither holes nor other properties:
 * it is not looked for them, which would take most of the time that a long list of numbers takes.
 */
export function assumeDense(list: readonly unknown[], write: () => void): void {
  assumedDense = list;
  try {
    write();
  } finally {
    assumedDense = undefined;
  }
}

/** Appends an array, with its holes and own properties. */
export function writeArray(writer: WriteContext, array: readonly unknown[]): void {
  const { length } = array;
  if (array === assumedDense) {
    if (length < MIN_BLOCK_ELEMENTS || !writeBlock(writer, array, true)) writeElements(writer, array);
    return;
  }
  if (length < MIN_BLOCK_ELEMENTS) {
    if (hasOnlyElements(array)) writeElements(writer, array);
    else writeSparse(writer, array);
    return;
  }
  if (writeBlock(writer, array, false)) return;
  if (hasOnlyElements(array)) writeElements(writer, array);
  else writeSparse(writer, array);
}

/** Appends an array that the library has made itself. Its elements are called by names instead of their places. */
export function writeTuple(writer: WriteContext, tuple: readonly unknown[], names: readonly string[]): void {
  const { length } = tuple;
  writer.tryWriteReference(tuple);
  if (length >= MIN_BLOCK_ELEMENTS && writeBlock(writer, tuple, true)) return;
  writeArrayHeader(writer, length);
  let i = 0;
  try {
    for (; i < length; i++) writer.write(tuple[i]);
  } catch (thrown) {
    throw atPath(thrown, names[i] ?? `[${i}]`);
  }
}

/**
 * Appends an array of nothing but numbers, or nothing but strings, which has no holes then; `false` if it is another.
 *
 * @param isBare whether it is known that it has no properties
 */
function writeBlock(writer: WriteContext, array: readonly unknown[], isKnownDense: boolean): boolean {
  const first = array[0];
  if (typeof first === "number") return writeNumbers(writer, array, isKnownDense);
  return typeof first === "string" && writeStrings(writer, array, isKnownDense);
}

function hasOnlyElements(array: readonly unknown[]): boolean {
  const { length } = array;
  if (length <= LAST_KEYS.length) {
    const keys = Object.keys(array);
    return keys.length === length && (length === 0 || keys[length - 1] === LAST_KEYS[length - 1]);
  }
  if (hasProperties(array)) return false;
  for (let i = 0; i < length; i++) {
    if (array[i] === undefined && !Object.hasOwn(array, i)) return false;
  }
  return true;
}

/**
 * Whether an array without holes has properties of its own. There is no fast way to ask. Counting is the least slow one:
 * keys of short arrays, values of longer ones, of which V8 makes no strings.
 */
function hasProperties(array: readonly unknown[]): boolean {
  return Object.values(array).length !== array.length;
}

function writeElements(writer: WriteContext, array: readonly unknown[]): void {
  const { length } = array;
  writeArrayHeader(writer, length);
  let i = 0;
  try {
    for (; i < length; i++) writer.write(array[i]);
  } catch (thrown) {
    throw atPath(thrown, `[${i}]`);
  }
}

function writeArrayHeader(writer: WriteContext, length: number): void {
  if (length >= 16) {
    writer.tagAndCount(ARRAY, length);
  } else {
    writer.ensure(1);
    writer.tag(SHORT_ARRAY | length);
  }
}

/** Keys cost more than places, but there are arrays of four thousand million holes. */
function writeSparse(writer: WriteContext, array: readonly unknown[]): void {
  const keys = Object.keys(array);
  let elementCount = 0;
  while (elementCount < keys.length && isIndex(keys[elementCount] as string)) elementCount++;
  writer.tagAndCount(SPARSE, array.length);
  writer.count(elementCount);
  let i = 0;
  try {
    for (; i < elementCount; i++) {
      const index = Number(keys[i]);
      writer.count(index);
      writer.write(array[index]);
    }
  } catch (thrown) {
    throw atPath(thrown, `[${keys[i]}]`);
  }
  writer.properties(array, keys.slice(elementCount));
}

/** Own keys are in order: indices first. */
function isIndex(key: string): boolean {
  const index = Number(key);
  return index >= 0 && index < 0xffffffff && String(index) === key && Number.isInteger(index);
}

/** Appends an array of nothing but strings: their lengths, and all of them as one text. */
function writeStrings(writer: WriteContext, array: readonly unknown[], isKnownDense: boolean): boolean {
  const { length } = array;
  for (let i = 1; i < length; i++) {
    if (typeof array[i] !== "string") return false;
  }
  if (!isKnownDense && hasProperties(array)) return false;
  writer.tagAndCount(STRINGS, length);
  for (let i = 0; i < length; ) i = writeJoined(writer, array as readonly string[], i);
  return true;
}

/** Appends one group of strings and answers where the next begins. */
function writeJoined(writer: WriteContext, array: readonly string[], start: number): number {
  const { length } = array;
  let joined = array[start] as string;
  let end = start + 1;
  while (end < length && end - start < 128 && joined.length + (array[end] as string).length <= MAX_JOINED_CHARS)
    joined += array[end++];
  writer.count(end - start);
  for (let i = start; i < end; i++) writer.count((array[i] as string).length);
  writeText(writer, joined);
  return end;
}

/** Appends an array of nothing but numbers as one block; `false` if there is anything else in it. */
function writeNumbers(writer: WriteContext, array: readonly unknown[], isKnownDense: boolean): boolean {
  const { length } = array;
  let bits = 0;
  let i = 0;
  for (; i < length; i++) {
    const value = array[i];
    if (typeof value !== "number" || (value | 0) !== value || (value === 0 && 1 / value < 0)) break;
    bits |= value ^ (value >> 31);
  }
  const areIntegers = i === length;
  for (; i < length; i++) {
    if (typeof array[i] !== "number") return false;
  }
  if (!isKnownDense && hasProperties(array)) return false;
  if (areIntegers) writeInts(writer, array as readonly number[], bits);
  else writeDoubles(writer, array as readonly number[]);
  return true;
}

/** @param bits all bits that any of the numbers needs, but for its sign */
function writeInts(writer: WriteContext, array: readonly number[], bits: number): void {
  const { length } = array;
  const width = bits < 0x80 ? 1 : bits < 0x8000 ? 2 : 4;
  writer.tagAndCount(width === 1 ? INTS8 : width === 2 ? INTS16 : INTS32, length);
  writer.ensure(length * width);
  const { bytes, view, position } = writer;
  if (width === 1) {
    for (let i = 0; i < length; i++) bytes[position + i] = array[i] as number;
  } else if (width === 2) {
    for (let i = 0; i < length; i++) view.setInt16(position + i * 2, array[i] as number, true);
  } else {
    for (let i = 0; i < length; i++) view.setInt32(position + i * 4, array[i] as number, true);
  }
  writer.position = position + length * width;
}

function writeDoubles(writer: WriteContext, array: readonly number[]): void {
  const { length } = array;
  writer.tagAndCount(DOUBLES, length);
  writer.ensure(length * 8);
  const { view, position } = writer;
  for (let i = 0; i < length; i++) view.setFloat64(position + i * 8, array[i] as number, true);
  writer.position = position + length * 8;
}
