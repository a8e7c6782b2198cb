/** The writer of definitions of dictionary entries. */
import { bytesAsWords } from "../format/bytes-as-words.ts";
import { DEFINE, MAX_DEFINITION_BYTES } from "../format/tags.ts";
import type { Definition } from "./shape.ts";
import { writeText } from "./text-writer.ts";
import type { WriteContext } from "./write-context.ts";

/** The size of the tag, the hash and the length in front of a definition. */
const HEADER_BYTES = 5;
const NO_DEFINITION: Definition = { words: new Int32Array(0), size: 0 };

/**
 * Appends a definition and returns a copy of its bytes. Appends nothing if the definition is too
 * long.
 */
export function writeDefinition(writer: WriteContext, kind: number, texts: readonly string[]): Definition {
  writer.ensure(HEADER_BYTES + 1);
  const start = writer.position;
  writer.position += HEADER_BYTES;
  writer.tag(kind);
  writer.count(texts.length);
  for (const text of texts) writeText(writer, text);
  const { bytes, view, position } = writer;
  const length = position - start - HEADER_BYTES;
  if (length > MAX_DEFINITION_BYTES) {
    writer.position = start;
    return NO_DEFINITION;
  }
  bytes[start] = DEFINE;
  view.setUint16(start + 1, definitionHash(bytes, start + HEADER_BYTES, position), true);
  view.setUint16(start + 3, length, true);
  return { words: bytesAsWords(bytes.subarray(start, position)), size: position - start };
}

/**
 * Returns the hash by which decoders find a definition in their cache (FNV-1a). A collision costs
 * only time.
 */
function definitionHash(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  return (hash ^ (hash >>> 16)) & 0xffff;
}
