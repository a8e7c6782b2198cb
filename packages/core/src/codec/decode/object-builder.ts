/**
 * Makes objects of known keys.
 *
 * A store `object[key] = value` is as fast as one to a fixed name as long as it always sees the same key, and several
 * times slower as soon as it sees others. Generated code would give each form stores of its own, but a codec that evaluates
 * text has no place where evaluation is forbidden. So there are a few copies of the same function, and each belongs to
 * one of the forms that come most often.
 */
import type { Form } from "./decoded-shape.ts";
import type { Reader } from "./value-reader.ts";

/** How often a form must have come before it gets a copy. */
const OFTEN = 100;
/** How many keys the copies can fill. */
const MAX_KEYS = 8;

type Builder = (reader: Reader, form: Form) => object;

/** Reads the values of a form's keys into a plain object. */
export function buildObject(reader: Reader, form: Form): object {
  if (form.builder !== null) return form.builder(reader, form);
  if (form.uses < OFTEN && ++form.uses === OFTEN) form.builder = takeBuilder(form);
  const object: Record<string, unknown> = {};
  if (reader.isTracking) reader.track(object);
  const { keys, size } = form;
  if (form.isDelicate) {
    for (let i = 0; i < size; i++) define(object, keys[i] as string, reader.read());
  } else {
    for (let i = 0; i < size; i++) object[keys[i] as string] = reader.read();
  }
  return object;
}

/** Makes an own property, whatever the object inherits under that name. */
export function define(object: object, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}

let taken = 0;

function takeBuilder(form: Form): Builder | null {
  if (form.isDelicate || form.size === 0 || form.size > MAX_KEYS || taken === builders.length) return null;
  return builders[taken++] as Builder;
}

