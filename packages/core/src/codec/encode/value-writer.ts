/**
 * The part of the encoder that runs for every value of every message.
 *
 * Writers in other files handle the rarer types: builtin classes, errors, functions, shareable
 * objects. They use the value writer as their {@link WriteContext}.
 */
import { ByteWriter } from "../../bytes/byte-writer.ts";
import type { RegisteredClass } from "../../registry.ts";
import * as tags from "../format/tags.ts";
import { writeArray } from "./array-writer.ts";
import { Attachments } from "./attachments.ts";
import { writeBigInt } from "./builtin-writer.ts";
import { writeByClass } from "./class-writer.ts";
import { writeDefinition } from "./definition-writer.ts";
import { Dictionary } from "./dictionary.ts";
import { atPath, EncodeFailure, nestingTooDeep, propertyStep } from "./encode-failure.ts";
import { writeFunction } from "./function-writer.ts";
import { ReferenceTable } from "./reference-table.ts";
import type { Definition, FunctionEntry, Shape } from "./shape.ts";
import { writeText } from "./text-writer.ts";
import type { WriteContext, WriterMark } from "./write-context.ts";

const OBJECT_PROTOTYPE = Object.prototype;
const ARRAY_PROTOTYPE = Array.prototype;
const EMPTY_OBJECT = {};
/** The largest output memory that the writer still references after the message. */
const MAX_KEPT_BYTES = 1 << 20;
const NO_OUTPUT = new ByteWriter(0);

/**
 * The state of one encoder. {@link WriteContext} describes the members that the other writers use.
 */
export class ValueWriter implements WriteContext {
  bytes: Uint8Array = NO_OUTPUT.bytes;
  view: DataView = NO_OUTPUT.view;
  position = 0;
  limit = 0;
  /** Whether a message is being written. */
  isBusy = false;
  readonly attachments: Attachments = new Attachments();
  readonly dictionary: Dictionary;
  readonly #selfContained: boolean;
  readonly #references: ReferenceTable = new ReferenceTable();
  #hasReferences = false;
  #depth = 0;
  #start = 0;
  #entryCountBefore = 0;
  #output: ByteWriter | null = null;
  #isOpen = false;
  /** Whether `for in` also lists properties that every object inherits. */
  #isPolluted = false;

  /** @param selfContained whether each message has a dictionary of its own */
  constructor(selfContained: boolean) {
    this.#selfContained = selfContained;
    this.dictionary = new Dictionary(selfContained);
  }

  /** Starts a message, which `finish()` or `abandon()` must end. */
  begin(output: ByteWriter): void {
    // The previous message may have failed with too little stack left for the clean-up.
    this.abandon();
    this.#entryCountBefore = this.dictionary.begin();
    this.#isOpen = true;
    this.#output = output;
    this.#start = output.position;
    this.position = output.position;
    this.#useMemoryOf(output);
    this.attachments.clear();
    this.#hasReferences = false;
    this.#depth = 0;
    this.#isPolluted = isPolluted();
    this.ensure(1);
    this.position++;
  }

