/**
 * Which keys an object has, found by walking a trie of keys.
 *
 * Objects that are made at the same place of a program have the same keys in the same order, so each node remembers the
 * child that was taken last, and a walk is one comparison of pointers for each key.
 */
import type { RegisteredClass } from "../../registry.ts";
import { CLASS_SHAPE, FUNCTION_ENTRY, MAX_SHAPE_KEYS, PLAIN_SHAPE } from "../format/tags.ts";

/** How large the trie gets before it is cut back to what is in the dictionary. */
const MAX_TRIE_NODES = 16384;

/** The bytes of a definition, kept for the next time as words, because a word is written as fast as a byte. */
export interface Definition {
  /** Little-endian, with zeros behind the last byte. */
  readonly words: Int32Array;
  /** The number of bytes; 0 if the definition is longer than `MAX_DEFINITION_BYTES`. */
  readonly size: number;
}

/** Keys in an order, and whose they are: a node of the trie. */
export class Shape {
  readonly parent: Shape | null;
  readonly key: string;
  readonly depth: number;
  /** The class of the objects; `null` for plain ones. */
  readonly ownerClass: RegisteredClass | null;
  lastKey: string | undefined = undefined;
  lastChild: Shape | null = null;
  children: Map<string, Shape> | null = null;
  id = 0;
  epoch = -1;
  definition: Definition | null = null;
  /** A definition is worth sending only if the keys come again; objects used as maps have ever new ones. */
  seenOnce = false;

  constructor(parent: Shape | null, key: string, ownerClass: RegisteredClass | null) {
    this.parent = parent;
    this.key = key;
    this.ownerClass = ownerClass;
    this.depth = parent === null ? 0 : parent.depth + 1;
  }

  get kind(): number {
    return this.ownerClass === null ? PLAIN_SHAPE : CLASS_SHAPE;
  }

  /** What its definition says. */
  texts(): string[] {
    const keys = this.keys();
    return this.ownerClass === null ? keys : [this.ownerClass.module, this.ownerClass.name, ...keys];
  }

  keys(): string[] {
    const keys: string[] = [];
    for (let shape: Shape = this; shape.parent !== null; shape = shape.parent) keys.push(shape.key);
    return keys.reverse();
  }
}

/** The name of a function in its module, which has a place in the dictionary too. */
export class FunctionEntry {
  readonly reference: { readonly module: string; readonly name: string };
  readonly kind: number = FUNCTION_ENTRY;
  id = 0;
  epoch = -1;
  definition: Definition | null = null;

  constructor(reference: { readonly module: string; readonly name: string }) {
    this.reference = reference;
  }

  /** What its definition says. */
  texts(): string[] {
    return [this.reference.module, this.reference.name];
  }
}

/** The trie, with a root for plain objects and one for each registered class. */
export class ShapeTrie {
  plain: Shape = new Shape(null, "", null);
  /** Missing at first, as most encoders never see a registered class. */
  #roots: WeakMap<RegisteredClass, Shape> | undefined;
  #nodeCount = 0;

  root(ownerClass: RegisteredClass | null): Shape {
    if (ownerClass === null) return this.plain;
    this.#roots ??= new WeakMap();
    let root = this.#roots.get(ownerClass);
    if (root === undefined) this.#roots.set(ownerClass, (root = new Shape(null, "", ownerClass)));
    return root;
  }

  /** The child at `key`, made if there is none; `null` if there are too many keys to keep. */
  step(shape: Shape, key: string): Shape | null {
    let child = shape.children?.get(key);
    if (child === undefined) {
      if (shape.depth === MAX_SHAPE_KEYS || this.isFull) return null;
      this.#nodeCount++;
      child = new Shape(shape, key, shape.ownerClass);
      (shape.children ??= new Map()).set(key, child);
    }
    shape.lastKey = key;
    shape.lastChild = child;
    return child;
  }

  get isFull(): boolean {
    return this.#nodeCount >= MAX_TRIE_NODES;
  }

  clear(): void {
    this.#nodeCount = 0;
    this.plain = new Shape(null, "", null);
    this.#roots = undefined;
  }

  /** A node like `old`, which was part of this trie before it was cleared. */
  reinsert(old: Shape): Shape {
    let shape = this.root(old.ownerClass);
    for (const key of old.keys()) shape = this.step(shape, key) as Shape;
    shape.id = old.id;
    shape.epoch = old.epoch;
    shape.definition = old.definition;
    shape.seenOnce = true;
    return shape;
  }
}
