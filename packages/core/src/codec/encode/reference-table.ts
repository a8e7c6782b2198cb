/**
 * Numbers the objects of one message, and finds objects that occur again.
 *
 * The number of objects decides how it searches, by measurement: up to 8 by a loop, up to 64 by
 * `indexOf`, more with a Set. A Set does not return numbers, so the first repeated object in it
 * makes the table create a Map.
 */

/** The number of objects up to which `indexOf` is faster than a Set, which also takes memory. */
const INDEX_OF_MAX_OBJECTS = 64;
/** The number of objects up to which a loop is faster than a call of `indexOf`. */
const LOOP_MAX_OBJECTS = 8;

/**
 * The objects of one message, in order. A repeated object is written as the number of its first
 * occurrence.
 */
export class ReferenceTable {
  /** The number of objects. */
  count = 0;
  readonly #first: (object | null)[] = new Array<object | null>(LOOP_MAX_OBJECTS).fill(null);
  /**
   * All objects, if there are more than `INDEX_OF_MAX_OBJECTS`. Adding to a Set takes half the time
   * of adding to a Map.
   */
  #all: Set<object> | null = null;
  /** The numbers of all objects in the Set; null until one of them occurs again. */
  #ids: Map<object, number> | null = null;

  /** Returns the number of `object` if the table contains it. Otherwise adds it and returns -1. */
  add(object: object): number {
    const count = this.count;
    // Most messages contain one object.
    if (count === 0) {
      this.#first[0] = object;
      this.count = 1;
      return -1;
    }
    if (count > LOOP_MAX_OBJECTS)
      return count < INDEX_OF_MAX_OBJECTS ? this.#addBySearch(object) : this.#addToSet(object);
    const first = this.#first;
    for (let i = 0; i < count; i++) {
      if (first[i] === object) return i;
    }
    first[count] = object;
    this.count = count + 1;
    return -1;
  }

  /** Removes all objects. */
  clear(): void {
    const count = this.count;
    if (count > LOOP_MAX_OBJECTS) {
      this.truncate(0);
      return;
    }
    for (let i = 0; i < count; i++) this.#first[i] = null;
    this.count = 0;
  }

  /** Removes all objects but the first `count`. */
  truncate(count: number): void {
    this.#first.fill(null, count);
    this.count = count;
    if (this.#all === null) return;
    this.#all = count > INDEX_OF_MAX_OBJECTS ? new Set([...this.#all].slice(0, count)) : null;
    this.#ids = null;
  }

  #addBySearch(object: object): number {
    const found = this.#first.indexOf(object);
    if (found === -1) this.#first[this.count++] = object;
    return found;
  }

  #addToSet(object: object): number {
    const all = (this.#all ??= new Set(this.#first as object[]));
    all.add(object);
    if (all.size > this.count) {
      this.#ids?.set(object, this.count);
      this.count++;
      return -1;
    }
    this.#ids ??= new Map([...all].map((each, id) => [each, id]));
    return this.#ids.get(object) as number;
  }
}
