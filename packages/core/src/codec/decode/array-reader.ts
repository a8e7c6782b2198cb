/** Readers of sparse arrays, and of arrays that are sent as blocks of numbers or strings. */
import { ProtocolError } from "../../errors.ts";
import { readProperties } from "./property-reader.ts";
import type { ReadContext } from "./read-context.ts";

const INVALID_STRINGS = "Malformed message: invalid array of strings";

/**
 * Reads an array with holes or named properties: pairs of index and element, then the properties.
 */
export function readSparse(reader: ReadContext): unknown[] {
  const length = reader.count();
  const array = reader.addReference(reader.chargeElements(length) ? new Array<unknown>(length) : arrayOfHoles(length));
  const count = reader.length(2);
  for (let i = 0; i < count; i++) {
    const index = reader.count();
    if (index >= length) throw new ProtocolError("Malformed message: an array index exceeds the length of the array");
    array[index] = reader.read();
  }
  return readProperties(reader, array);
}

/**
 * Creates an array of holes that takes no memory for them. Setting a huge length first makes V8
 * store the elements in a hash table ("dictionary mode").
 */
function arrayOfHoles(length: number): unknown[] {
  const array: unknown[] = [];
  array.length = 0xffffffff;
  array.length = length;
  return array;
}

/**
 * Reads an array of strings, which is sent in groups. The strings of a group are slices of one
 * text.
 */
export function readStrings(reader: ReadContext): string[] {
  const length = reader.length(1);
  if (!reader.chargeElements(length)) throw new ProtocolError(INVALID_STRINGS);
  const array = reader.addReference(new Array<string>(length));
  for (let i = 0; i < length; ) i = readGroup(reader, array, i);
  return array;
}

function readGroup(reader: ReadContext, array: string[], start: number): number {
  const count = reader.length(1);
  const end = start + count;
  if (count === 0 || end > array.length) throw new ProtocolError(INVALID_STRINGS);
  const lengths: number[] = [];
  for (let i = 0; i < count; i++) lengths.push(reader.count());
  const text = reader.text();
  let position = 0;
  for (let i = 0; i < count; i++) array[start + i] = text.slice(position, (position += lengths[i] as number));
  if (position !== text.length) throw new ProtocolError(INVALID_STRINGS);
  return end;
}

/** Reads an array of integers, each of which takes `width` bytes. */
export function readInts(reader: ReadContext, width: number): number[] {
  const length = reader.length(width);
  const array = new Array<number>(length);
  const { bytes, position } = reader;
  const view = reader.view();
  if (width === 1) {
    for (let i = 0; i < length; i++) array[i] = ((bytes[position + i] as number) << 24) >> 24;
  } else if (width === 2) {
    for (let i = 0; i < length; i++) array[i] = view.getInt16(position + i * 2, true);
  } else {
    for (let i = 0; i < length; i++) array[i] = view.getInt32(position + i * 4, true);
  }
  reader.position = position + length * width;
  return array;
}

/** Reads an array of floating point numbers. */
export function readDoubles(reader: ReadContext): number[] {
  const length = reader.length(8);
  const array = new Array<number>(length);
  const { position } = reader;
  const view = reader.view();
  for (let i = 0; i < length; i++) array[i] = view.getFloat64(position + i * 8, true);
  reader.position = position + length * 8;
  return array;
}
