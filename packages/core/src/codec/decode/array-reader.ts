/** Arrays that are not simply one element after the other. */
import { ProtocolError } from "../../errors.ts";
import { readProperties } from "./property-reader.ts";
import type { ReadContext } from "./read-context.ts";

/** Reads an array by its indices, with holes between them, and its other properties. */
export function readSparse(reader: ReadContext): unknown[] {
  const length = reader.count();
  const array = reader.addReference(reader.chargeElements(length) ? new Array<unknown>(length) : emptyArray(length));
  const count = reader.length(2);
  for (let i = 0; i < count; i++) {
    const index = reader.count();
    if (index >= length) throw new ProtocolError("An array has an element beyond its length");
    array[index] = reader.read();
  }
  return readProperties(reader, array);
}

/** An array whose elements are kept in a table: V8 reserves memory for all up to some length, and for none beyond. */
function emptyArray(length: number): unknown[] {
  const array: unknown[] = [];
  array.length = 0xffffffff;
  array.length = length;
  return array;
}

/** Reads an array of nothing but strings, which lie together as one text for each group. */
export function readStrings(reader: ReadContext): string[] {
  const length = reader.length(1);
  if (!reader.chargeElements(length)) throw new ProtocolError("An array of strings is malformed");
  const array = reader.addReference(new Array<string>(length));
  for (let i = 0; i < length; ) i = readGroup(reader, array, i);
  return array;
}

function readGroup(reader: ReadContext, array: string[], start: number): number {
  const count = reader.length(1);
  const end = start + count;
  if (count === 0 || end > array.length) throw new ProtocolError("An array of strings is malformed");
  const lengths: number[] = [];
  for (let i = 0; i < count; i++) lengths.push(reader.count());
  const text = reader.text();
  let position = 0;
  for (let i = 0; i < count; i++) array[start + i] = text.slice(position, (position += lengths[i] as number));
  if (position !== text.length) throw new ProtocolError("An array of strings is malformed");
  return end;
}

/** Reads an array of integers of `width` bytes each. */
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
