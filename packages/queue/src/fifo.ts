/** A first-in-first-out list that also takes things back at its front. */
export class Fifo<T> {
  #list: T[] = [];
  #head = 0;

  get size(): number {
    return this.#list.length - this.#head;
  }

  push(item: T): void {
    this.#list.push(item);
  }

  /** Puts things back, in their order, before all others. */
  unshift(items: readonly T[]): void {
    this.#list = [...items, ...this.#list.slice(this.#head)];
    this.#head = 0;
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

  remove(item: T): boolean {
    const at = this.#list.indexOf(item, this.#head);
    if (at >= 0) this.#list.splice(at, 1);
    return at >= 0;
  }

  clear(): T[] {
    const items = this.#list.slice(this.#head);
    this.#list = [];
    this.#head = 0;
    return items;
  }
}
