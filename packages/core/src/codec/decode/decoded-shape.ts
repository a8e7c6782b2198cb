/**
 * The dictionary entries of decoders: parsed definitions, from which objects are built.
 *
 * All decoders of a process share one cache, which finds a definition by its hash and its bytes. A
 * definition is therefore parsed once, even if many channels and messages contain it.
 */
import { ProtocolError } from "../../errors.ts";
import { bytesAsWords } from "../format/bytes-as-words.ts";
import { FUNCTION_ENTRY, MAX_SHAPE_KEYS, PLAIN_SHAPE } from "../format/tags.ts";
import type { DecodedShape, ObjectBuilder } from "./read-context.ts";

/** A power of two. A hash selects two slots, either of which can hold the definition. */
const CACHE_SLOTS = 2048;
const cache: (CachedShape | undefined)[] = new Array(CACHE_SLOTS).fill(undefined);

/** A parsed definition, and its bytes, which are compared with those of later definitions. */
class CachedShape implements DecodedShape {
  readonly kind: number;
  readonly keys: readonly string[];
  readonly size: number;
  readonly k0: string;
  readonly k1: string;
  readonly k2: string;
  readonly k3: string;
  readonly k4: string;
  readonly k5: string;
  readonly k6: string;
  readonly k7: string;
  readonly reference: DecodedShape["reference"];
  readonly hasPrototypeKeys: boolean;
  useCount = 0;
  builder: ObjectBuilder | null = null;
  readonly #words: Int32Array;
  readonly #lastWord: number;
  readonly #length: number;

  /** @param definition the bytes of the definition, which start with its hash */
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

  /**
   * Whether the bytes between `start` and `end` are those of this definition. They are compared by
   * words; the last word may overlap the one before.
   */
  matchesBytes(view: DataView, start: number, end: number): boolean {
    if (end - start !== this.#length) return false;
    const words = this.#words;
    const last = end - 4;
    for (let i = 0, at = start; at < last; i++, at += 4) if (view.getInt32(at, true) !== words[i]) return false;
    return view.getInt32(last, true) === this.#lastWord;
  }
}

/**
 * Returns internalized copies of the keys: the unique strings that V8 uses as property names. V8
 * compares any other string by its characters, and inline caches do not work with it.
 */
function internalize(keys: readonly string[]): readonly string[] {
  return keys.map((key) => Object.keys({ [key]: 0 })[0] as string);
}

/** Returns the entry that the bytes between `start` and `end` define, if it is in the cache. */
export function findShape(hash: number, view: DataView, start: number, end: number): DecodedShape | undefined {
  const slot = hash & (CACHE_SLOTS - 1);
  const first = cache[slot];
  if (first?.matchesBytes(view, start, end)) return first;
  const second = cache[slot ^ 1];
  return second?.matchesBytes(view, start, end) ? second : undefined;
}

/** Creates the entry of a definition and adds it to the cache. */
export function addShape(hash: number, kind: number, texts: readonly string[], definition: Uint8Array): DecodedShape {
  const nameCount = kind === PLAIN_SHAPE ? 0 : 2;
  const isComplete = kind === FUNCTION_ENTRY ? texts.length === nameCount : texts.length >= nameCount;
  if (kind > FUNCTION_ENTRY || !isComplete || texts.length > MAX_SHAPE_KEYS + nameCount)
    throw new ProtocolError("Malformed message: invalid definition");
  const shape = new CachedShape(kind, texts, definition);
  const slot = hash & (CACHE_SLOTS - 1);
  cache[cache[slot] === undefined ? slot : slot ^ 1] = shape;
  return shape;
}
