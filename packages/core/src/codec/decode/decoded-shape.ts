/**
 * The decoder's side of forms: what a definition says, made ready for building.
 *
 * Definitions are found by their bytes in a cache of the whole process, so that a form is read once however many channels
 * and messages define it.
 */
import { ProtocolError } from "../../errors.ts";
import { bytesAsWords } from "../format/bytes-as-words.ts";
import { FUNCTION_ENTRY, MAX_SHAPE_KEYS, PLAIN_SHAPE } from "../format/tags.ts";
import type { DecodedShape, ObjectBuilder } from "./read-context.ts";

/** A power of two; each form is kept in one of two places. */
const CACHE_SLOTS = 2048;
const cache: (CachedShape | undefined)[] = new Array(CACHE_SLOTS).fill(undefined);

/** What a definition says. */
class CachedShape implements DecodedShape {
  readonly kind: number;
  readonly keys: readonly string[];
  readonly size: number;
  /** The first keys once more, in places that a builder finds without looking into a list. */
  readonly k0: string;
  readonly k1: string;
  readonly k2: string;
  readonly k3: string;
  readonly k4: string;
  readonly k5: string;
  readonly k6: string;
  readonly k7: string;
  /** Whose instances, or which function. */
  readonly reference: DecodedShape["reference"];
  /** Assigning to one of these keys could do something else than make a property. */
  readonly hasPrototypeKeys: boolean;
  /** How often it was built. */
  useCount = 0;
  /** What builds objects of this form alone, see `object-builder.ts`. */
  builder: ObjectBuilder | null = null;
  readonly #words: Int32Array;
  readonly #lastWord: number;
  readonly #length: number;

  /** @param definition its bytes, from the check number on */
  constructor(kind: number, texts: readonly string[], definition: Uint8Array) {
    this.kind = kind;
    this.#words = bytesAsWords(definition);
    this.#lastWord = bytesAsWords(definition.subarray(-4))[0] as number;
    this.#length = definition.length;
    const keys = internalize(kind === PLAIN_SHAPE ? texts : texts.slice(2));
    this.keys = keys;
    this.size = keys.length;
    const [k0 = "", k1 = "", k2 = "", k3 = "", k4 = "", k5 = "", k6 = "", k7 = ""] = keys;
    this.k0 = k0;
    this.k1 = k1;
    this.k2 = k2;
    this.k3 = k3;
    this.k4 = k4;
    this.k5 = k5;
    this.k6 = k6;
    this.k7 = k7;
    this.reference = kind === PLAIN_SHAPE ? null : { module: texts[0] as string, name: texts[1] as string };
    this.hasPrototypeKeys = keys.some((key) => key in Object.prototype);
  }

  /** Whether these bytes define this form; they are looked at by words, the last of which may have some of the one before. */
  matchesBytes(view: DataView, start: number, end: number): boolean {
    if (end - start !== this.#length) return false;
    const words = this.#words;
    const last = end - 4;
    for (let i = 0, at = start; at < last; i++, at += 4) if (view.getInt32(at, true) !== words[i]) return false;
    return view.getInt32(last, true) === this.#lastWord;
  }
}

/**
 * The same keys as the strings that the engine itself uses for property names: it takes no others for equal without
 * looking at their characters, and inline caches give up on them.
 */
function internalize(keys: readonly string[]): readonly string[] {
  return keys.map((key) => Object.keys({ [key]: 0 })[0] as string);
}

/** The form that these bytes define, if it was read before. */
export function cachedShape(hash: number, view: DataView, start: number, end: number): DecodedShape | undefined {
  const slot = hash & (CACHE_SLOTS - 1);
  const first = cache[slot];
  if (first?.matchesBytes(view, start, end)) return first;
  const second = cache[slot ^ 1];
  return second?.matchesBytes(view, start, end) ? second : undefined;
}

/** A form made of what its definition says; kept for the next time. */
export function makeShape(hash: number, kind: number, texts: readonly string[], definition: Uint8Array): DecodedShape {
  const nameCount = kind === PLAIN_SHAPE ? 0 : 2;
  const isComplete = kind === FUNCTION_ENTRY ? texts.length === nameCount : texts.length >= nameCount;
  if (kind > FUNCTION_ENTRY || !isComplete || texts.length > MAX_SHAPE_KEYS + nameCount)
    throw new ProtocolError("A definition is malformed");
  const shape = new CachedShape(kind, texts, definition);
  const slot = hash & (CACHE_SLOTS - 1);
  cache[cache[slot] === undefined ? slot : slot ^ 1] = shape;
  return shape;
}
