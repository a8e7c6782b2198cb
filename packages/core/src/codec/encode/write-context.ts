/**
 * The part of the value writer that the writers of the rarer types use.
 *
 * `ValueWriter` is the only implementation. The interface breaks the import cycle between it and
 * the writers that it calls; it is a type only, so calls stay direct.
 */
import type { RegisteredClass } from "../../registry.ts";
import type { Attachments, AttachmentsMark } from "./attachments.ts";
import type { Dictionary } from "./dictionary.ts";
import type { FunctionEntry, Shape } from "./shape.ts";

/** A point in a message to which the writer can roll back. */
export interface WriterMark {
  readonly position: number;
  readonly depth: number;
  readonly entryCount: number;
  readonly objectCount: number;
  readonly attachments: AttachmentsMark;
}

/** The message that is being written. */
export interface WriteContext {
  /** The memory of the message. {@link WriteContext.ensure} replaces it when it grows. */
  readonly bytes: Uint8Array;
  /** The same memory, for numbers of several bytes. */
  readonly view: DataView;
  /** The offset of the next byte. */
  position: number;
  /** The offset at which the writable memory ends. */
  readonly limit: number;
  /** Parts, modules and commits that travel with the message. */
  readonly attachments: Attachments;
  /** The entries to which messages refer by number. */
  readonly dictionary: Dictionary;

  /** Appends any value. */
  write(value: unknown): void;
  /** Makes room for `byteCount` more bytes. */
  ensure(byteCount: number): void;
  /** Appends one byte without a check for room. */
  tag(tag: number): void;
  /** Appends a count: one byte, or a marker byte and two or four bytes. */
  count(count: number): void;
  /** Appends a tag and a count. */
  tagAndCount(tag: number, count: number): void;
  /** Appends a floating point number. */
  float64(value: number): void;
  /**
   * Appends a reference and returns true if the message contains `object` already. Otherwise gives
   * the object a number and returns false.
   */
  tryWriteReference(object: object): boolean;
  /** Appends the own enumerable properties of an object, by its shape or with its keys. */
  writeObject(object: object, ownerClass: RegisteredClass | null): void;
  /** Appends a count, and the names and values of properties. */
  properties(object: object, keys: readonly string[]): void;
  /**
   * Appends the number or the definition of a dictionary entry. Returns false if the dictionary has
   * no room for it.
   */
  entry(entry: Shape | FunctionEntry): boolean;
  /** Returns the current point of the message. */
  mark(): WriterMark;
  /** Removes everything that was written since `mark`. */
  rollback(mark: WriterMark): void;
}
