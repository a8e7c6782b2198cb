/**
 * The tags and limits of the wire format. `README.md` describes the bytes that follow each tag.
 *
 * The value reader names tags only in comments. V8 compiles a `switch` over literals to a jump
 * table, but one over constants to a chain of comparisons.
 */

export const UNDEFINED = 0x00;
export const NULL = 0x01;
export const FALSE = 0x02;
export const TRUE = 0x03;
export const INT8 = 0x04;
export const INT16 = 0x05;
export const INT32 = 0x06;
export const FLOAT64 = 0x07;
export const BIGINT64 = 0x08;
export const BIGINT = 0x09;
export const ASCII8 = 0x0a;
export const ASCII32 = 0x0b;
export const UTF8 = 0x0c;
export const UTF16 = 0x0d;
export const ARRAY = 0x0e;
export const SPARSE = 0x0f;
export const INTS8 = 0x10;
export const INTS16 = 0x11;
export const INTS32 = 0x12;
export const DOUBLES = 0x13;
export const STRINGS = 0x14;
export const OBJECT = 0x15;
export const KNOWN_ENTRY = 0x16;
export const DEFINE = 0x17;
export const MAP = 0x18;
export const SET = 0x19;
export const DATE = 0x1a;
export const REGEXP = 0x1b;
export const BOXED = 0x1c;
export const URL_TEXT = 0x1d;
export const BINARY = 0x1e;
export const BINARY_PART = 0x1f;
export const ERROR = 0x20;
export const INSTANCE = 0x21;
export const BUILTIN_SUBCLASS = 0x22;
export const SHAREABLE = 0x23;
export const FUNCTION = 0x24;
export const FUNCTION_SOURCE = 0x25;
export const REFERENCE = 0x26;

/** The length, up to 15, is in the low bits. */
export const SHORT_ARRAY = 0x30;
/** The number of the dictionary entry, up to 31, is in the low bits. */
export const SHORT_KNOWN_ENTRY = 0x40;
/** The length, up to 31, is in the low bits. */
export const SHORT_ASCII = 0x60;
/** The integer, from 0 to 127, is in the low bits. */
export const SMALL_INT = 0x80;

/** Header bit: the message contains references. */
export const HAS_REFERENCES = 1;
/**
 * Header bit: the message has a dictionary of its own. The channel's dictionary does not change.
 */
export const SELF_CONTAINED = 2;
/** Header bit: the channel's dictionary is empty when the message starts. */
export const DICTIONARY_RESET = 4;

/** Kinds of dictionary entries: the first byte of a definition. */
export const PLAIN_SHAPE = 0;
export const CLASS_SHAPE = 1;
export const FUNCTION_ENTRY = 2;

/**
 * The deepest nesting of objects in a message. It must fit on the stack of every receiver, even
 * while V8 still interprets its code, which takes larger stack frames.
 */
export const MAX_DEPTH = 500;
/** The size of a dictionary. When it is full, new shapes and functions are written in full. */
export const MAX_DICTIONARY_ENTRIES = 4096;
/** The largest number of keys in a shape. An object with more keys is probably used as a map. */
export const MAX_SHAPE_KEYS = 64;
/** The longest definition. */
export const MAX_DEFINITION_BYTES = 2048;
/** The longest string whose length is part of its tag. */
export const MAX_SHORT_ASCII_CHARS = 31;
/**
 * A string that is not ASCII is written as UTF-16 up to this length, because that is faster than
 * UTF-8.
 */
export const MAX_SHORT_UTF16_CHARS = 64;
/** Binary data of at least this size is sent as a part, outside the bytes of the message. */
export const MIN_PART_BYTES = 65536;

/** The kinds of binary data. The index is the kind byte. `Buffer` is a class of Node. */
export const BINARY_KINDS: readonly string[] = [
  "ArrayBuffer",
  "DataView",
  "Int8Array",
  "Uint8Array",
  "Uint8ClampedArray",
  "Int16Array",
  "Uint16Array",
  "Int32Array",
  "Uint32Array",
  "Float32Array",
  "Float64Array",
  "BigInt64Array",
  "BigUint64Array",
  "Float16Array",
  "Buffer",
  "resizable ArrayBuffer",
];
