/** Readers of BigInts, and of builtin classes whose contents are not properties. */
import { ProtocolError } from "../../errors.ts";
import { BIGINT64 } from "../format/tags.ts";
import type { ReadContext } from "./read-context.ts";

/** Reads a BigInt. */
export function readBigInt(reader: ReadContext, tag: number): bigint {
  if (tag === BIGINT64) {
    const position = reader.position;
    reader.position = position + 8;
    return reader.view().getBigInt64(position, true);
  }
  const sign = reader.byte();
  const digits = reader.text();
  if (sign > 1 || !/^[0-9a-f]+$/.test(digits)) throw new ProtocolError("Malformed message: invalid big integer");
  const value = BigInt(`0x${digits}`);
  return sign === 1 ? -value : value;
}

/** Reads a Map. */
export function readMap(reader: ReadContext): Map<unknown, unknown> {
  const map = reader.addReference(new Map<unknown, unknown>());
  const size = reader.length(2);
  for (let i = 0; i < size; i++) map.set(reader.read(), reader.read());
  return map;
}

/** Reads a Set. */
export function readSet(reader: ReadContext): Set<unknown> {
  const set = reader.addReference(new Set<unknown>());
  const size = reader.length(1);
  for (let i = 0; i < size; i++) set.add(reader.read());
  return set;
}

/** Reads a boxed primitive, such as `Object(1n)`. */
export function readBoxed(reader: ReadContext): object {
  const value = reader.read();
  if (value === null || !["number", "string", "boolean", "bigint"].includes(typeof value)) {
    throw new ProtocolError("Malformed message: boxed value is not a primitive");
  }
  return reader.addReference(Object(value) as object);
}
