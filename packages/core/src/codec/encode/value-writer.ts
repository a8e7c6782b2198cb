/**
 * Writes values: the part of the encoder that runs for every value of every message.
 *
 * What is rarer (builtin classes, errors, functions, live objects) is written by functions in files of their own, which
 * are given the scribe.
 */

import { ByteWriter } from "../../bytes/byte-writer.ts";
import type { RegisteredClass } from "../../registry.ts";
import * as tags from "../format/tags.ts";
import { writeArray } from "./array-writer.ts";
import { Cargo, type CargoMark } from "./attachments.ts";
import { writeBigInt } from "./builtin-writer.ts";
import { writeClassed } from "./class-writer.ts";
import { type Definition, Dictionary, writeDefinition } from "./dictionary.ts";
import { propertyStep, Refusal, refusedAt, tooDeep } from "./encode-failure.ts";
import { writeFunction } from "./function-writer.ts";
import { Seen } from "./reference-table.ts";
import type { FunctionForm, Shape } from "./shape.ts";
import { writeText } from "./text-writer.ts";

/** A point of a message to which a scribe can go back. */
export interface Mark {
  readonly position: number;
  readonly depth: number;
  readonly forms: number;
  readonly objects: number;
  readonly cargo: CargoMark;
}

const OBJECT_PROTOTYPE = Object.prototype;
const ARRAY_PROTOTYPE = Array.prototype;
/** An object that has nothing but what it inherits. */
const EMPTY = {};
/** Memory of more than this is not kept between messages. */
const KEPT_MEMORY = 1 << 20;
const NO_MEMORY = new ByteWriter(0);

/** The state of one encoder. */
export class Scribe {
  bytes: Uint8Array = NO_MEMORY.bytes;
  view: DataView = NO_MEMORY.view;
  /** Where the next byte goes. */
  position = 0;
  /** How far `bytes` reaches. */
  limit = 0;
  /** Whether a message is being written. */
  isBusy = false;
  /** What goes with the message. */
  readonly cargo: Cargo = new Cargo();
  readonly dictionary: Dictionary;
  readonly #standsAlone: boolean;
  readonly #seen: Seen = new Seen();
  #referenced = false;
  #depth = 0;
  #start = 0;
  #formsBefore = 0;
  #writer: ByteWriter | null = null;
  #isOpen = false;
  /** Whether `for in` lists more than own properties. */
  #polluted = false;

  /** @param standsAlone whether each message carries its own dictionary */
  constructor(standsAlone: boolean) {
    this.#standsAlone = standsAlone;
    this.dictionary = new Dictionary(standsAlone);
  }

  /** Begins a message; `finish` or `abandon` must end it. */
  begin(writer: ByteWriter): void {
    // The message before has failed, and there was too little stack left to clear up.
    this.abandon();
    this.#formsBefore = this.dictionary.begin();
    this.#isOpen = true;
    this.#writer = writer;
    this.#start = writer.position;
    this.position = writer.position;
    this.#adopt(writer);
    this.cargo.clear();
    this.#referenced = false;
    this.#depth = 0;
    this.#polluted = isPolluted();
    this.grow(1);
    this.position++;
  }

