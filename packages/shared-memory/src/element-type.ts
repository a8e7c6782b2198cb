import { describeValue } from "@multiproc/core/internal";

/** The type of a shared value, or of the elements of a shared array. */
export type ElementType =
  | "int8"
  | "uint8"
  | "int16"
  | "uint16"
  | "int32"
  | "uint32"
  | "int64"
  | "uint64"
  | "float32"
  | "float64";

/** The typed array for an element type. */
export type ArrayOf<T extends ElementType> = {
  int8: Int8Array<ArrayBuffer>;
  uint8: Uint8Array<ArrayBuffer>;
  int16: Int16Array<ArrayBuffer>;
  uint16: Uint16Array<ArrayBuffer>;
  int32: Int32Array<ArrayBuffer>;
  uint32: Uint32Array<ArrayBuffer>;
  int64: BigInt64Array<ArrayBuffer>;
  uint64: BigUint64Array<ArrayBuffer>;
  float32: Float32Array<ArrayBuffer>;
  float64: Float64Array<ArrayBuffer>;
}[T];

interface ArrayType<T extends ElementType> {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBuffer, offset: number, length: number): ArrayOf<T>;
}

const ARRAYS: { readonly [T in ElementType]: ArrayType<T> } = {
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  float32: Float32Array,
  float64: Float64Array,
};

/** The JavaScript type of an element. */
export type ElementOf<T extends ElementType> = T extends "int64" | "uint64" ? bigint : number;

/** The element types with atomic operations. */
export type AtomicType = Exclude<ElementType, "float32" | "float64">;

/** Returns the size of an element in bytes. */
export function elementSize(type: ElementType): number {
  return arrayType(type).BYTES_PER_ELEMENT;
}

/** Returns a typed array over a buffer. */
export function createView<T extends ElementType>(type: T, buffer: ArrayBuffer, length: number): ArrayOf<T> {
  return new (arrayType(type))(buffer, 0, length);
}

/** Checks the value of an element. @throws {TypeError} if it is not of the JavaScript type that `type` needs */
export function checkElement(call: string, type: ElementType, value: unknown): void {
  const expected = type === "int64" || type === "uint64" ? "bigint" : "number";
  if (typeof value !== expected)
    throw new TypeError(`${call} takes a ${expected} for ${type}, not ${describeValue(value)}`);
}

function arrayType<T extends ElementType>(type: T): ArrayType<T> {
  const found = Object.hasOwn(ARRAYS, type) ? (ARRAYS[type] as ArrayType<T>) : undefined;
  if (found !== undefined) return found;
  throw new TypeError(`Unknown element type "${String(type)}": use one of ${Object.keys(ARRAYS).join(", ")}`);
}
