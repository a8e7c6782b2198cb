/**
 * Writers of arrays, which have three encodings:
 *
 * - a *block*: 8 or more elements, all of them numbers or all of them strings
 * - a list of elements: any other *dense* array, which has no holes and no named properties
 * - pairs of index and element, then named properties: any other array
 */
import { ARRAY, DOUBLES, INTS8, INTS16, INTS32, SHORT_ARRAY, SPARSE, STRINGS } from "../format/tags.ts";
import { atPath } from "./encode-failure.ts";
import { writeText } from "./text-writer.ts";
import type { WriteContext } from "./write-context.ts";

/**
 * The shortest array that is written as a block. In a shorter one, the check of all types costs
 * more than the block saves.
 */
const MIN_BLOCK_ELEMENTS = 8;
/**
 * The longest text of a group of several strings. The receiver's strings are slices of the text, so
 * each of them keeps the whole text in memory.
 */
const MAX_GROUP_CHARS = 4096;
const MAX_GROUP_STRINGS = 128;

/** The last keys of dense arrays of one, two and three elements. */
const LAST_KEYS = ["0", "1", "2"];

/** The list that {@link assumeDense} takes for dense. */
let assumedDense: readonly unknown[] | undefined;

/**
 * Calls `write`, and makes the writer take `list` for dense. The library itself must have created
 * the list. That saves the search for holes and properties, which is most of the time for a long
 * list of numbers.
 */
export function assumeDense(list: readonly unknown[], write: () => void): void {
  assumedDense = list;
  try {
    write();
  } finally {
    assumedDense = undefined;
  }
}

/** Appends an array, with its holes and named properties. */
export function writeArray(writer: WriteContext, array: readonly unknown[]): void {
  const { length } = array;
  if (array === assumedDense) {
    if (length < MIN_BLOCK_ELEMENTS || !writeBlock(writer, array, true)) writeElements(writer, array);
    return;
  }
  if (length < MIN_BLOCK_ELEMENTS) {
    if (isDense(array)) writeElements(writer, array);
    else writeSparse(writer, array);
    return;
  }
  if (writeBlock(writer, array, false)) return;
  if (isDense(array)) writeElements(writer, array);
  else writeSparse(writer, array);
}

/**
 * Appends a dense array that the library itself has created. Paths in errors contain `names`
 * instead of indices.
 */
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
 * Appends an array as a block. Returns false if it has holes, named properties, or elements that
 * are not all numbers or all strings.
 *
 * @param isKnownDense whether the array is known to have no named properties
 */
function writeBlock(writer: WriteContext, array: readonly unknown[], isKnownDense: boolean): boolean {
  const first = array[0];
  if (typeof first === "number") return writeNumbers(writer, array, isKnownDense);
  return typeof first === "string" && writeStrings(writer, array, isKnownDense);
}

function isDense(array: readonly unknown[]): boolean {
  const { length } = array;
  if (length <= LAST_KEYS.length) {
    const keys = Object.keys(array);
    return keys.length === length && (length === 0 || keys[length - 1] === LAST_KEYS[length - 1]);
  }
  if (hasNamedProperties(array)) return false;
  for (let i = 0; i < length; i++) {
    if (array[i] === undefined && !Object.hasOwn(array, i)) return false;
  }
  return true;
}

/**
 * Whether an array without holes has named properties, which only counting its properties shows.
 * Counting values is faster than counting keys, because V8 creates a string for each key.
 */
function hasNamedProperties(array: readonly unknown[]): boolean {
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

/**
 * Appends pairs of index and element, then the named properties. Holes must take no bytes, because
 * an array can have four billion of them.
 */
function writeSparse(writer: WriteContext, array: readonly unknown[]): void {
  const keys = Object.keys(array);
  // The indices come before all other keys.
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

/** Whether a key is an array index. */
function isIndex(key: string): boolean {
  const index = Number(key);
  return index >= 0 && index < 0xffffffff && String(index) === key && Number.isInteger(index);
}

/**
 * Appends an array of strings in groups: the lengths of the strings, then one text of all. Returns
 * false for any other array.
 */
function writeStrings(writer: WriteContext, array: readonly unknown[], isKnownDense: boolean): boolean {
  const { length } = array;
  for (let i = 1; i < length; i++) {
    if (typeof array[i] !== "string") return false;
  }
  if (!isKnownDense && hasNamedProperties(array)) return false;
  writer.tagAndCount(STRINGS, length);
  for (let i = 0; i < length; ) i = writeGroup(writer, array as readonly string[], i);
  return true;
}

/** Appends one group of strings and returns the index at which the next one starts. */
function writeGroup(writer: WriteContext, array: readonly string[], start: number): number {
  const { length } = array;
  let joined = array[start] as string;
  let end = start + 1;
  while (
    end < length &&
    end - start < MAX_GROUP_STRINGS &&
    joined.length + (array[end] as string).length <= MAX_GROUP_CHARS
  )
    joined += array[end++];
  writer.count(end - start);
  for (let i = start; i < end; i++) writer.count((array[i] as string).length);
  writeText(writer, joined);
  return end;
}

/** Appends an array of numbers as one block. Returns false for any other array. */
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
  if (!isKnownDense && hasNamedProperties(array)) return false;
  if (areIntegers) writeInts(writer, array as readonly number[], bits);
  else writeDoubles(writer, array as readonly number[]);
  return true;
}

/** @param bits the bitwise OR of all numbers, in which a negative number `n` counts as `~n` */
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
