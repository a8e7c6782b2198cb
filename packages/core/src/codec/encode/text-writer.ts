/**
 * Text to bytes, in a form that depends on the text alone, never on the host: ASCII as one byte a character; other short
 * texts as UTF-16, and long ones too if they are all of wide characters; what remains as UTF-8. Texts with halves of
 * surrogate pairs are written as UTF-16, which keeps them.
 */
import { host } from "../../host/mod.ts";
import { ASCII8, ASCII32, MAX_SHORT_ASCII, MAX_SHORT_UTF16, SHORT_ASCII, UTF8, UTF16 } from "../format/tags.ts";
import type { Scribe } from "./value-writer.ts";

/** Up to these lengths a loop over characters is faster than a call of the host; measured. */
const ASCII_LOOP = host.name === "node" ? 31 : 64;
const UTF16_LOOP = host.name === "node" ? 20 : 1e9;
/** For a tag, a length, and as many characters as the loop takes. */
const ROOM = ASCII_LOOP + 2;
/** Long texts are written in pieces, so as not to reserve three bytes for each character of all of it. */
const PIECE = 65536;

/** Appends a text with its tag and length. */
export function writeText(scribe: Scribe, text: string): void {
  const length = text.length;
  if (length > ASCII_LOOP) {
    writeLong(scribe, text);
    return;
  }
  if (scribe.position + ROOM > scribe.limit) scribe.grow(ROOM);
  const bytes = scribe.bytes;
  const start = scribe.position;
  let position = start + (length <= MAX_SHORT_ASCII ? 1 : 2);
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) {
      writeUtf16(scribe, text);
      return;
    }
    bytes[position++] = code;
  }
  writeAsciiHead(scribe, length);
  scribe.position = position;
}

/** Writes it as UTF-8 and sees from the number of bytes whether it was ASCII, unless a look at it says more. */
function writeLong(scribe: Scribe, text: string): void {
  const length = text.length;
  if (isWide(text) || (length <= MAX_SHORT_UTF16 && text.charCodeAt(0) > 0x7f)) {
    writeUtf16(scribe, text);
    return;
  }
  if (length > PIECE) {
    writeHuge(scribe, text);
    return;
  }
  scribe.grow(length * 3 + 8);
  const { bytes, view, position } = scribe;
  const head = length <= MAX_SHORT_ASCII ? 1 : length < 256 ? 2 : 5;
  const written = host.utf8Write(text, bytes, position + head);
  if (written === length) {
    writeAsciiHead(scribe, length);
    scribe.position = position + head + length;
  } else if (length <= MAX_SHORT_UTF16 || !isWellFormed(text)) {
    writeUtf16(scribe, text);
  } else {
    if (head !== 5) bytes.copyWithin(position + 5, position + head, position + head + written);
    bytes[position] = UTF8;
    view.setUint32(position + 1, written, true);
    scribe.position = position + 5 + written;
  }
}

function writeAsciiHead(scribe: Scribe, length: number): void {
  const { bytes, position } = scribe;
  if (length <= MAX_SHORT_ASCII) {
    bytes[position] = SHORT_ASCII | length;
  } else if (length < 256) {
    bytes[position] = ASCII8;
    bytes[position + 1] = length;
  } else {
    bytes[position] = ASCII32;
    scribe.view.setUint32(position + 1, length, true);
  }
}

/** Two of three characters take three bytes or more in UTF-8. */
function isWide(text: string): boolean {
  const { length } = text;
  const first = text.charCodeAt(0) > 0x7ff;
  const last = text.charCodeAt(length - 1) > 0x7ff;
  return first === last ? first : text.charCodeAt(length >> 1) > 0x7ff;
}

function writeUtf16(scribe: Scribe, text: string): void {
  const length = text.length;
  scribe.grow(length * 2 + 8);
  scribe.tagAndCount(UTF16, length);
  const { bytes, position } = scribe;
  if (length > UTF16_LOOP) {
    host.utf16Write(text, bytes, position);
  } else {
    for (let i = 0, p = position; i < length; i++, p += 2) {
      const code = text.charCodeAt(i);
      bytes[p] = code;
      bytes[p + 1] = code >> 8;
    }
  }
  scribe.position = position + length * 2;
}

function writeHuge(scribe: Scribe, text: string): void {
  if (!isWellFormed(text)) {
    writeUtf16(scribe, text);
    return;
  }
  scribe.grow(5);
  const start = scribe.position;
  scribe.position += 5;
  for (let i = 0; i < text.length; ) {
    let end = Math.min(text.length, i + PIECE);
    // Half a pair at the end of a piece would be replaced.
    if (end < text.length && (text.charCodeAt(end - 1) & 0xfc00) === 0xd800) end--;
    scribe.grow((end - i) * 3);
    scribe.position += host.utf8Write(text.slice(i, end), scribe.bytes, scribe.position);
    i = end;
  }
  const written = scribe.position - start - 5;
  scribe.bytes[start] = written === text.length ? ASCII32 : UTF8;
  scribe.view.setUint32(start + 1, written, true);
}

/** All hosts have it, but the library that the sources are compiled against is older. */
function isWellFormed(text: string): boolean {
  return (text as unknown as { isWellFormed(): boolean }).isWellFormed();
}
