/**
 * A trie of keys that finds the shape of an object: its keys, in order.
 *
 * Objects that come from the same place of a program have the same keys in the same order. Each
 * node therefore remembers the last child taken, and a walk usually compares one pointer for each
 * key.
 */
import type { RegisteredClass } from "../../registry.ts";
import { CLASS_SHAPE, FUNCTION_ENTRY, MAX_SHAPE_KEYS, PLAIN_SHAPE } from "../format/tags.ts";

/** The size at which the trie is reduced to the shapes in the dictionary. */
const MAX_TRIE_NODES = 16384;

/**
 * The bytes of a definition, kept for the next time as words, because a word is written as fast as
 * a byte.
 */
export interface Definition {
  /** Little-endian, with zeros behind the last byte. */
  readonly words: Int32Array;
  /** The number of bytes; 0 if the definition is longer than `MAX_DEFINITION_BYTES`. */
  readonly size: number;
}

/** A node of the trie: the keys from the root down to it, and their class. */
export class Shape {
  readonly parent: Shape | null;
  readonly key: string;
  readonly depth: number;
  /** The class of the objects; null for plain objects. */
  readonly ownerClass: RegisteredClass | null;
  lastKey: string | undefined = undefined;
  lastChild: Shape | null = null;
  children: Map<string, Shape> | null = null;
  id = 0;
  epoch = -1;
  definition: Definition | null = null;
  /**
   * Whether the shape has occurred. Only a second occurrence is worth a definition: keys of maps
   * rarely repeat.
   */
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

  /** Returns the texts of the definition. */
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

/** A dictionary entry for a function of a module. */
export class FunctionEntry {
  readonly reference: { readonly module: string; readonly name: string };
  readonly kind: number = FUNCTION_ENTRY;
  id = 0;
  epoch = -1;
  definition: Definition | null = null;

  constructor(reference: { readonly module: string; readonly name: string }) {
    this.reference = reference;
  }

  /** Returns the texts of the definition. */
  texts(): string[] {
    return [this.reference.module, this.reference.name];
  }
}

/** The trie, with a root for plain objects and one for each registered class. */
export class ShapeTrie {
  plain: Shape = new Shape(null, "", null);
  /** Created on demand, because most encoders never write an instance of a registered class. */
  #roots: WeakMap<RegisteredClass, Shape> | undefined;
  #nodeCount = 0;

  root(ownerClass: RegisteredClass | null): Shape {
    if (ownerClass === null) return this.plain;
    this.#roots ??= new WeakMap();
    let root = this.#roots.get(ownerClass);
    if (root === undefined) this.#roots.set(ownerClass, (root = new Shape(null, "", ownerClass)));
    return root;
  }

  /**
   * Returns the child at `key`, which it creates if needed; null if there are too many keys or
   * nodes.
   */
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

  /** Adds a copy of `old`, which was part of the trie before it was cleared. */
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
