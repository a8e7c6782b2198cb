/**
 * The handshake of two processes that share a key, in the format of CPython's
 * `multiprocessing.connection`. It runs once in each direction.
 *
 * ```text
 *   listener                                       connecting process
 *     #CHALLENGE# {sha256} random bytes ──────────>
 *     <──────────── {sha256} HMAC of the challenge
 *     #WELCOME# (or #FAILURE#, and the end) ──────>
 * ```
 *
 * Python 3.11 and older send challenges of 20 random bytes, without the name of a digest. They
 * give and expect an answer that is an HMAC-MD5, also without the name.
 *
 * In a challenge of this library, a prefix follows the name; Python takes it for random bytes. The
 * HMAC covers the prefix, so no third party can alter it. Each side learns whether values can cross.
 *
 * Challenges are random, so a recorded answer cannot be replayed. The handshake does not detect a
 * man in the middle that relays it. The key only keeps out processes that do not have it.
 */
import { ProtocolError } from "@multiproc/core";
import { type Digest, describeValue, host, PROTOCOL } from "@multiproc/core/internal";
import { AuthenticationError } from "../errors.ts";
import type { HandshakeStream } from "./handshake-stream.ts";

const CHALLENGE = encodeText("#CHALLENGE#");
const WELCOME = encodeText("#WELCOME#");
const FAILURE = encodeText("#FAILURE#");
/** Start of a challenge of this library: the name of the digest, and the prefix. */
const MULTIPROC_PREFIX = encodeText(`{sha256}multiproc:${PROTOCOL}:`);
const CHALLENGE_RANDOM_BYTES = 40;
/** Length of a challenge of Python 3.11 and older. */
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
 * Checks a key, and returns a copy that later changes cannot affect.
 *
 * @throws {TypeError} if it is not a `Uint8Array`
 * @throws {RangeError} if it is empty
 */
export function checkKey(call: string, key: unknown): Uint8Array | undefined {
  if (key === undefined) return undefined;
  if (!(key instanceof Uint8Array))
    throw new TypeError(`${call} takes a Uint8Array as authKey, not ${describeValue(key)}`);
  if (key.length === 0)
    throw new RangeError(`${call} got an empty authKey, which protects nothing: leave it out, or give it bytes`);
  return key.slice();
}

/**
 * Makes the peer prove that it has the key.
 *
 * @throws {AuthenticationError} if the peer does not; it learns only that it failed
 */
export async function deliverChallenge(handshake: HandshakeStream, key: Uint8Array): Promise<void> {
  const challenge = concat(MULTIPROC_PREFIX, crypto.getRandomValues(new Uint8Array(CHALLENGE_RANDOM_BYTES)));
  handshake.write(concat(CHALLENGE, challenge));
  if (await isValidAnswer(key, challenge, await handshake.read())) return handshake.write(WELCOME);
  handshake.write(FAILURE);
  throw new AuthenticationError("the peer has another key");
}

/**
 * Proves to the peer that this process has the key.
 *
 * @returns whether the peer uses this library, in a version with the same protocol
 * @throws {AuthenticationError} if the peer does not accept the proof
 */
export async function answerChallenge(handshake: HandshakeStream, key: Uint8Array): Promise<boolean> {
  const message = await handshake.read();
  if (!startsWith(message, CHALLENGE))
    throw new ProtocolError("The peer does not ask for a key: leave out authKey, or give the peer the same key");
  const challenge = message.subarray(CHALLENGE.length);
  handshake.write(await computeAnswer(key, challenge));
  if (!timingSafeEqual(await handshake.read(), WELCOME)) throw new AuthenticationError("the peer has another key");
  return startsWith(challenge, MULTIPROC_PREFIX);
}

/** Whether the first message of a peer is a challenge. */
export function isChallenge(message: Uint8Array): boolean {
  return startsWith(message, CHALLENGE) && message.length >= CHALLENGE.length + LEGACY_CHALLENGE_BYTES;
}

/** Returns the answer to a challenge. Exported for tests that compare it with answers of Python. */
export async function computeAnswer(key: Uint8Array, challenge: Uint8Array): Promise<Uint8Array> {
  if (challenge.length < LEGACY_CHALLENGE_BYTES)
    throw new AuthenticationError(`the peer sent a challenge of ${challenge.length} bytes, which is too short`);
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

/** Splits a message into the name of its digest and its content. */
function splitDigest(message: Uint8Array): { name: string; content: Uint8Array } {
  const end = message.subarray(0, MAX_DIGEST_NAME_LENGTH + 2).indexOf(0x7d); // }
  const name = message[0] === 0x7b && end > 0 ? String.fromCharCode(...message.subarray(1, end)) : "";
  if (!Object.hasOwn(DIGESTS, name)) throw new AuthenticationError("the peer names an unknown digest, or no digest");
  return { name, content: message.subarray(end + 1) };
}

async function mac(name: string, key: Uint8Array, message: Uint8Array): Promise<Uint8Array> {
  try {
    return await host.hmac(DIGESTS[name] as Digest, key, message);
  } catch {
    throw new AuthenticationError(`the peer wants the digest ${name}, which this runtime does not have`);
  }
}

/** Compares in constant time, so that the duration does not reveal where the bytes differ. */
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
