/**
 * Reads values: the part of the decoder that runs for every value of every message.
 *
 * Reading a value may run over the end of the message, never over the end of the memory unnoticed: it is cheaper to look
 * once, at the end of the message, than before each byte. Lengths are compared with what is left before anything of that
 * length is made, and what has effects elsewhere (live objects) looks first.
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
import { cachedShape, makeShape } from "./decoded-shape.ts";
import { readFunctionEntry } from "./function-reader.ts";
import { buildObject } from "./object-builder.ts";
import { readInstance } from "./property-reader.ts";
import type { DecodedShape, ReadContext } from "./read-context.ts";
import { tagReaders, throwUnknownTag } from "./tag-readers.ts";
import { readAscii, readUtf8, readUtf16 } from "./text-reader.ts";

const NO_BYTES = new Uint8Array(0);
const NO_PARTS: readonly Uint8Array[] = [];
/** Memory of up to this size is kept between messages, since the next one often lies in the same. */
const MAX_KEPT_BYTES = 1 << 20;

/** What went wrong for other reasons than bytes. */
interface DeferredFailure {
  readonly error: unknown;
}

/** The state of one decoder. */
export class ValueReader implements ReadContext {
  bytes: Uint8Array = NO_BYTES;
  /** Where the next byte is. */
  position = 0;
  /** Where the message ends. */
  end = 0;
  /** Whether the message refers back to objects, so that they must be numbered. */
  isTracking = false;
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
  /** For how many elements of arrays memory may yet be reserved: no more than there are bytes. */
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
        throw new ProtocolError(this.position < end ? "A message is longer than its value" : TRUNCATED);
      if (this.#nextPart !== parts.length) throw new ProtocolError("A message has more parts than its value");
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

  /** Reads any value. */
  read(): unknown {
    const tag = this.bytes[this.position++] as number;
    if (tag >= 0x80) return tag & 0x7f;
    if (tag >= 0x60) return this.ascii(tag & 0x1f);
    if (tag < 0x0e) return this.#scalar(tag);
    if (++this.#depth > MAX_READ_DEPTH) throw new ProtocolError(TOO_DEEP);
    // Called from here and not from a function for what is rarer: each one more on the way costs stack.
    const value =
      tag >= 0x40
        ? this.knownEntry(tag & 0x1f)
        : tag >= 0x30
          ? this.array(tag & 0x0f)
          : (tagReaders[tag] ?? throwUnknownTag)(this, tag);
    this.#depth--;
    return value;
  }

  /** Reads a text. */
  text(): string {
    const tag = this.bytes[this.position] as number;
    // Looked at before it is read: something else could be large.
    if (tag >= 0x60 ? tag < 0x80 : tag >= 0x0a && tag <= 0x0d) return this.read() as string;
    throw new ProtocolError("A message holds something else where a text is due");
  }

  byte(): number {
    return this.bytes[this.position++] as number;
  }

  /** Reads a count; see `Scribe.count`. */
  count(): number {
    const first = this.bytes[this.position++] as number;
    if (first < 0xfe) return first;
    return first === 0xfe ? this.uint16() : this.uint32();
  }

  /** Reads how many things of at least `size` bytes follow. */
  length(minBytesEach: number): number {
    const length = this.count();
    this.requireBytes(length * minBytesEach);
    return length;
  }

  /** Makes sure that so many bytes are left. */
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

  /** The memory of the message as a DataView; made when it is first needed, since most small messages need none. */
  view(): DataView {
    const { bytes } = this;
    return (this.#view ??= new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  }

  /** Reads text of one byte a character. */
  ascii(length: number): string {
    const position = this.position;
    const next = position + length;
    if (next > this.end) throw new ProtocolError(TRUNCATED);
    this.position = next;
    return readAscii(this.bytes, position, length);
  }

  /** Begins a plain object. */
  startObject(): Record<string, unknown> {
    const object: Record<string, unknown> = {};
    if (this.isTracking) this.#objects.push(object);
    return object;
  }

  /** Gives an object its number, before what it contains is read. */
  addReference<T>(object: T): T {
    if (this.isTracking) this.#objects.push(object);
    return object;
  }

  /** Gives a number to an object that can be made only when what it contains has been read. */
  reserveReference(): number {
    return this.isTracking ? this.#objects.push(RESERVED) - 1 : -1;
  }

  resolveReference<T>(id: number, object: T): T {
    if (id >= 0) this.#objects[id] = object;
    return object;
  }

  /** Takes the next part. */
  part(): Uint8Array {
    const index = this.count();
    const part = this.#parts[index];
    if (index !== this.#nextPart || part === undefined)
      throw new ProtocolError("A message names a part that it does not have");
    this.#nextPart++;
    return part;
  }

  /**
   * Runs what can fail for other reasons than bytes. The error waits until the whole message has been read, since later
   * messages may refer to what it defines; after a first error no more live objects are rebuilt.
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

  /** Reads a value of the form with that number. */
  knownEntry(id: number): unknown {
    if (!(id < this.#entryCount)) throw new ProtocolError("A message refers to what nobody defined");
    return this.build(this.#entries[id] as DecodedShape);
  }

  /** Reads a value of a form. */
  build(entry: DecodedShape): unknown {
    if (entry.kind === PLAIN_SHAPE) return buildObject(this, entry);
    return entry.kind === CLASS_SHAPE ? readInstance(this, entry) : readFunctionEntry(this, entry);
  }

  /** Reads an array of so many elements. */
  array(length: number): unknown[] {
    if (!this.chargeElements(length)) throw new ProtocolError(TRUNCATED);
    const array = new Array<unknown>(length);
    if (this.isTracking) this.#objects.push(array);
    for (let i = 0; i < length; i++) array[i] = this.read();
    return array;
  }

  /** Whether memory may be reserved for so many elements: arrays in arrays could each announce as many as there are bytes. */
  chargeElements(elements: number): boolean {
    if (elements > this.#elementBudget) return false;
    this.#elementBudget -= elements;
    return true;
  }

  /** The object with that number, which must have been begun. */
  object(id: number): unknown {
    const object = this.#objects[id];
    if (object === undefined || object === RESERVED)
      throw new ProtocolError("A message refers to an object that it does not hold");
    return object;
  }

  /** Reads a form's definition and gives it the next number. */
  readDefinition(): DecodedShape {
    const start = this.position;
    const hash = this.uint16();
    const length = this.uint16();
    this.requireBytes(length);
    if (length > MAX_DEFINITION_BYTES || this.#entryCount === MAX_DICTIONARY_ENTRIES)
      throw new ProtocolError("A message defines too much");
    const end = this.position + length;
    const entry = cachedShape(hash, this.view(), start, end) ?? this.#parseDefinition(hash, start, end);
    this.position = end;
    this.#entries[this.#entryCount++] = entry;
    return entry;
  }

  #startMessage(bytes: Uint8Array, start: number, end: number, parts: readonly Uint8Array[]): void {
    if (!(start >= 0 && start < end && end <= bytes.length)) throw new ProtocolError("A message is empty");
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
      throw new ProtocolError(`A message has an unknown header (${header})`);
    this.isTracking = (header & HAS_REFERENCES) !== 0;
    if (this.isTracking) this.#objects = [];
    if ((header & DICTIONARY_RESET) !== 0) this.#channelEntries.length = 0;
    const standsAlone = (header & SELF_CONTAINED) !== 0;
    this.#entries = standsAlone ? this.#messageEntries : this.#channelEntries;
    this.#entryCount = standsAlone ? 0 : this.#channelEntries.length;
  }

  #endMessage(): void {
    if (this.isTracking) this.#objects = [];
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
    if (this.position !== end) throw new ProtocolError("A definition is malformed");
    const definition = new Uint8Array(end - start);
    definition.set(this.bytes.subarray(start, end));
    return makeShape(hash, kind, texts, definition);
  }

  /** Literals, since only those make a jump of the switch. */
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

/** An object of a class that inherits from a builtin one is two for the reader. */
const MAX_READ_DEPTH = MAX_DEPTH * 2 + 2;
const TOO_DEEP = "A message holds a value that is nested too deeply";
const TRUNCATED = "A message ends in the middle of a value";
/** Stands for an object that is still being read. */
const RESERVED = Symbol("reserved");

function toProtocolError(thrown: unknown): ProtocolError {
  if (isStackOverflow(thrown)) return new ProtocolError(TOO_DEEP, { cause: thrown });
  return new ProtocolError(`A message is malformed: ${thrown instanceof Error ? thrown.message : String(thrown)}`, {
    cause: thrown,
  });
}
