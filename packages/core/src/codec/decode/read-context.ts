/**
 * The part of the value reader that the readers of the rarer types use.
 *
 * `ValueReader` is the only implementation. The interface breaks the import cycle between it and
 * the readers that it calls; it is a type only, so calls stay direct.
 */
import type { TargetReference } from "../../targets/target.ts";

/** A parsed definition: a shape, or the name of a function. `CachedShape` implements it. */
export interface DecodedShape {
  /** `PLAIN_SHAPE`, `CLASS_SHAPE` or `FUNCTION_ENTRY`. */
  readonly kind: number;
  readonly keys: readonly string[];
  /** The number of keys. */
  readonly size: number;
  /** The first eight keys again. A builder reads fields faster than elements of the list. */
  readonly k0: string;
  readonly k1: string;
  readonly k2: string;
  readonly k3: string;
  readonly k4: string;
  readonly k5: string;
  readonly k6: string;
  readonly k7: string;
  /** The module and name of the class or the function; null for plain objects. */
  readonly reference: Extract<TargetReference, { module: string }> | null;
  /**
   * Whether a key is the name of a member of `Object.prototype`, so that an assignment could call a
   * setter.
   */
  readonly hasPrototypeKeys: boolean;
  /** The number of objects built. Counting ends when the shape gets a builder of its own. */
  useCount: number;
  /** The builder that is reserved for this shape; see `object-builder.ts`. */
  builder: ObjectBuilder | null;
}

/** Reads the values of a shape's keys into a new plain object. */
export type ObjectBuilder = (reader: ReadContext, shape: DecodedShape) => object;

/** The message that is being read. */
export interface ReadContext {
  /** The memory that holds the message. */
  readonly bytes: Uint8Array;
  /** The offset of the next byte. */
  position: number;
  /** Whether the message contains references. Only then the reader keeps the objects by number. */
  readonly hasReferences: boolean;

  /** Reads any value. */
  read(): unknown;
  /** Reads a string. */
  text(): string;
  /** Reads one byte. */
  byte(): number;
  /** Reads a count. */
  count(): number;
  /** Reads the number of following items, each of which takes at least `minBytesEach` bytes. */
  length(minBytesEach: number): number;
  uint16(): number;
  float64(): number;
  /** Returns the memory of the message as a DataView. */
  view(): DataView;
  /** Creates a plain object and gives it the next number. */
  startObject(): Record<string, unknown>;
  /** Gives an object the next number. A container calls it before it reads its contents. */
  addReference<T>(object: T): T;
  /**
   * Reserves the number of an object that can be created only after its contents have been read.
   */
  reserveReference(): number;
  /** Assigns the object to a reserved number. */
  resolveReference<T>(id: number, object: T): T;
  /** Returns the next part. */
  part(): Uint8Array;
  /**
   * Runs a function that can fail for other reasons than malformed bytes. Returns undefined if it
   * fails, and makes the message fail at its end.
   */
  deferFailure<T>(run: () => T): T | undefined;
  /** Reads a value of the dictionary entry with the number `id`. */
  knownEntry(id: number): unknown;
  /** Reads a value of a dictionary entry. */
  build(entry: DecodedShape): unknown;
  /** Reads a definition and adds it to the dictionary. */
  readDefinition(): DecodedShape;
  /** Reads an array of `length` elements. */
  array(length: number): unknown[];
  /**
   * Takes `elements` from the budget of array elements. Returns false if the budget is too small.
   */
  chargeElements(elements: number): boolean;
  /** Returns the object with the number `id`. */
  object(id: number): unknown;
}
