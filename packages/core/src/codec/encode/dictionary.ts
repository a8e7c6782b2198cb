/**
 * What a message can refer to by number: the keys of objects, and the names of functions. Each is defined once, by a check
 * number by which a decoder finds what it has read before, a length, and texts.
 */

import { bytesAsWords } from "../format/bytes-as-words.ts";
import { DEFINE, MAX_DEFINITION_BYTES, MAX_DICTIONARY_ENTRIES } from "../format/tags.ts";
import { FunctionEntry, Shape, ShapeTrie } from "./shape.ts";
import { writeText } from "./text-writer.ts";
import type { ValueWriter } from "./value-writer.ts";

/** The bytes in front of a definition's texts: tag, check number, length. */
const DEFINITION_HEADER_BYTES = 5;

/** The bytes of a definition, for the next time: as words, since four bytes are written as fast as one. */
export interface Definition {
  /** Little-endian, with zeros behind the last byte. */
  readonly words: Int32Array;
  /** How many bytes it has; none if it would be too long. */
  readonly size: number;
}

const NO_DEFINITION: Definition = { words: new Int32Array(0), size: 0 };

/** The encoder's side of a dictionary; the decoder builds the same one from the definitions that it meets. */
export class Dictionary {
  /** Changes when all numbers become void. */
  epoch = 0;
  readonly trie: ShapeTrie = new ShapeTrie();
  readonly #selfContained: boolean;
  readonly #entries: (Shape | FunctionEntry)[] = [];
  /** Missing at first, as most encoders never see a function. */
  #functionEntries: WeakMap<object, FunctionEntry> | undefined;
  #count = 0;
  #lastFunction: FunctionEntry | null = null;

  /** @param standsAlone whether the dictionary begins empty with each message */
  constructor(selfContained: boolean) {
    this.#selfContained = selfContained;
  }

  /** How many numbers are given. */
  get count(): number {
    return this.#count;
  }

  /** Called at the start of each message; answers how many numbers are given. */
  begin(): number {
    if (this.#selfContained) {
      this.epoch++;
      this.#count = 0;
    }
    if (this.trie.isFull) this.#trim();
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count === MAX_DICTIONARY_ENTRIES;
  }

  add(entry: Shape | FunctionEntry): void {
    entry.id = this.#count;
    entry.epoch = this.epoch;
    this.#entries[this.#count++] = entry;
  }

  /** Takes back the numbers that were given since there were `count`. */
  truncate(count: number): void {
    while (this.#count > count) (this.#entries[--this.#count] as Entry).epoch = -1;
  }

  /** The form of a function that is named by its module. */
  functionEntry(reference: { readonly module: string; readonly name: string }): FunctionEntry {
    if (this.#lastFunction?.reference === reference) return this.#lastFunction;
    this.#functionEntries ??= new WeakMap();
    let entry = this.#functionEntries.get(reference);
    if (entry === undefined) this.#functionEntries.set(reference, (entry = new FunctionEntry(reference)));
    this.#lastFunction = entry;
    return entry;
  }

  /** Objects that were used as maps have filled the trie: only what has a number is kept. */
  #trim(): void {
    this.trie.clear();
    this.#entries.length = this.#count;
    for (const [index, entry] of this.#entries.entries()) {
      if (entry instanceof Shape) this.#entries[index] = this.trie.reinsert(entry);
    }
  }
}

type Entry = Shape | FunctionEntry;

/** Appends a definition and returns a copy of its bytes. */
export function writeDefinition(writer: ValueWriter, kind: number, texts: readonly string[]): Definition {
  writer.ensure(DEFINITION_HEADER_BYTES + 1);
  const start = writer.position;
  writer.position += DEFINITION_HEADER_BYTES;
  writer.tag(kind);
  writer.count(texts.length);
  for (const text of texts) writeText(writer, text);
  const { bytes, view, position } = writer;
  const length = position - start - DEFINITION_HEADER_BYTES;
  if (length > MAX_DEFINITION_BYTES) {
    writer.position = start;
    return NO_DEFINITION;
  }
  bytes[start] = DEFINE;
  view.setUint16(start + 1, definitionHash(bytes, start + DEFINITION_HEADER_BYTES, position), true);
  view.setUint16(start + 3, length, true);
  return { words: bytesAsWords(bytes.subarray(start, position)), size: position - start };
}

/** Spreads definitions over a decoder's cache; a wrong one costs time and nothing else. */
function definitionHash(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  return (hash ^ (hash >>> 16)) & 0xffff;
}
