/** The first message on a connection: who comes, and with which invitation. It is plain text, so that it needs no codec. */

import type { Frame } from "../channel/frame.ts";
import { smallFrame } from "../channel/frame.ts";
import { host } from "../host/mod.ts";
import { PROTOCOL } from "../registry.ts";

/** The kind of the message. */
export const HELLO = 0;
/** It is no longer than this. */
export const HELLO_MAX_BYTES = 256;
export const HELLO_TIMEOUT_MS = 10_000;

/** The content of the message with which this process shows a token. */
export function helloText(token: string): Uint8Array {
  return new TextEncoder().encode(`${PROTOCOL} ${token} ${host.pid}`);
}

/** The whole message as it stands on the wire. */
export function helloFrame(token: string): Uint8Array {
  return smallFrame(HELLO, 0, helloText(token));
}

/** The token and the process id that a message shows; undefined if it is no greeting of this protocol. */
export function readHello(frame: Frame): { token: string; pid: number } | undefined {
  if (frame.kind !== HELLO || frame.parts.length > 0) return undefined;
  const [protocol, token, pid] = host.utf8Read(frame.bytes, frame.start, frame.end).split(" ");
  return protocol === String(PROTOCOL) && token !== undefined ? { token, pid: Number(pid) } : undefined;
}
