/** Readers of texts. `String.fromCharCode` reads short texts, the host reads longer ones. */
import { host } from "../../host/mod.ts";
import type { ReadContext } from "./read-context.ts";

const { fromCharCode } = String;
/**
 * The longest texts that `fromCharCode` reads faster than a function of the host does (measured).
 */
const ASCII_LOOP_MAX_CHARS = host.name === "node" ? 24 : 48;
const UTF16_LOOP_MAX_CHARS = host.name === "node" ? 16 : 128;

/** Reads a text of one byte a character. */
export function readAscii(bytes: Uint8Array, position: number, length: number): string {
  if (length <= 12) return readShort(bytes, position, length);
  if (length > ASCII_LOOP_MAX_CHARS) return host.asciiRead(bytes, position, position + length);
  return readShort(bytes, position, 12) + readAscii(bytes, position + 12, length - 12);
}

/** Reads a text of `length` bytes in UTF-8. */
export function readUtf8(bytes: Uint8Array, position: number, length: number): string {
  return host.utf8Read(bytes, position, position + length);
}

/** Reads a text of `length` units in UTF-16, little-endian. */
export function readUtf16(reader: ReadContext, position: number, length: number): string {
  const end = position + length * 2;
  if (length > UTF16_LOOP_MAX_CHARS) return host.utf16Read(reader.bytes, position, end);
  const view = reader.view();
  let text = "";
  let p = position;
  for (; p + 16 <= end; p += 16) text += readEightUnits(view, p);
  for (; p + 4 <= end; p += 4) text += fromCharCode(view.getUint16(p, true), view.getUint16(p + 2, true));
  return p < end ? text + fromCharCode(view.getUint16(p, true)) : text;
}

function readEightUnits(view: DataView, p: number): string {
  const a = view.getUint16(p, true);
  const b = view.getUint16(p + 2, true);
  const c = view.getUint16(p + 4, true);
  const d = view.getUint16(p + 6, true);
  const e = view.getUint16(p + 8, true);
  const f = view.getUint16(p + 10, true);
  return fromCharCode(a, b, c, d, e, f, view.getUint16(p + 12, true), view.getUint16(p + 14, true));
}

/**
 * Reads up to twelve characters. One call with all codes creates a single string, where a loop
 * would create one for each character. The tests of the length form a tree, which takes half the
 * time of a chain.
 */
function readShort(bytes: Uint8Array, p: number, length: number): string {
  if (length < 4) return readTiny(bytes, p, length);
  const a = bytes[p]!;
  const b = bytes[p + 1]!;
  const c = bytes[p + 2]!;
  const d = bytes[p + 3]!;
  if (length === 4) return fromCharCode(a, b, c, d);
  const e = bytes[p + 4]!;
  if (length === 5) return fromCharCode(a, b, c, d, e);
  const f = bytes[p + 5]!;
  if (length < 8) {
    return length === 6 ? fromCharCode(a, b, c, d, e, f) : fromCharCode(a, b, c, d, e, f, bytes[p + 6]!);
  }
  const g = bytes[p + 6]!;
  const h = bytes[p + 7]!;
  if (length < 10) {
    return length === 8 ? fromCharCode(a, b, c, d, e, f, g, h) : fromCharCode(a, b, c, d, e, f, g, h, bytes[p + 8]!);
  }
  const i = bytes[p + 8]!;
  const j = bytes[p + 9]!;
  if (length === 10) return fromCharCode(a, b, c, d, e, f, g, h, i, j);
  const k = bytes[p + 10]!;
  if (length === 11) return fromCharCode(a, b, c, d, e, f, g, h, i, j, k);
  return fromCharCode(a, b, c, d, e, f, g, h, i, j, k, bytes[p + 11]!);
}

function readTiny(bytes: Uint8Array, p: number, length: number): string {
  if (length === 0) return "";
  const a = bytes[p]!;
  if (length === 1) return fromCharCode(a);
  const b = bytes[p + 1]!;
  return length === 2 ? fromCharCode(a, b) : fromCharCode(a, b, bytes[p + 2]!);
}
