/**
 * The part of the decoder that runs for every value of every message.
 *
 * Invariant: a read may pass the end of the message, but the reader notices that before it returns
 * the value. One check at the end of the message is cheaper than a check before each byte. Two
 * checks come earlier: that of a length, before memory is allocated, and that of the end, before a
 * reviver with side effects runs.
 */
import { ProtocolError } from "../../errors.ts";
import { isStackOverflow } from "../format/describe.ts";
import {
  CLASS_SHAPE,
  DICTIONARY_RESET,
  HAS_REFERENCES,
  MAX_DEFINITION_BYTES,
  MAX_DEPTH,
  MAX_DICTIONARY_ENTRIES,
  PLAIN_SHAPE,
  SELF_CONTAINED,
} from "../format/tags.ts";
import { readBigInt } from "./builtin-reader.ts";
import { addShape, findShape } from "./decoded-shape.ts";
import { readFunctionEntry } from "./function-reader.ts";
import { buildObject } from "./object-builder.ts";
import { readInstance } from "./property-reader.ts";
import type { DecodedShape, ReadContext } from "./read-context.ts";
import { TRUNCATED, tagReaders, throwUnknownTag } from "./tag-readers.ts";
import { readAscii, readUtf8, readUtf16 } from "./text-reader.ts";

const NO_BYTES = new Uint8Array(0);
const NO_PARTS: readonly Uint8Array[] = [];
/**
 * The largest memory that the reader still references after the message. The next message often
 * lies in the same memory.
 */
const MAX_KEPT_BYTES = 1 << 20;

/**
 * An error that does not come from malformed bytes, and is thrown once the whole message has been
 * read.
 */
interface DeferredFailure {
  readonly error: unknown;
}

/**
 * The state of one decoder. {@link ReadContext} describes the members that the other readers use.
 */
export class ValueReader implements ReadContext {
  bytes: Uint8Array = NO_BYTES;
  position = 0;
  /** The offset after the message. */
  end = 0;
  hasReferences = false;
  /** Whether a message is being read. */
  isBusy = false;

  readonly #channelEntries: DecodedShape[] = [];
  readonly #messageEntries: DecodedShape[] = [];
  #entries: DecodedShape[] = this.#messageEntries;
  #entryCount = 0;
  #view: DataView | null = null;
  #objects: unknown[] = [];
  #parts: readonly Uint8Array[] = NO_PARTS;
  #nextPart = 0;
  /**
   * The number of array elements that the message may still allocate. It starts as the number of
   * bytes.
   */
  #elementBudget = 0;
  #depth = 0;
  #failure: DeferredFailure | null = null;