  /** Ends the message. */
  finish(): void {
    const dictionary = this.#standsAlone ? tags.STANDS_ALONE : this.#formsBefore === 0 ? tags.BEGINS : 0;
    this.bytes[this.#start] = this.#referenced ? dictionary | tags.HAS_REFERENCES : dictionary;
    (this.#writer as ByteWriter).position = this.position;
    this.#release();
  }

  /** Ends the message that has failed, if there is one: all is as it was before it. */
  abandon(): void {
    if (!this.#isOpen) return;
    this.discard();
    this.#release();
  }

  /** Takes back what the last message did to the dictionary. */
  discard(): void {
    this.dictionary.truncate(this.#formsBefore);
    this.cargo.clear();
  }

  /** Appends any value. */
  write(value: unknown): void {
    if (this.position + 16 > this.limit) this.grow(16);
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
      throw new Refusal(`a symbol (${String(value)})`);
    }
  }

  /** Makes sure that `n` more bytes fit. */
  grow(n: number): void {
    if (this.position + n <= this.limit) return;
    const writer = this.#writer as ByteWriter;
    writer.position = this.position;
    try {
      writer.ensure(n);
    } catch (cause) {
      throw new Refusal("there is no memory for the message", { cause });
    }
    this.#adopt(writer);
  }

  /** Appends a byte, for which there is room. */
  tag(tag: number): void {
    this.bytes[this.position++] = tag;
  }

  /** Appends a count: one byte, or a mark and two bytes or four. */
  count(n: number): void {
    this.grow(5);
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
    this.grow(6);
    this.bytes[this.position++] = tag;
    this.count(n);
  }

  float64(n: number): void {
    this.grow(8);
    this.view.setFloat64(this.position, n, true);
    this.position += 8;
  }

  /** Appends a reference to `object` if it was met before; otherwise notes that it is met now. */
  refer(object: object): boolean {
    const number = this.#seen.meet(object);
    if (number === -1) return false;
    this.#referenced = true;
    this.tagAndCount(tags.REFERENCE, number);
    return true;
  }

  /** Appends the own enumerable properties of an object, behind a form or a tag that says whose they are. */
  keyed(object: object, owner: RegisteredClass | null): void {
    const keys = Object.keys(object);
    const trie = this.dictionary.trie;
    let shape: Shape | null = trie.root(owner);
    for (let i = 0; i < keys.length && shape !== null; i++) shape = trie.step(shape, keys[i] as string);
    if (shape === null || !this.#shape(shape)) {
      this.#unshaped(object, keys, owner);
      return;
    }
    let i = 0;
    try {
      for (; i < keys.length; i++) this.write((object as Record<string, unknown>)[keys[i] as string]);
    } catch (thrown) {
      throw refusedAt(thrown, propertyStep(keys[i] as string));
    }
  }

  /** Appends a count, and the names and values of properties. */
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
      throw refusedAt(thrown, propertyStep(keys[i] as string));
    }
  }

  /** Appends the number of a form, or its definition, which gives it one; `false` if there is no more room for it. */
  form(form: Shape | FunctionForm): boolean {
    if (form.epoch !== this.dictionary.epoch) return this.#define(form);
    if (form.id < 32) {
      this.grow(1);
      this.tag(tags.SHORT_KNOWN | form.id);
    } else {
      this.grow(3);
      this.tag(tags.KNOWN);
      this.view.setUint16(this.position, form.id, true);
      this.position += 2;
    }
    return true;
  }

  mark(): Mark {
    return {
      position: this.position,
      depth: this.#depth,
      forms: this.dictionary.count,
      objects: this.#seen.count,
      cargo: this.cargo.mark(),
    };
  }

  /** Takes back what was written since `mark`. */
  rollback(mark: Mark): void {
    this.position = mark.position;
    this.#depth = mark.depth;
    this.dictionary.truncate(mark.forms);
    this.#seen.truncate(mark.objects);
    this.cargo.rollback(mark.cargo);
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
    if (this.refer(object)) return;
    if (++this.#depth > tags.MAX_DEPTH) throw tooDeep();
    const prototype: object | null = Object.getPrototypeOf(object);
    if (prototype === OBJECT_PROTOTYPE) this.#plain(object as Record<string, unknown>);
    else if (prototype === ARRAY_PROTOTYPE && Array.isArray(object)) writeArray(this, object);
    else writeClassed(this, object, prototype);
    this.#depth--;
  }

  /** Two walks with `for in`, in which V8 takes keys and values straight from the object's hidden class. */
  #plain(object: Record<string, unknown>): void {
    if (this.#polluted) return this.keyed(object, null);
    const { dictionary } = this;
    let shape = dictionary.trie.plain;
    for (const key in object) {
      if (shape.lastKey === key) {
        shape = shape.lastChild as Shape;
      } else {
        const next = dictionary.trie.step(shape, key);
        if (next === null) return this.keyed(object, null);
        shape = next;
      }
    }
    // The frequent case, which `#shape` would find out too.
    if (shape.epoch === dictionary.epoch && shape.id < 32) this.bytes[this.position++] = tags.SHORT_KNOWN | shape.id;
    else if (!this.#shape(shape)) return this.#unshaped(object, Object.keys(object), null);
    let written = 0;
    let last = "";
    try {
      for (const key in object) {
        last = key;
        this.write(object[key]);
        written++;
      }
    } catch (thrown) {
      throw refusedAt(thrown, propertyStep(last));
    }
    if (written !== shape.depth) throw new Refusal("an object that changed while it was read");
  }

  /** Appends the form of these keys, unless they come for the first time. */
  #shape(shape: Shape): boolean {
    if (shape.owner !== null) this.cargo.need(shape.owner.module);
    if (shape.cameBefore) return this.form(shape);
    shape.cameBefore = true;
    return false;
  }

  #unshaped(object: object, keys: readonly string[], owner: RegisteredClass | null): void {
    this.grow(1);
    if (owner === null) {
      this.tag(tags.OBJECT);
    } else {
      this.cargo.need(owner.module);
      this.tag(tags.INSTANCE);
      writeText(this, owner.module);
      writeText(this, owner.name);
    }
    this.properties(object, keys);
  }

  #define(form: Shape | FunctionForm): boolean {
    if (this.dictionary.isFull) return false;
    if (form.definition === null) {
      form.definition = writeDefinition(this, form.kind, form.texts());
    } else {
      this.#copy(form.definition);
    }
    if (form.definition.size === 0) return false;
    this.dictionary.add(form);
    return true;
  }

  #release(): void {
    this.#seen.clear();
    this.#isOpen = false;
    this.#writer = null;
    // What a huge message has grown would stay alive.
    if (this.limit > KEPT_MEMORY) this.#adopt(NO_MEMORY);
  }

  #copy({ words, size }: Definition): void {
    const { length } = words;
    this.grow(length * 4);
    const { view, position } = this;
    for (let i = 0; i < length; i++) view.setInt32(position + i * 4, words[i] as number, true);
    this.position = position + size;
  }

  #adopt(writer: ByteWriter): void {
    this.bytes = writer.bytes;
    this.view = writer.view;
    this.limit = writer.limit;
  }
}

/** Whether somebody has put enumerable properties where every object inherits them. */
function isPolluted(): boolean {
  for (const _ in EMPTY) return true;
  return false;
}
