/**
 * How two processes that share a key make sure of each other, in the words of CPython's `multiprocessing.connection`.
 *
 * ```text
 *   listener                                       who connects
 *     #CHALLENGE# {sha256} random bytes ──────────>
 *     <──────────── {sha256} HMAC of the challenge
 *     #WELCOME# (or #FAILURE#, and the end) ──────>
 *                          and the same the other way round
 * ```
 *
 * A challenge of 20 bytes comes from Python 3.11 or older and is answered with an HMAC-MD5 without its name, as these do; so
 * is one of ours by them. A challenge of this library says so at its beginning, where Python sees but random bytes: two sides that
 * have proved by the HMAC over it that they share the key know then that values can cross between them. A copy of a challenge is
 * no use to a third, but who answers one can still be relayed: the key protects against those who do not have it, not against
 * those who sit in between.
 */
import { ProtocolError } from "@multiproc/core";
import { type Digest, host, PROTOCOL } from "@multiproc/core/internal";
import { AuthenticationError } from "../errors.ts";
import type { HandshakeStream } from "./handshake-stream.ts";

const CHALLENGE = encodeText("#CHALLENGE#");
const WELCOME = encodeText("#WELCOME#");
const FAILURE = encodeText("#FAILURE#");
/** With it begins what a challenge of this library holds behind the name of the digest. */
const MULTIPROC_PREFIX = encodeText(`{sha256}multiproc:${PROTOCOL}:`);
const RANDOM_BYTES = 40;
/** The length of a challenge by Python 3.11 or older. */
const LEGACY_CHALLENGE_BYTES = 20;
const LEGACY_ANSWER_BYTES = 16;
const DIGESTS: Readonly<Record<string, Digest>> = {
  md5: "md5",
  sha256: "sha256",
  sha384: "sha384",
  sha3_256: "sha3-256",
  sha3_384: "sha3-384",
};
const MAX_DIGEST_NAME_LENGTH = 8;

/**
 * Has the other side prove that it has the key.
 *
 * @throws {AuthenticationError} if it does not; it is told so, and nothing else
 */
export async function deliverChallenge(handshake: HandshakeStream, key: Uint8Array): Promise<void> {
  const challenge = concat(MULTIPROC_PREFIX, crypto.getRandomValues(new Uint8Array(RANDOM_BYTES)));
  handshake.write(concat(CHALLENGE, challenge));
  if (await isValidAnswer(key, challenge, await handshake.read())) return handshake.write(WELCOME);
  handshake.write(FAILURE);
  throw new AuthenticationError("the other side has another key");
}

/**
 * Proves to the other side that this one has the key.
 *
 * @returns whether the other side is of this library, and of a version that understands this one
 * @throws {AuthenticationError} if it does not accept that
 */
export async function answerChallenge(handshake: HandshakeStream, key: Uint8Array): Promise<boolean> {
  const message = await handshake.read();
  if (!startsWith(message, CHALLENGE)) throw new ProtocolError("The other side does not ask for a key");
  const challenge = message.subarray(CHALLENGE.length);
  handshake.write(await computeAnswer(key, challenge));
  if (!timingSafeEqual(await handshake.read(), WELCOME))
    throw new AuthenticationError("the other side has another key");
  return startsWith(challenge, MULTIPROC_PREFIX);
}

/** Whether bytes that came where none were asked for are a challenge. */
export function isChallenge(message: Uint8Array): boolean {
  return startsWith(message, CHALLENGE) && message.length >= CHALLENGE.length + LEGACY_CHALLENGE_BYTES;
}

/** The answer to a challenge; exported for tests against Python's own. */
export async function computeAnswer(key: Uint8Array, challenge: Uint8Array): Promise<Uint8Array> {
  if (challenge.length < LEGACY_CHALLENGE_BYTES)
    throw new AuthenticationError(`the other side gave a challenge of ${challenge.length} bytes, which is too short`);
  if (challenge.length === LEGACY_CHALLENGE_BYTES) return mac("md5", key, challenge);
  const { name } = splitDigest(challenge);
  return concat(encodeText(`{${name}}`), await mac(name, key, challenge));
}

async function isValidAnswer(key: Uint8Array, challenge: Uint8Array, answer: Uint8Array): Promise<boolean> {
  try {
    const { name, content } =
      answer.length === LEGACY_ANSWER_BYTES ? { name: "md5", content: answer } : splitDigest(answer);
    return timingSafeEqual(await mac(name, key, challenge), content);
  } catch (error) {
    if (error instanceof AuthenticationError) return false;
    throw error;
  }
}

/** The name of the digest that a message begins with, and what follows. */
function splitDigest(message: Uint8Array): { name: string; content: Uint8Array } {
  const end = message.subarray(0, MAX_DIGEST_NAME_LENGTH + 2).indexOf(0x7d); // }
  const name = message[0] === 0x7b && end > 0 ? String.fromCharCode(...message.subarray(1, end)) : "";
  if (!Object.hasOwn(DIGESTS, name))
    throw new AuthenticationError("the other side names no digest for the key, or one that is not known here");
  return { name, content: message.subarray(end + 1) };
}

async function mac(name: string, key: Uint8Array, message: Uint8Array): Promise<Uint8Array> {
  try {
    return await host.hmac(DIGESTS[name] as Digest, key, message);
  } catch {
    throw new AuthenticationError(`the other side wants the digest ${name}, which this system does not have`);
  }
}

/** Whether two pieces are the same, in a time that does not tell where they differ. */
function timingSafeEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= (a[i] as number) ^ (b[i] as number);
  return difference === 0;
}

function startsWith(bytes: Uint8Array, start: Uint8Array): boolean {
  return bytes.length >= start.length && start.every((byte, i) => byte === bytes[i]);
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const all = new Uint8Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}

function encodeText(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
