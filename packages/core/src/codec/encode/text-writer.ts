/**
 * The writer of texts.
 *
 * The encoding depends only on the text, never on the host. ASCII takes one byte a character. Other
 * texts are UTF-16 if they are short, consist of wide characters, or contain lone surrogates, which
 * UTF-8 cannot represent. All others are UTF-8. `README.md` states the rules.
 */
import { host } from "../../host/mod.ts";
import {
  ASCII8,
  ASCII32,
  MAX_SHORT_ASCII_CHARS,
  MAX_SHORT_UTF16_CHARS,
  SHORT_ASCII,
  UTF8,
  UTF16,
} from "../format/tags.ts";
import type { WriteContext } from "./write-context.ts";

/** The longest texts that a loop writes faster than a function of the host does (measured). */
const ASCII_LOOP_MAX_CHARS = host.name === "node" ? 31 : 64;
const UTF16_LOOP_MAX_CHARS = host.name === "node" ? 20 : 1e9;
/** The size of the longest ASCII text that the loop writes: tag, length and characters. */
const MAX_SHORT_TEXT_BYTES = ASCII_LOOP_MAX_CHARS + 2;
/**
 * Longer texts are written in chunks, so that only one chunk reserves three bytes for each
 * character.
 */
const CHUNK_CHARS = 65536;

/** Appends a text with its tag and length. */
export function writeText(writer: WriteContext, text: string): void {
  const length = text.length;
  if (length > ASCII_LOOP_MAX_CHARS) {
    writeLong(writer, text);
    return;
  }
  if (writer.position + MAX_SHORT_TEXT_BYTES > writer.limit) writer.ensure(MAX_SHORT_TEXT_BYTES);
  const bytes = writer.bytes;
  const start = writer.position;
  let position = start + (length <= MAX_SHORT_ASCII_CHARS ? 1 : 2);
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) {
      writeUtf16(writer, text);
      return;
    }
    bytes[position++] = code;
  }
  writeAsciiHeader(writer, length);
  writer.position = position;
}

/**
 * Appends a text that is too long for the loop. Unless samples of its characters already decide for
 * UTF-16, the host writes it as UTF-8. If the result has one byte for each character, the text is
 * ASCII.
 */
function writeLong(writer: WriteContext, text: string): void {
  const length = text.length;
  if (isWide(text) || (length <= MAX_SHORT_UTF16_CHARS && text.charCodeAt(0) > 0x7f)) {
    writeUtf16(writer, text);
    return;
  }
  if (length > CHUNK_CHARS) {
    writeHuge(writer, text);
    return;
  }
  writer.ensure(length * 3 + 8);
  const { bytes, view, position } = writer;
  const headerBytes = length <= MAX_SHORT_ASCII_CHARS ? 1 : length < 256 ? 2 : 5;
  const written = host.utf8Write(text, bytes, position + headerBytes);
  if (written === length) {
    writeAsciiHeader(writer, length);
    writer.position = position + headerBytes + length;
  } else if (length <= MAX_SHORT_UTF16_CHARS || !isWellFormed(text)) {
    writeUtf16(writer, text);
  } else {
    if (headerBytes !== 5) bytes.copyWithin(position + 5, position + headerBytes, position + headerBytes + written);
    bytes[position] = UTF8;
    view.setUint32(position + 1, written, true);
    writer.position = position + 5 + written;
  }
}

function writeAsciiHeader(writer: WriteContext, length: number): void {
  const { bytes, position } = writer;
  if (length <= MAX_SHORT_ASCII_CHARS) {
    bytes[position] = SHORT_ASCII | length;
  } else if (length < 256) {
    bytes[position] = ASCII8;
    bytes[position + 1] = length;
  } else {
    bytes[position] = ASCII32;
    writer.view.setUint32(position + 1, length, true);
  }
}

/** Whether two of the first, middle and last character take three or more bytes in UTF-8. */
function isWide(text: string): boolean {
  const { length } = text;
  const first = text.charCodeAt(0) > 0x7ff;
  const last = text.charCodeAt(length - 1) > 0x7ff;
  return first === last ? first : text.charCodeAt(length >> 1) > 0x7ff;
}

function writeUtf16(writer: WriteContext, text: string): void {
  const length = text.length;
  writer.ensure(length * 2 + 8);
  writer.tagAndCount(UTF16, length);
  const { bytes, position } = writer;
  if (length > UTF16_LOOP_MAX_CHARS) {
    host.utf16Write(text, bytes, position);
  } else {
    for (let i = 0, p = position; i < length; i++, p += 2) {
      const code = text.charCodeAt(i);
      bytes[p] = code;
      bytes[p + 1] = code >> 8;
    }
  }
  writer.position = position + length * 2;
}

function writeHuge(writer: WriteContext, text: string): void {
  if (!isWellFormed(text)) {
    writeUtf16(writer, text);
    return;
  }
  writer.ensure(5);
  const start = writer.position;
  writer.position += 5;
  for (let i = 0; i < text.length; ) {
    let end = Math.min(text.length, i + CHUNK_CHARS);
    // A chunk must not end inside a surrogate pair, because the host would replace each half.
    if (end < text.length && (text.charCodeAt(end - 1) & 0xfc00) === 0xd800) end--;
    writer.ensure((end - i) * 3);
    writer.position += host.utf8Write(text.slice(i, end), writer.bytes, writer.position);
    i = end;
  }
  const written = writer.position - start - 5;
  writer.bytes[start] = written === text.length ? ASCII32 : UTF8;
  writer.view.setUint32(start + 1, written, true);
}

/**
 * All hosts have the method, but the declarations that the sources are compiled against lack it.
 */
function isWellFormed(text: string): boolean {
  return (text as unknown as { isWellFormed(): boolean }).isWellFormed();
}