  /** Reads a whole message. */
  message(bytes: Uint8Array, start: number, end: number, parts: readonly Uint8Array[]): unknown {
    let value: unknown;
    let failure: DeferredFailure | null = null;
    this.isBusy = true;
    try {
      this.#startMessage(bytes, start, end, parts);
      value = this.read();
      if (this.position !== end)
        throw new ProtocolError(this.position < end ? "Malformed message: bytes follow the value" : TRUNCATED);
      if (this.#nextPart !== parts.length) throw new ProtocolError("Malformed message: parts are left over");
      failure = this.#failure;
    } catch (thrown) {
      throw thrown instanceof ProtocolError ? thrown : toProtocolError(thrown);
    } finally {
      this.isBusy = false;
      this.#endMessage();
    }
    if (failure !== null) throw failure.error;
    return value;
  }

  read(): unknown {
    const tag = this.bytes[this.position++] as number;
    if (tag >= 0x80) return tag & 0x7f;
    if (tag >= 0x60) return this.ascii(tag & 0x1f);
    if (tag < 0x0e) return this.#scalar(tag);
    if (++this.#depth > MAX_READ_DEPTH) throw new ProtocolError(TOO_DEEP);
    // The rarer readers are called right here, because a function in between would take stack at
    // each level.
    const value =
      tag >= 0x40
        ? this.knownEntry(tag & 0x1f)
        : tag >= 0x30
          ? this.array(tag & 0x0f)
          : (tagReaders[tag] ?? throwUnknownTag)(this, tag);
    this.#depth--;
    return value;
  }

  text(): string {
    const tag = this.bytes[this.position] as number;
    // The tag is checked before the value is read, because a value of another type could be large.
    if (tag >= 0x60 ? tag < 0x80 : tag >= 0x0a && tag <= 0x0d) return this.read() as string;
    throw new ProtocolError("Malformed message: expected a string");
  }

  byte(): number {
    return this.bytes[this.position++] as number;
  }

  count(): number {
    const first = this.bytes[this.position++] as number;
    if (first < 0xfe) return first;
    return first === 0xfe ? this.uint16() : this.uint32();
  }

  length(minBytesEach: number): number {
    const length = this.count();
    this.requireBytes(length * minBytesEach);
    return length;
  }

  /** Throws if fewer than `count` bytes are left. */
  requireBytes(count: number): void {
    if (!(this.position + count <= this.end)) throw new ProtocolError(TRUNCATED);
  }

  uint16(): number {
    const { bytes, position } = this;
    this.position = position + 2;
    return (bytes[position] as number) | ((bytes[position + 1] as number) << 8);
  }

  uint32(): number {
    const position = this.position;
    this.position = position + 4;
    return this.view().getUint32(position, true);
  }

  float64(): number {
    const position = this.position;
    this.position = position + 8;
    return this.view().getFloat64(position, true);
  }

  /**
   * Returns the DataView, and creates it at the first call, because most small messages need none.
   */
  view(): DataView {
    const { bytes } = this;
    return (this.#view ??= new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  }

  /** Reads a text of one byte a character. */
  ascii(length: number): string {
    const position = this.position;
    const next = position + length;
    if (next > this.end) throw new ProtocolError(TRUNCATED);
    this.position = next;
    return readAscii(this.bytes, position, length);
  }

  startObject(): Record<string, unknown> {
    const object: Record<string, unknown> = {};
    if (this.hasReferences) this.#objects.push(object);
    return object;
  }

  addReference<T>(object: T): T {
    if (this.hasReferences) this.#objects.push(object);
    return object;
  }

  reserveReference(): number {
    return this.hasReferences ? this.#objects.push(RESERVED) - 1 : -1;
  }

  resolveReference<T>(id: number, object: T): T {
    // An object that failed to be rebuilt is undefined. References to it must still read to their end.
    if (id >= 0) this.#objects[id] = object ?? FAILED_OBJECT;
    return object;
  }

  part(): Uint8Array {
    const index = this.count();
    const part = this.#parts[index];
    if (index !== this.#nextPart || part === undefined)
      throw new ProtocolError(`Malformed message: part ${index} is missing or out of order`);
    this.#nextPart++;
    return part;
  }

  /**
   * Keeps the first error until the whole message has been read, because later messages may refer
   * to the entries that this one defines. After an error it calls no further functions, so no
   * further shareable objects are rebuilt.
   */
  deferFailure<T>(run: () => T): T | undefined {
    this.requireBytes(0);
    if (this.#failure !== null) return undefined;
    try {
      return run();
    } catch (error) {
      this.#failure = { error };
      return undefined;
    }
  }

  knownEntry(id: number): unknown {
    if (!(id < this.#entryCount)) throw new ProtocolError(`Malformed message: dictionary entry ${id} is not defined`);
    return this.build(this.#entries[id] as DecodedShape);
  }

  build(entry: DecodedShape): unknown {
    if (entry.kind === PLAIN_SHAPE) return buildObject(this, entry);
    return entry.kind === CLASS_SHAPE ? readInstance(this, entry) : readFunctionEntry(this, entry);
  }

  array(length: number): unknown[] {
    if (!this.chargeElements(length)) throw new ProtocolError(TRUNCATED);
    const array = new Array<unknown>(length);
    if (this.hasReferences) this.#objects.push(array);
    for (let i = 0; i < length; i++) array[i] = this.read();
    return array;
  }

  /**
   * Without the budget, each of many nested arrays could announce as many elements as the message
   * has bytes.
   */
  chargeElements(elements: number): boolean {
    if (elements > this.#elementBudget) return false;
    this.#elementBudget -= elements;
    return true;
  }

  object(id: number): unknown {
    const object = this.#objects[id];
    if (object === undefined || object === RESERVED)
      throw new ProtocolError(`Malformed message: invalid reference to object ${id}`);
    return object;
  }

  readDefinition(): DecodedShape {
    const start = this.position;
    const hash = this.uint16();
    const length = this.uint16();
    this.requireBytes(length);
    if (length > MAX_DEFINITION_BYTES)
      throw new ProtocolError(`Malformed message: a definition of more than ${MAX_DEFINITION_BYTES} bytes`);
    if (this.#entryCount === MAX_DICTIONARY_ENTRIES)
      throw new ProtocolError(`Malformed message: more than ${MAX_DICTIONARY_ENTRIES} dictionary entries`);
    const end = this.position + length;
    const entry = findShape(hash, this.view(), start, end) ?? this.#parseDefinition(hash, start, end);
    this.position = end;
    this.#entries[this.#entryCount++] = entry;
    return entry;
  }

  #startMessage(bytes: Uint8Array, start: number, end: number, parts: readonly Uint8Array[]): void {
    if (!(start >= 0 && start < end && end <= bytes.length))
      throw new ProtocolError("Malformed message: it is empty, or not within its memory");
    if (bytes !== this.bytes) {
      this.bytes = bytes;
      this.#view = null;
    }
    this.#parts = parts;
    this.#nextPart = 0;
    this.#depth = 0;
    this.#failure = null;
    this.end = end;
    this.#elementBudget = end - start;
    this.position = start + 1;
    const header = bytes[start] as number;
    if (header > (HAS_REFERENCES | SELF_CONTAINED | DICTIONARY_RESET))
      throw new ProtocolError(`Malformed message: unknown header 0x${header.toString(16).padStart(2, "0")}`);
    this.hasReferences = (header & HAS_REFERENCES) !== 0;
    if (this.hasReferences) this.#objects = [];
    if ((header & DICTIONARY_RESET) !== 0) this.#channelEntries.length = 0;
    const isSelfContained = (header & SELF_CONTAINED) !== 0;
    this.#entries = isSelfContained ? this.#messageEntries : this.#channelEntries;
    this.#entryCount = isSelfContained ? 0 : this.#channelEntries.length;
  }

  #endMessage(): void {
    if (this.hasReferences) this.#objects = [];
    this.#parts = NO_PARTS;
    if (this.bytes.length > MAX_KEPT_BYTES) {
      this.bytes = NO_BYTES;
      this.#view = null;
    }
  }

  #parseDefinition(hash: number, start: number, end: number): DecodedShape {
    const kind = this.byte();
    const count = this.length(1);
    const texts: string[] = [];
    for (let i = 0; i < count; i++) texts.push(this.text());
    if (this.position !== end) throw new ProtocolError("Malformed message: invalid definition");
    const definition = new Uint8Array(end - start);
    definition.set(this.bytes.subarray(start, end));
    return addShape(hash, kind, texts, definition);
  }

  /** Reads a scalar. The cases are literals, because V8 creates jump tables only for literals. */
  #scalar(tag: number): unknown {
    switch (tag) {
      case 0x00 /* UNDEFINED */:
        return undefined;
      case 0x01 /* NULL */:
        return null;
      case 0x02 /* FALSE */:
        return false;
      case 0x03 /* TRUE */:
        return true;
      case 0x04 /* INT8 */:
        return (this.byte() << 24) >> 24;
      case 0x05 /* INT16 */:
        return (this.uint16() << 16) >> 16;
      case 0x06 /* INT32 */:
        return this.uint32() | 0;
      case 0x07 /* FLOAT64 */:
        return this.float64();
      case 0x0a /* ASCII8 */:
        return this.ascii(this.byte());
      case 0x0b /* ASCII32 */:
        return this.ascii(this.uint32());
      case 0x0c /* UTF8 */:
        return this.#utf8(this.uint32());
      case 0x0d /* UTF16 */:
        return this.#utf16(this.count());
      default:
        /* BIGINT64, BIGINT */ return readBigInt(this, tag);
    }
  }

  #utf8(length: number): string {
    this.requireBytes(length);
    const position = this.position;
    this.position = position + length;
    return readUtf8(this.bytes, position, length);
  }

  #utf16(length: number): string {
    this.requireBytes(length * 2);
    const position = this.position;
    this.position = position + length * 2;
    return readUtf16(this, position, length);
  }
}

/** An instance of a class that extends a builtin class counts as two levels for the reader. */
const MAX_READ_DEPTH = MAX_DEPTH * 2 + 2;
const TOO_DEEP = "Malformed message: the value is nested too deeply";
/** Stands for an object whose number is reserved, and whose contents are still being read. */
const RESERVED = Symbol("reserved");
/** Stands for an object whose failure is deferred. No caller gets it, because the message fails. */
const FAILED_OBJECT = Symbol("failed");

function toProtocolError(thrown: unknown): ProtocolError {
  if (isStackOverflow(thrown)) return new ProtocolError(TOO_DEEP, { cause: thrown });
  return new ProtocolError(`Malformed message: ${thrown instanceof Error ? thrown.message : String(thrown)}`, {
    cause: thrown,
  });
}