  /** Ends the message. */
  finish(): void {
    const dictionary = this.#selfContained
      ? tags.SELF_CONTAINED
      : this.#entryCountBefore === 0
        ? tags.DICTIONARY_RESET
        : 0;
    this.bytes[this.#start] = this.#hasReferences ? dictionary | tags.HAS_REFERENCES : dictionary;
    (this.#output as ByteWriter).position = this.position;
    this.#endMessage();
  }

  /**
   * Ends a message that has failed, if there is one, and removes its definitions and attachments.
   */
  abandon(): void {
    if (!this.#isOpen) return;
    this.discard();
    this.#endMessage();
  }

  /**
   * Removes the definitions of the last message from the dictionary, and clears its attachments.
   */
  discard(): void {
    this.dictionary.truncate(this.#entryCountBefore);
    this.attachments.clear();
  }

  write(value: unknown): void {
    if (this.position + 16 > this.limit) this.ensure(16);
    if (typeof value === "number") {
      this.#number(value);
    } else if (typeof value === "string") {
      writeText(this, value);
    } else if (typeof value === "object") {
      if (value === null) this.tag(tags.NULL);
      else this.#object(value);
    } else if (typeof value === "boolean") {
      this.tag(value ? tags.TRUE : tags.FALSE);
    } else if (value === undefined) {
      this.tag(tags.UNDEFINED);
    } else if (typeof value === "function") {
      writeFunction(this, value as (...args: unknown[]) => unknown);
    } else if (typeof value === "bigint") {
      writeBigInt(this, value);
    } else {
      throw new EncodeFailure(`a symbol (${String(value)})`);
    }
  }

  ensure(byteCount: number): void {
    if (this.position + byteCount <= this.limit) return;
    const output = this.#output as ByteWriter;
    output.position = this.position;
    try {
      output.ensure(byteCount);
    } catch (cause) {
      throw new EncodeFailure("not enough memory for the message", { cause });
    }
    this.#useMemoryOf(output);
  }

  tag(tag: number): void {
    this.bytes[this.position++] = tag;
  }

  count(n: number): void {
    this.ensure(5);
    const { bytes, view, position } = this;
    if (n < 0xfe) {
      bytes[position] = n;
      this.position = position + 1;
    } else if (n <= 0xffff) {
      bytes[position] = 0xfe;
      view.setUint16(position + 1, n, true);
      this.position = position + 3;
    } else {
      bytes[position] = 0xff;
      view.setUint32(position + 1, n, true);
      this.position = position + 5;
    }
  }

  tagAndCount(tag: number, n: number): void {
    this.ensure(6);
    this.bytes[this.position++] = tag;
    this.count(n);
  }

  float64(n: number): void {
    this.ensure(8);
    this.view.setFloat64(this.position, n, true);
    this.position += 8;
  }

  tryWriteReference(object: object): boolean {
    const id = this.#references.add(object);
    if (id === -1) return false;
    this.#hasReferences = true;
    this.tagAndCount(tags.REFERENCE, id);
    return true;
  }

  writeObject(object: object, ownerClass: RegisteredClass | null): void {
    const keys = Object.keys(object);
    const trie = this.dictionary.trie;
    let shape: Shape | null = trie.root(ownerClass);
    for (let i = 0; i < keys.length && shape !== null; i++) shape = trie.step(shape, keys[i] as string);
    if (shape === null || !this.#tryWriteShape(shape)) {
      this.#writeWithKeys(object, keys, ownerClass);
      return;
    }
    let i = 0;
    try {
      for (; i < keys.length; i++) this.write((object as Record<string, unknown>)[keys[i] as string]);
    } catch (thrown) {
      throw atPath(thrown, propertyStep(keys[i] as string));
    }
  }

  properties(object: object, keys: readonly string[]): void {
    this.count(keys.length);
    let i = 0;
    try {
      for (; i < keys.length; i++) {
        const key = keys[i] as string;
        writeText(this, key);
        this.write((object as Record<string, unknown>)[key]);
      }
    } catch (thrown) {
      throw atPath(thrown, propertyStep(keys[i] as string));
    }
  }

  entry(entry: Shape | FunctionEntry): boolean {
    if (entry.epoch !== this.dictionary.epoch) return this.#define(entry);
    if (entry.id < 32) {
      this.ensure(1);
      this.tag(tags.SHORT_KNOWN_ENTRY | entry.id);
    } else {
      this.ensure(3);
      this.tag(tags.KNOWN_ENTRY);
      this.view.setUint16(this.position, entry.id, true);
      this.position += 2;
    }
    return true;
  }

  mark(): WriterMark {
    return {
      position: this.position,
      depth: this.#depth,
      entryCount: this.dictionary.count,
      objectCount: this.#references.count,
      attachments: this.attachments.mark(),
    };
  }

  rollback(mark: WriterMark): void {
    this.position = mark.position;
    this.#depth = mark.depth;
    this.dictionary.truncate(mark.entryCount);
    this.#references.truncate(mark.objectCount);
    this.attachments.rollback(mark.attachments);
  }

  #number(value: number): void {
    const { bytes, position } = this;
    if ((value | 0) === value && (value !== 0 || 1 / value > 0)) {
      if (value >= 0 && value < 128) {
        bytes[position] = tags.SMALL_INT | value;
        this.position = position + 1;
      } else if (value === (value << 24) >> 24) {
        bytes[position] = tags.INT8;
        bytes[position + 1] = value;
        this.position = position + 2;
      } else if (value === (value << 16) >> 16) {
        bytes[position] = tags.INT16;
        bytes[position + 1] = value;
        bytes[position + 2] = value >> 8;
        this.position = position + 3;
      } else {
        bytes[position] = tags.INT32;
        this.view.setInt32(position + 1, value, true);
        this.position = position + 5;
      }
    } else {
      bytes[position] = tags.FLOAT64;
      this.view.setFloat64(position + 1, value, true);
      this.position = position + 9;
    }
  }

  #object(object: object): void {
    if (this.tryWriteReference(object)) return;
    if (++this.#depth > tags.MAX_DEPTH) throw nestingTooDeep();
    const prototype: object | null = Object.getPrototypeOf(object);
    if (prototype === OBJECT_PROTOTYPE) this.#plainObject(object as Record<string, unknown>);
    else if (prototype === ARRAY_PROTOTYPE && Array.isArray(object)) writeArray(this, object);
    else writeByClass(this, object, prototype);
    this.#depth--;
  }

  /**
   * Appends a plain object. The first `for in` finds the shape, the second writes the values. That
   * is the fastest walk, because V8 caches the keys of a hidden class and the places of their
   * values.
   */
  #plainObject(object: Record<string, unknown>): void {
    if (this.#isPolluted) return this.writeObject(object, null);
    const { dictionary } = this;
    let shape = dictionary.trie.plainRoot;
    for (const key in object) {
      if (shape.lastKey === key) {
        shape = shape.lastChild as Shape;
      } else {
        const next = dictionary.trie.step(shape, key);
        if (next === null) return this.writeObject(object, null);
        shape = next;
      }
    }
    // The frequent case, inlined from `#tryWriteShape`.
    if (shape.epoch === dictionary.epoch && shape.id < 32)
      this.bytes[this.position++] = tags.SHORT_KNOWN_ENTRY | shape.id;
    else if (!this.#tryWriteShape(shape)) return this.#writeWithKeys(object, Object.keys(object), null);
    let written = 0;
    let lastKey = "";
    try {
      for (const key in object) {
        lastKey = key;
        this.write(object[key]);
        written++;
      }
    } catch (thrown) {
      throw atPath(thrown, propertyStep(lastKey));
    }
    if (written !== shape.depth) throw new EncodeFailure("an object that changed while it was read");
  }

  /**
   * Appends the number or the definition of a shape. Returns false if the shape occurs for the
   * first time, or if the dictionary has no room for it.
   */
  #tryWriteShape(shape: Shape): boolean {
    if (shape.ownerClass !== null) this.attachments.requireModule(shape.ownerClass.module);
    if (shape.hasOccurred) return this.entry(shape);
    shape.hasOccurred = true;
    return false;
  }

  #writeWithKeys(object: object, keys: readonly string[], ownerClass: RegisteredClass | null): void {
    this.ensure(1);
    if (ownerClass === null) {
      this.tag(tags.OBJECT);
    } else {
      this.attachments.requireModule(ownerClass.module);
      this.tag(tags.INSTANCE);
      writeText(this, ownerClass.module);
      writeText(this, ownerClass.name);
    }
    this.properties(object, keys);
  }

  #define(entry: Shape | FunctionEntry): boolean {
    if (this.dictionary.isFull) return false;
    if (entry.definition === null) {
      entry.definition = writeDefinition(this, entry.kind, entry.texts());
    } else {
      this.#copyDefinition(entry.definition);
    }
    if (entry.definition.size === 0) return false;
    this.dictionary.add(entry);
    return true;
  }

  #endMessage(): void {
    this.#references.clear();
    this.#isOpen = false;
    this.#output = null;
    // Releases the memory of a huge message.
    if (this.limit > MAX_KEPT_BYTES) this.#useMemoryOf(NO_OUTPUT);
  }

  #copyDefinition({ words, size }: Definition): void {
    const { length } = words;
    this.ensure(length * 4);
    const { view, position } = this;
    for (let i = 0; i < length; i++) view.setInt32(position + i * 4, words[i] as number, true);
    this.position = position + size;
  }

  #useMemoryOf(output: ByteWriter): void {
    this.bytes = output.bytes;
    this.view = output.view;
    this.limit = output.limit;
  }
}

/** Whether `Object.prototype` has enumerable properties. */
function isPolluted(): boolean {
  for (const _ in EMPTY_OBJECT) return true;
  return false;
}
