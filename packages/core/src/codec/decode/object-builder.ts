/**
 * Builds plain objects whose keys are known.
 *
 * A store to a varying key is slow; see `object-builders.generated.ts`. Code generated for each
 * shape would solve that, but many environments forbid `eval` and `new Function`. The decoder
 * therefore has 16 copies of one function, its *builders*. The first 16 shapes with
 * {@link USES_BEFORE_BUILDER} objects each get a copy.
 */
import { MAX_BUILDER_KEYS, objectBuilders } from "./object-builders.generated.ts";
import type { DecodedShape, ObjectBuilder, ReadContext } from "./read-context.ts";

/** The number of objects after which a shape gets a builder of its own. */
const USES_BEFORE_BUILDER = 100;

/** Reads the values of a shape's keys into a new plain object. */
export function buildObject(reader: ReadContext, shape: DecodedShape): object {
  if (shape.builder !== null) return shape.builder(reader, shape);
  if (shape.useCount < USES_BEFORE_BUILDER && ++shape.useCount === USES_BEFORE_BUILDER)
    shape.builder = takeBuilder(shape);
  const object: Record<string, unknown> = {};
  if (reader.hasReferences) reader.addReference(object);
  const { keys, size } = shape;
  if (shape.hasPrototypeKeys) {
    for (let i = 0; i < size; i++) defineOwn(object, keys[i] as string, reader.read());
  } else {
    for (let i = 0; i < size; i++) object[keys[i] as string] = reader.read();
  }
  return object;
}

/** Defines an own property, even if the object inherits a property or a setter of that name. */
export function defineOwn(object: object, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}

let takenBuilderCount = 0;

/** Returns the next free builder; null if none is left, or if a builder cannot handle the keys. */
function takeBuilder(shape: DecodedShape): ObjectBuilder | null {
  const isSuitable = !shape.hasPrototypeKeys && shape.size > 0 && shape.size <= MAX_BUILDER_KEYS;
  return isSuitable ? (objectBuilders[takenBuilderCount++] ?? null) : null;
}
