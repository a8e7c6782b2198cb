/**
 * What a message can refer to by number: the keys of objects, and the names of functions. Each is defined once, by a check
 * number by which a decoder finds what it has read before, a length, and texts.
 */

import { wordsOf } from "../format/bytes-as-words.ts";
import { DEFINE, MAX_FORM_BYTES, MAX_FORMS } from "../format/tags.ts";
import { FunctionForm, Shape, ShapeTrie } from "./shape.ts";
import { writeText } from "./text-writer.ts";
import type { Scribe } from "./value-writer.ts";

/** The bytes in front of a definition's texts: tag, check number, length. */
const HEADER = 5;

/** The bytes of a definition, for the next time: as words, since four bytes are written as fast as one. */
export interface Definition {
  /** Little-endian, with zeros behind the last byte. */
  readonly words: Int32Array;
  /** How many bytes it has; none if it would be too long. */
  readonly size: number;
}

const NONE: Definition = { words: new Int32Array(0), size: 0 };

/** The encoder's side of a dictionary; the decoder builds the same one from the definitions that it meets. */
export class Dictionary {
  /** Changes when all numbers become void. */
  epoch = 0;
  readonly trie: ShapeTrie = new ShapeTrie();
  readonly #standsAlone: boolean;
  readonly #forms: (Shape | FunctionForm)[] = [];
  /** Missing at first, as most encoders never see a function. */
  #functions: WeakMap<object, FunctionForm> | undefined;
  #count = 0;
  #lastFunction: FunctionForm | null = null;

  /** @param standsAlone whether the dictionary begins empty with each message */
  constructor(standsAlone: boolean) {
    this.#standsAlone = standsAlone;
  }

  /** How many numbers are given. */
  get count(): number {
    return this.#count;
  }

  /** Called at the start of each message; answers how many numbers are given. */
  begin(): number {
    if (this.#standsAlone) {
      this.epoch++;
      this.#count = 0;
    }
    if (this.trie.isFull) this.#cutBack();
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count === MAX_FORMS;
  }

  add(form: Shape | FunctionForm): void {
    form.id = this.#count;
    form.epoch = this.epoch;
    this.#forms[this.#count++] = form;
  }

  /** Takes back the numbers that were given since there were `count`. */
  truncate(count: number): void {
    while (this.#count > count) (this.#forms[--this.#count] as Form).epoch = -1;
  }

  /** The form of a function that is named by its module. */
  functionForm(reference: { readonly module: string; readonly name: string }): FunctionForm {
    if (this.#lastFunction?.reference === reference) return this.#lastFunction;
    this.#functions ??= new WeakMap();
    let form = this.#functions.get(reference);
    if (form === undefined) this.#functions.set(reference, (form = new FunctionForm(reference)));
    this.#lastFunction = form;
    return form;
  }

  /** Objects that were used as maps have filled the trie: only what has a number is kept. */
  #cutBack(): void {
    this.trie.clear();
    this.#forms.length = this.#count;
    for (const [index, form] of this.#forms.entries()) {
      if (form instanceof Shape) this.#forms[index] = this.trie.regrow(form);
    }
  }
}

type Form = Shape | FunctionForm;

/** Appends a definition and returns a copy of its bytes. */
export function writeDefinition(scribe: Scribe, kind: number, texts: readonly string[]): Definition {
  scribe.grow(HEADER + 1);
  const start = scribe.position;
  scribe.position += HEADER;
  scribe.tag(kind);
  scribe.count(texts.length);
  for (const text of texts) writeText(scribe, text);
  const { bytes, view, position } = scribe;
  const length = position - start - HEADER;
  if (length > MAX_FORM_BYTES) {
    scribe.position = start;
    return NONE;
  }
  bytes[start] = DEFINE;
  view.setUint16(start + 1, checkNumber(bytes, start + HEADER, position), true);
  view.setUint16(start + 3, length, true);
  return { words: wordsOf(bytes.subarray(start, position)), size: position - start };
}

/** Spreads definitions over a decoder's cache; a wrong one costs time and nothing else. */
function checkNumber(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  return (hash ^ (hash >>> 16)) & 0xffff;
}
