/** Up to this many objects are found by looking at each: faster than a Set, and it needs no memory. Measured. */
const INDEX_OF_MAX_OBJECTS = 64;
/** Up to this many, a loop in place is faster than a call of `indexOf`. */
const LOOP_MAX_OBJECTS = 8;

/** The objects of one message in the order in which they were met: a second meeting is written as the number of the first. */
export class ReferenceTable {
  /** How many there are. */
  count = 0;
  readonly #first: (object | null)[] = new Array<object | null>(LOOP_MAX_OBJECTS).fill(null);
  /** All of them, once there are many; to find out that one is new, adding it to a Set takes half the time of a Map. */
  #all: Set<object> | null = null;
  /** Their numbers, once one of many was met again. */
  #ids: Map<object, number> | null = null;

  /** The number of an object that was met before; otherwise it gets the next one, and the answer is -1. */
  add(object: object): number {
    const count = this.count;
    // Most messages hold one object.
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

  /** Forgets all. */
  clear(): void {
    const count = this.count;
    if (count > LOOP_MAX_OBJECTS) {
      this.truncate(0);
      return;
    }
    for (let i = 0; i < count; i++) this.#first[i] = null;
    this.count = 0;
  }

  /** Forgets all from the given number on. */
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
