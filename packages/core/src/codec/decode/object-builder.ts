/**
 * Makes objects of known keys.
 *
 * A store `object[key] = value` is as fast as one to a fixed name as long as it always sees the same key, and several
 * times slower as soon as it sees others. Generated code would give each form stores of its own, but a codec that evaluates
 * text has no place where evaluation is forbidden. So there are a few copies of the same function, and each belongs to
 * one of the forms that come most often.
 */
import type { DecodedShape } from "./decoded-shape.ts";
import type { ValueReader } from "./value-reader.ts";

/** How often a form must have come before it gets a copy. */
const USES_BEFORE_BUILDER = 100;
/** How many keys the copies can fill. */
const MAX_BUILDER_KEYS = 8;

type Builder = (reader: ValueReader, shape: DecodedShape) => object;

/** Reads the values of a form's keys into a plain object. */
export function buildObject(reader: ValueReader, shape: DecodedShape): object {
  if (shape.builder !== null) return shape.builder(reader, shape);
  if (shape.useCount < USES_BEFORE_BUILDER && ++shape.useCount === USES_BEFORE_BUILDER)
    shape.builder = takeBuilder(shape);
  const object: Record<string, unknown> = {};
  if (reader.isTracking) reader.addReference(object);
  const { keys, size } = shape;
  if (shape.hasPrototypeKeys) {
    for (let i = 0; i < size; i++) defineOwn(object, keys[i] as string, reader.read());
  } else {
    for (let i = 0; i < size; i++) object[keys[i] as string] = reader.read();
  }
  return object;
}

/** Makes an own property, whatever the object inherits under that name. */
export function defineOwn(object: object, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}

let takenCount = 0;

function takeBuilder(shape: DecodedShape): Builder | null {
  if (shape.hasPrototypeKeys || shape.size === 0 || shape.size > MAX_BUILDER_KEYS || takenCount === builders.length)
    return null;
  return builders[takenCount++] as Builder;
}

