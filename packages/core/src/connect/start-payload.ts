/**
 * The start payload: the parent's first messages to a child, packed into one text.
 *
 * Some start methods can pass a text to the child. The child then reads its first messages from
 * that text, and does not connect to its parent for them.
 */

import type { EncodedMessage } from "../channel/encoded-message.ts";
import { Frame } from "../channel/frame.ts";
import { host } from "../host/mod.ts";

/** The messages must be smaller than this in total. Larger ones arrive faster over a connection. */
const MAX_START_PAYLOAD_BYTES = 32 * 1024;

/**
 * Packs messages into a text with one character for each byte. Returns `undefined` if they are too
 * long or have binary parts.
 */
export function packStartPayload(messages: readonly EncodedMessage[]): string | undefined {
  let length = 0;
  for (const { frame } of messages) length += frame.parts.length > 0 ? MAX_START_PAYLOAD_BYTES : frame.size;
  if (length >= MAX_START_PAYLOAD_BYTES) return undefined;
  return JSON.stringify(
    messages.map(({ frame: { bytes, start, end, modules } }) => [
      String.fromCharCode(...bytes.subarray(start, end)),
      modules,
    ]),
  );
}

/** Returns the messages in a start payload. */
export function unpackStartPayload(text: string): Frame[] {
  return (JSON.parse(text) as Array<[string, string[]]>).map(([body, modules]) => {
    const bytes = new Uint8Array(body.length);
    host.latin1Write(body, bytes);
    return new Frame(0, bytes, 0, bytes.length, [], modules);
  });
}
