/** A first-in-first-out list that also takes things back. */
export class Fifo<T> {
  #list: T[] = [];
  #head = 0;

  get size(): number {
    return this.#list.length - this.#head;
  }

  get first(): T | undefined {
    return this.#list[this.#head];
  }

  push(item: T): void {
    this.#list.push(item);
  }

  shift(): T | undefined {
    if (this.size === 0) return undefined;
    const item = this.#list[this.#head];
    this.#list[this.#head++] = undefined as never;
    // Moving the rest costs as much as was shifted since the last time.
    if (this.#head > 1024 && this.#head * 2 > this.#list.length) {
      this.#list = this.#list.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** Puts things back where they belong; both they and the list are in order. */
  merge(items: readonly T[], compare: (a: T, b: T) => number): void {
    const first = this.#list[this.#head];
    const last = items.at(-1);
    const rest = this.clear();
    this.#list = [...items, ...rest];
    // Mostly they come before all others.
    if (first !== undefined && last !== undefined && compare(last, first) > 0) this.#list.sort(compare);
  }

  /** Takes the thing out that came last of those that are equal; false if there is none. */
  remove(item: T): boolean {
    const at = this.#list.lastIndexOf(item);
    if (at < this.#head) return false;
    this.#list.splice(at, 1);
    return true;
  }

  clear(): T[] {
    const items = this.#list.slice(this.#head);
    this.#list = [];
    this.#head = 0;
    return items;
  }
}
