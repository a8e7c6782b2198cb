/**
 * What a message can refer to by number: the keys of objects, and the names of functions. Each is defined once, by a check
 * number by which a decoder finds what it has read before, a length, and texts.
 */

import { MAX_DICTIONARY_ENTRIES } from "../format/tags.ts";
import { FunctionEntry, Shape, ShapeTrie } from "./shape.ts";

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
    while (this.#count > count) (this.#entries[--this.#count] as Shape | FunctionEntry).epoch = -1;
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