/** The copies. */
const builders: readonly Builder[] = [
  (reader, form) => {
    const { size } = form;
    const object = reader.begin();
    object[form.k0] = reader.read();
    if (size > 1) object[form.k1] = reader.read();
    if (size > 2) object[form.k2] = reader.read();
    if (size > 3) object[form.k3] = reader.read();
    if (size > 4) object[form.k4] = reader.read();
    if (size > 5) object[form.k5] = reader.read();
    if (size > 6) object[form.k6] = reader.read();
    if (size > 7) object[form.k7] = reader.read();
    return object;
  },
  (reader, form) => {
    const { size } = form;
    const object = reader.begin();
    object[form.k0] = reader.read();
    if (size > 1) object[form.k1] = reader.read();
    if (size > 2) object[form.k2] = reader.read();
    if (size > 3) object[form.k3] = reader.read();
    if (size > 4) object[form.k4] = reader.read();
    if (size > 5) object[form.k5] = reader.read();
    if (size > 6) object[form.k6] = reader.read();
    if (size > 7) object[form.k7] = reader.read();
    return object;
  },
  (reader, form) => {
    const { size } = form;
    const object = reader.begin();
    object[form.k0] = reader.read();
    if (size > 1) object[form.k1] = reader.read();
    if (size > 2) object[form.k2] = reader.read();
    if (size > 3) object[form.k3] = reader.read();
    if (size > 4) object[form.k4] = reader.read();
    if (size > 5) object[form.k5] = reader.read();
    if (size > 6) object[form.k6] = reader.read();
    if (size > 7) object[form.k7] = reader.read();
    return object;
  },
  (reader, form) => {
    const { size } = form;
    const object = reader.begin();
    object[form.k0] = reader.read();
    if (size > 1) object[form.k1] = reader.read();
    if (size > 2) object[form.k2] = reader.read();
    if (size > 3) object[form.k3] = reader.read();
    if (size > 4) object[form.k4] = reader.read();
    if (size > 5) object[form.k5] = reader.read();
    if (size > 6) object[form.k6] = reader.read();
    if (size > 7) object[form.k7] = reader.read();
    return object;
  },
  (reader, form) => {
    const { size } = form;
    const object = reader.begin();
    object[form.k0] = reader.read();
    if (size > 1) object[form.k1] = reader.read();
    if (size > 2) object[form.k2] = reader.read();
    if (size > 3) object[form.k3] = reader.read();
    if (size > 4) object[form.k4] = reader.read();
    if (size > 5) object[form.k5] = reader.read();
    if (size > 6) object[form.k6] = reader.read();
    if (size > 7) object[form.k7] = reader.read();
    return object;
  },
  (reader, form) => {
    const { size } = form;
    const object = reader.begin();
    object[form.k0] = reader.read();
    if (size > 1) object[form.k1] = reader.read();
    if (size > 2) object[form.k2] = reader.read();
    if (size > 3) object[form.k3] = reader.read();
    if (size > 4) object[form.k4] = reader.read();
    if (size > 5) object[form.k5] = reader.read();
    if (size > 6) object[form.k6] = reader.read();
    if (size > 7) object[form.k7] = reader.read();
    return object;
  },
  (reader, form) => {
    const { size } = form;
    const object = reader.begin();
    object[form.k0] = reader.read();
    if (size > 1) object[form.k1] = reader.read();
    if (size > 2) object[form.k2] = reader.read();
    if (size > 3) object[form.k3] = reader.read();
    if (size > 4) object[form.k4] = reader.read();
    if (size > 5) object[form.k5] = reader.read();
    if (size > 6) object[form.k6] = reader.read();
    if (size > 7) object[form.k7] = reader.read();
    return object;
  },
  (reader, form) => {
    const { size } = form;
    const object = reader.begin();
    object[form.k0] = reader.read();
    if (size > 1) object[form.k1] = reader.read();
    if (size > 2) object[form.k2] = reader.read();
    if (size > 3) object[form.k3] = reader.read();
    if (size > 4) object[form.k4] = reader.read();
    if (size > 5) object[form.k5] = reader.read();
    if (size > 6) object[form.k6] = reader.read();
    if (size > 7) object[form.k7] = reader.read();
    return object;
  },
  (reader, form) => {
    const { size } = form;
    const object = reader.begin();
    object[form.k0] = reader.read();
    if (size > 1) object[form.k1] = reader.read();
    if (size > 2) object[form.k2] = reader.read();
    if (size > 3) object[form.k3] = reader.read();
    if (size > 4) object[form.k4] = reader.read();
    if (size > 5) object[form.k5] = reader.read();
    if (size > 6) object[form.k6] = reader.read();
    if (size > 7) object[form.k7] = reader.read();
    return object;
  },
  (reader, form) => {
    const { size } = form;
    const object = reader.begin();
    object[form.k0] = reader.read();
    if (size > 1) object[form.k1] = reader.read();
    if (size > 2) object[form.k2] = reader.read();
    if (size > 3) object[form.k3] = reader.read();
    if (size > 4) object[form.k4] = reader.read();
    if (size > 5) object[form.k5] = reader.read();
    if (size > 6) object[form.k6] = reader.read();
    if (size > 7) object[form.k7] = reader.read();
    return object;
  },
  (reader, form) => {
    const { size } = form;
    const object = reader.begin();
    object[form.k0] = reader.read();
    if (size > 1) object[form.k1] = reader.read();
    if (size > 2) object[form.k2] = reader.read();
    if (size > 3) object[form.k3] = reader.read();
    if (size > 4) object[form.k4] = reader.read();
    if (size > 5) object[form.k5] = reader.read();
    if (size > 6) object[form.k6] = reader.read();
    if (size > 7) object[form.k7] = reader.read();
    return object;
  },
  (reader, form) => {
    const { size } = form;
    const object = reader.begin();
    object[form.k0] = reader.read();
    if (size > 1) object[form.k1] = reader.read();
    if (size > 2) object[form.k2] = reader.read();
    if (size > 3) object[form.k3] = reader.read();
    if (size > 4) object[form.k4] = reader.read();
    if (size > 5) object[form.k5] = reader.read();
    if (size > 6) object[form.k6] = reader.read();
    if (size > 7) object[form.k7] = reader.read();
    return object;
  },
  (reader, form) => {
    const { size } = form;
    const object = reader.begin();
    object[form.k0] = reader.read();
    if (size > 1) object[form.k1] = reader.read();
    if (size > 2) object[form.k2] = reader.read();
    if (size > 3) object[form.k3] = reader.read();
    if (size > 4) object[form.k4] = reader.read();
    if (size > 5) object[form.k5] = reader.read();
    if (size > 6) object[form.k6] = reader.read();
    if (size > 7) object[form.k7] = reader.read();
    return object;
  },
  (reader, form) => {
    const { size } = form;
    const object = reader.begin();
    object[form.k0] = reader.read();
    if (size > 1) object[form.k1] = reader.read();
    if (size > 2) object[form.k2] = reader.read();
    if (size > 3) object[form.k3] = reader.read();
    if (size > 4) object[form.k4] = reader.read();
    if (size > 5) object[form.k5] = reader.read();
    if (size > 6) object[form.k6] = reader.read();
    if (size > 7) object[form.k7] = reader.read();
    return object;
  },
  (reader, form) => {
    const { size } = form;
    const object = reader.begin();
    object[form.k0] = reader.read();
    if (size > 1) object[form.k1] = reader.read();
    if (size > 2) object[form.k2] = reader.read();
    if (size > 3) object[form.k3] = reader.read();
    if (size > 4) object[form.k4] = reader.read();
    if (size > 5) object[form.k5] = reader.read();
    if (size > 6) object[form.k6] = reader.read();
    if (size > 7) object[form.k7] = reader.read();
    return object;
  },
  (reader, form) => {
    const { size } = form;
    const object = reader.begin();
    object[form.k0] = reader.read();
    if (size > 1) object[form.k1] = reader.read();
    if (size > 2) object[form.k2] = reader.read();
    if (size > 3) object[form.k3] = reader.read();
    if (size > 4) object[form.k4] = reader.read();
    if (size > 5) object[form.k5] = reader.read();
    if (size > 6) object[form.k6] = reader.read();
    if (size > 7) object[form.k7] = reader.read();
    return object;
  },
];
