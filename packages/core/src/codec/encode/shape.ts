/**
 * Finds the *shape* of an object, its keys in order, by a walk through a trie of keys.
 *
 * Consecutive objects often have the same keys in the same order. Each node therefore remembers the
 * last child taken, and a walk usually compares one pointer for each key.
 */
import type { RegisteredClass } from "../../registry.ts";
import { CLASS_SHAPE, FUNCTION_ENTRY, MAX_SHAPE_KEYS, PLAIN_SHAPE } from "../format/tags.ts";

/** The number of nodes at which the trie is reduced to the shapes in the dictionary. */
const MAX_TRIE_NODES = 16384;

/**
 * The bytes of a definition, kept for its next use. They are kept as words of 32 bits, because
 * writing a word takes as long as writing a byte.
 */
export interface Definition {
  /** Little-endian. The last word is padded with zeros. */
  readonly words: Int32Array;
  /** The number of bytes; 0 if the definition is longer than `MAX_DEFINITION_BYTES`. */
  readonly size: number;
}

/** A node of the trie. It stands for the keys on the path from its root, and a class. */
export class Shape {
  readonly parent: Shape | null;
  readonly key: string;
  /** The number of keys. */
  readonly depth: number;
  /** The class of the objects; null for plain objects. */
  readonly ownerClass: RegisteredClass | null;
  lastKey: string | undefined = undefined;
  lastChild: Shape | null = null;
  children: Map<string, Shape> | null = null;
  /** The number in the dictionary, if `epoch` is the epoch of the dictionary. */
  id = 0;
  epoch = -1;
  definition: Definition | null = null;
  /**
   * Whether an object of the shape has been written. Only the second one defines the shape, because
   * objects used as maps rarely repeat their keys.
   */
  hasOccurred = false;

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
  plainRoot: Shape = new Shape(null, "", null);
  /** Created on demand, because most encoders never write an instance of a registered class. */
  #roots: WeakMap<RegisteredClass, Shape> | undefined;
  #nodeCount = 0;

  root(ownerClass: RegisteredClass | null): Shape {
    if (ownerClass === null) return this.plainRoot;
    this.#roots ??= new WeakMap();
    let root = this.#roots.get(ownerClass);
    if (root === undefined) this.#roots.set(ownerClass, (root = new Shape(null, "", ownerClass)));
    return root;
  }

  /**
   * Returns the child for `key`, and creates it if needed. Returns null if that would exceed the
   * limit of keys or of nodes.
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
    this.plainRoot = new Shape(null, "", null);
    this.#roots = undefined;
  }

  /** Adds a copy of `old`, a shape of the trie before the call of `clear()`. */
  reinsert(old: Shape): Shape {
    let shape = this.root(old.ownerClass);
    for (const key of old.keys()) shape = this.step(shape, key) as Shape;
    shape.id = old.id;
    shape.epoch = old.epoch;
    shape.definition = old.definition;
    shape.hasOccurred = true;
    return shape;
  }
}