/** The copies. */
const builders: readonly Builder[] = [
  (reader, shape) => {
    const { size } = shape;
    const object = reader.startObject();
    object[shape.k0] = reader.read();
    if (size > 1) object[shape.k1] = reader.read();
    if (size > 2) object[shape.k2] = reader.read();
    if (size > 3) object[shape.k3] = reader.read();
    if (size > 4) object[shape.k4] = reader.read();
    if (size > 5) object[shape.k5] = reader.read();
    if (size > 6) object[shape.k6] = reader.read();
    if (size > 7) object[shape.k7] = reader.read();
    return object;
  },
  (reader, shape) => {
    const { size } = shape;
    const object = reader.startObject();
    object[shape.k0] = reader.read();
    if (size > 1) object[shape.k1] = reader.read();
    if (size > 2) object[shape.k2] = reader.read();
    if (size > 3) object[shape.k3] = reader.read();
    if (size > 4) object[shape.k4] = reader.read();
    if (size > 5) object[shape.k5] = reader.read();
    if (size > 6) object[shape.k6] = reader.read();
    if (size > 7) object[shape.k7] = reader.read();
    return object;
  },
  (reader, shape) => {
    const { size } = shape;
    const object = reader.startObject();
    object[shape.k0] = reader.read();
    if (size > 1) object[shape.k1] = reader.read();
    if (size > 2) object[shape.k2] = reader.read();
    if (size > 3) object[shape.k3] = reader.read();
    if (size > 4) object[shape.k4] = reader.read();
    if (size > 5) object[shape.k5] = reader.read();
    if (size > 6) object[shape.k6] = reader.read();
    if (size > 7) object[shape.k7] = reader.read();
    return object;
  },
  (reader, shape) => {
    const { size } = shape;
    const object = reader.startObject();
    object[shape.k0] = reader.read();
    if (size > 1) object[shape.k1] = reader.read();
    if (size > 2) object[shape.k2] = reader.read();
    if (size > 3) object[shape.k3] = reader.read();
    if (size > 4) object[shape.k4] = reader.read();
    if (size > 5) object[shape.k5] = reader.read();
    if (size > 6) object[shape.k6] = reader.read();
    if (size > 7) object[shape.k7] = reader.read();
    return object;
  },
  (reader, shape) => {
    const { size } = shape;
    const object = reader.startObject();
    object[shape.k0] = reader.read();
    if (size > 1) object[shape.k1] = reader.read();
    if (size > 2) object[shape.k2] = reader.read();
    if (size > 3) object[shape.k3] = reader.read();
    if (size > 4) object[shape.k4] = reader.read();
    if (size > 5) object[shape.k5] = reader.read();
    if (size > 6) object[shape.k6] = reader.read();
    if (size > 7) object[shape.k7] = reader.read();
    return object;
  },
  (reader, shape) => {
    const { size } = shape;
    const object = reader.startObject();
    object[shape.k0] = reader.read();
    if (size > 1) object[shape.k1] = reader.read();
    if (size > 2) object[shape.k2] = reader.read();
    if (size > 3) object[shape.k3] = reader.read();
    if (size > 4) object[shape.k4] = reader.read();
    if (size > 5) object[shape.k5] = reader.read();
    if (size > 6) object[shape.k6] = reader.read();
    if (size > 7) object[shape.k7] = reader.read();
    return object;
  },
  (reader, shape) => {
    const { size } = shape;
    const object = reader.startObject();
    object[shape.k0] = reader.read();
    if (size > 1) object[shape.k1] = reader.read();
    if (size > 2) object[shape.k2] = reader.read();
    if (size > 3) object[shape.k3] = reader.read();
    if (size > 4) object[shape.k4] = reader.read();
    if (size > 5) object[shape.k5] = reader.read();
    if (size > 6) object[shape.k6] = reader.read();
    if (size > 7) object[shape.k7] = reader.read();
    return object;
  },
  (reader, shape) => {
    const { size } = shape;
    const object = reader.startObject();
    object[shape.k0] = reader.read();
    if (size > 1) object[shape.k1] = reader.read();
    if (size > 2) object[shape.k2] = reader.read();
    if (size > 3) object[shape.k3] = reader.read();
    if (size > 4) object[shape.k4] = reader.read();
    if (size > 5) object[shape.k5] = reader.read();
    if (size > 6) object[shape.k6] = reader.read();
    if (size > 7) object[shape.k7] = reader.read();
    return object;
  },
  (reader, shape) => {
    const { size } = shape;
    const object = reader.startObject();
    object[shape.k0] = reader.read();
    if (size > 1) object[shape.k1] = reader.read();
    if (size > 2) object[shape.k2] = reader.read();
    if (size > 3) object[shape.k3] = reader.read();
    if (size > 4) object[shape.k4] = reader.read();
    if (size > 5) object[shape.k5] = reader.read();
    if (size > 6) object[shape.k6] = reader.read();
    if (size > 7) object[shape.k7] = reader.read();
    return object;
  },
  (reader, shape) => {
    const { size } = shape;
    const object = reader.startObject();
    object[shape.k0] = reader.read();
    if (size > 1) object[shape.k1] = reader.read();
    if (size > 2) object[shape.k2] = reader.read();
    if (size > 3) object[shape.k3] = reader.read();
    if (size > 4) object[shape.k4] = reader.read();
    if (size > 5) object[shape.k5] = reader.read();
    if (size > 6) object[shape.k6] = reader.read();
    if (size > 7) object[shape.k7] = reader.read();
    return object;
  },
  (reader, shape) => {
    const { size } = shape;
    const object = reader.startObject();
    object[shape.k0] = reader.read();
    if (size > 1) object[shape.k1] = reader.read();
    if (size > 2) object[shape.k2] = reader.read();
    if (size > 3) object[shape.k3] = reader.read();
    if (size > 4) object[shape.k4] = reader.read();
    if (size > 5) object[shape.k5] = reader.read();
    if (size > 6) object[shape.k6] = reader.read();
    if (size > 7) object[shape.k7] = reader.read();
    return object;
  },
  (reader, shape) => {
    const { size } = shape;
    const object = reader.startObject();
    object[shape.k0] = reader.read();
    if (size > 1) object[shape.k1] = reader.read();
    if (size > 2) object[shape.k2] = reader.read();
    if (size > 3) object[shape.k3] = reader.read();
    if (size > 4) object[shape.k4] = reader.read();
    if (size > 5) object[shape.k5] = reader.read();
    if (size > 6) object[shape.k6] = reader.read();
    if (size > 7) object[shape.k7] = reader.read();
    return object;
  },
  (reader, shape) => {
    const { size } = shape;
    const object = reader.startObject();
    object[shape.k0] = reader.read();
    if (size > 1) object[shape.k1] = reader.read();
    if (size > 2) object[shape.k2] = reader.read();
    if (size > 3) object[shape.k3] = reader.read();
    if (size > 4) object[shape.k4] = reader.read();
    if (size > 5) object[shape.k5] = reader.read();
    if (size > 6) object[shape.k6] = reader.read();
    if (size > 7) object[shape.k7] = reader.read();
    return object;
  },
  (reader, shape) => {
    const { size } = shape;
    const object = reader.startObject();
    object[shape.k0] = reader.read();
    if (size > 1) object[shape.k1] = reader.read();
    if (size > 2) object[shape.k2] = reader.read();
    if (size > 3) object[shape.k3] = reader.read();
    if (size > 4) object[shape.k4] = reader.read();
    if (size > 5) object[shape.k5] = reader.read();
    if (size > 6) object[shape.k6] = reader.read();
    if (size > 7) object[shape.k7] = reader.read();
    return object;
  },
  (reader, shape) => {
    const { size } = shape;
    const object = reader.startObject();
    object[shape.k0] = reader.read();
    if (size > 1) object[shape.k1] = reader.read();
    if (size > 2) object[shape.k2] = reader.read();
    if (size > 3) object[shape.k3] = reader.read();
    if (size > 4) object[shape.k4] = reader.read();
    if (size > 5) object[shape.k5] = reader.read();
    if (size > 6) object[shape.k6] = reader.read();
    if (size > 7) object[shape.k7] = reader.read();
    return object;
  },
  (reader, shape) => {
    const { size } = shape;
    const object = reader.startObject();
    object[shape.k0] = reader.read();
    if (size > 1) object[shape.k1] = reader.read();
    if (size > 2) object[shape.k2] = reader.read();
    if (size > 3) object[shape.k3] = reader.read();
    if (size > 4) object[shape.k4] = reader.read();
    if (size > 5) object[shape.k5] = reader.read();
    if (size > 6) object[shape.k6] = reader.read();
    if (size > 7) object[shape.k7] = reader.read();
    return object;
  },
];
