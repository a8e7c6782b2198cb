/**
 * The dictionary of an encoder: shapes and functions to which messages refer by number.
 *
 * The first message that uses an entry defines it. The decoder builds the same dictionary from the
 * definitions that it reads, in the same order. The number of an entry is valid only while the
 * entry's epoch equals that of the dictionary.
 */
import { MAX_DICTIONARY_ENTRIES } from "../format/tags.ts";
import { FunctionEntry, Shape, ShapeTrie } from "./shape.ts";

/** The dictionary of one encoder. */
export class Dictionary {
  /** A new epoch makes the numbers of all entries invalid at once. */
  epoch = 0;
  readonly trie: ShapeTrie = new ShapeTrie();
  readonly #selfContained: boolean;
  readonly #entries: (Shape | FunctionEntry)[] = [];
  /** Created on demand, because most encoders never write a function. */
  #functionEntries: WeakMap<object, FunctionEntry> | undefined;
  #count = 0;
  #lastFunction: FunctionEntry | null = null;

  /** @param selfContained whether the dictionary is empty at the start of each message */
  constructor(selfContained: boolean) {
    this.#selfContained = selfContained;
  }

  /** The number of entries. */
  get count(): number {
    return this.#count;
  }

  /** Starts a message and returns the number of entries. */
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

  /** Removes all entries but the first `count`. */
  truncate(count: number): void {
    while (this.#count > count) (this.#entries[--this.#count] as Shape | FunctionEntry).epoch = -1;
  }

  /** Returns the entry of a function. It has no number until `add()`. */
  functionEntry(reference: { readonly module: string; readonly name: string }): FunctionEntry {
    if (this.#lastFunction?.reference === reference) return this.#lastFunction;
    this.#functionEntries ??= new WeakMap();
    let entry = this.#functionEntries.get(reference);
    if (entry === undefined) this.#functionEntries.set(reference, (entry = new FunctionEntry(reference)));
    this.#lastFunction = entry;
    return entry;
  }

  /**
   * Removes all shapes from the trie that are not in the dictionary. Most come from objects used as
   * maps.
   */
  #trim(): void {
    this.trie.clear();
    this.#entries.length = this.#count;
    for (const [index, entry] of this.#entries.entries()) {
      if (entry instanceof Shape) this.#entries[index] = this.trie.reinsert(entry);
    }
  }
}
