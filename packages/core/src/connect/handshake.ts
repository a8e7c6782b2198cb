/**
 * The handshake of a channel: the client's first message, which carries the token of an endpoint
 * and the client's pid.
 *
 * It is plain text, so that a child can send it without loading the codec.
 */

import type { Frame } from "../channel/frame.ts";
import { smallFrame } from "../channel/frame.ts";
import { host } from "../host/mod.ts";
import { PROTOCOL } from "../registry.ts";

/** The frame kind of the handshake. */
export const HELLO = 0;
/** The acceptor disconnects a client that sends a longer first message. */
export const HELLO_MAX_BYTES = 256;
/** The acceptor disconnects a client that sends no first message within this time. */
export const HELLO_TIMEOUT_MS = 10_000;

/** Returns the text of the handshake, without the header of its frame. */
export function helloText(token: string): Uint8Array {
  return new TextEncoder().encode(`${PROTOCOL} ${token} ${host.pid}`);
}

/** Returns the handshake as a complete frame. */
export function helloFrame(token: string): Uint8Array {
  return smallFrame(HELLO, 0, helloText(token));
}

/**
 * Reads the token and the pid from a handshake. Returns `undefined` if the frame is not a handshake
 * of this protocol version.
 */
export function readHello(frame: Frame): { token: string; pid: number } | undefined {
  if (frame.kind !== HELLO || frame.parts.length > 0) return undefined;
  const [protocol, token, pid] = host.utf8Read(frame.bytes, frame.start, frame.end).split(" ");
  return protocol === String(PROTOCOL) && token !== undefined ? { token, pid: Number(pid) } : undefined;
}
