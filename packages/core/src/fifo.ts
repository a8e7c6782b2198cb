/**
 * A first-in-first-out list: an array with a head index.
 *
 * `Array.prototype.shift()` moves all remaining items, which takes milliseconds for 100,000 items.
 * Here the head index moves instead. The taken slots are cut off when they are more than half of
 * the array, so cutting moves less than one item for each item taken.
 */

/** The array is cut only when it has more taken items than this. */
const MIN_CUT_ITEMS = 1024;

export class Fifo<T> {
  /**
   * The items from the head on. The slots before it are cleared, so taken items can be collected.
   */
  #items: T[] = [];
  #head = 0;

  get size(): number {
    return this.#items.length - this.#head;
  }

  get first(): T | undefined {
    return this.#items[this.#head];
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    const items = this.#items;
    if (this.#head === items.length) return undefined;
    // Fast path: setting `length` is slow, and frees the memory of the array.
    if (items.length === 1) return items.pop();
    const item = items[this.#head];
    items[this.#head++] = undefined as never;
    if (this.#head === items.length) this.#head = items.length = 0;
    else if (this.#head > MIN_CUT_ITEMS && this.#head * 2 > items.length) {
      this.#items = items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** Inserts `items` before all others. */
  unshift(items: readonly T[]): void {
    this.#items = [...items, ...this.#items.slice(this.#head)];
    this.#head = 0;
  }

  /** Returns the items in order, and keeps them. */
  toArray(): T[] {
    return this.#items.slice(this.#head);
  }

  /** Returns the items in order and removes them. */
  clear(): T[] {
    const items = this.toArray();
    this.#items = [];
    this.#head = 0;
    return items;
  }

  /** Inserts `items` in the order of `compare`. Both `items` and the list must be in that order. */
  merge(items: readonly T[], compare: (a: T, b: T) => number): void {
    const { first } = this;
    const last = items.at(-1);
    this.unshift(items);
    // The new items usually come before all others, and the list needs no sorting.
    if (first !== undefined && last !== undefined && compare(last, first) > 0) this.#items.sort(compare);
  }

  /** Removes the last occurrence of `item`. Returns whether the list held it. */
  remove(item: T): boolean {
    const at = this.#items.lastIndexOf(item);
    if (at < this.#head) return false;
    this.#items.splice(at, 1);
    return true;
  }
}
