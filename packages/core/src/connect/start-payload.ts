/**
 * The first messages of a child as a text, where what brings it to life can take one along: it finds them there, and need not
 * connect with its parent for them.
 */

import type { EncodedMessage } from "../channel/encoded-message.ts";
import { Frame } from "../channel/frame.ts";
import { host } from "../host/mod.ts";

/** From here on, a connection is the quicker way. */
const MAX_START_PAYLOAD_BYTES = 32 * 1024;

/** The messages as a text, a letter for each byte; undefined if they are too long for that, or have large binary parts. */
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

/** The messages again. */
export function unpackStartPayload(text: string): Frame[] {
  return (JSON.parse(text) as Array<[string, string[]]>).map(([body, modules]) => {
    const bytes = new Uint8Array(body.length);
    host.latin1Write(body, bytes);
    return new Frame(0, bytes, 0, bytes.length, [], modules);
  });
}
