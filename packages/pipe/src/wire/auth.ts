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
import type { Greeting } from "./handshake-stream.ts";

const CHALLENGE = bytesOf("#CHALLENGE#");
const WELCOME = bytesOf("#WELCOME#");
const FAILURE = bytesOf("#FAILURE#");
/** With it begins what a challenge of this library holds behind the name of the digest. */
const OURS = bytesOf(`{sha256}multiproc:${PROTOCOL}:`);
const RANDOM_SIZE = 40;
/** The length of a challenge by Python 3.11 or older. */
const OLD_CHALLENGE = 20;
const OLD_ANSWER = 16;
const DIGESTS: Readonly<Record<string, Digest>> = {
  md5: "md5",
  sha256: "sha256",
  sha384: "sha384",
  sha3_256: "sha3-256",
  sha3_384: "sha3-384",
};
const LONGEST_NAME = 8;

/**
 * Has the other side prove that it has the key.
 *
 * @throws {AuthenticationError} if it does not; it is told so, and nothing else
 */
export async function deliverChallenge(greeting: Greeting, key: Uint8Array): Promise<void> {
  const challenge = joined(OURS, crypto.getRandomValues(new Uint8Array(RANDOM_SIZE)));
  greeting.write(joined(CHALLENGE, challenge));
  if (await isAnswer(key, challenge, await greeting.read())) return greeting.write(WELCOME);
  greeting.write(FAILURE);
  throw new AuthenticationError("the other side has another key");
}

/**
 * Proves to the other side that this one has the key.
 *
 * @returns whether the other side is of this library, and of a version that understands this one
 * @throws {AuthenticationError} if it does not accept that
 */
export async function answerChallenge(greeting: Greeting, key: Uint8Array): Promise<boolean> {
  const message = await greeting.read();
  if (!startsWith(message, CHALLENGE)) throw new ProtocolError("The other side does not ask for a key");
  const challenge = message.subarray(CHALLENGE.length);
  greeting.write(await answerTo(key, challenge));
  if (!isEqual(await greeting.read(), WELCOME)) throw new AuthenticationError("the other side has another key");
  return startsWith(challenge, OURS);
}

/** Whether bytes that came where none were asked for are a challenge. */
export function isChallenge(message: Uint8Array): boolean {
  return startsWith(message, CHALLENGE) && message.length >= CHALLENGE.length + OLD_CHALLENGE;
}

/** The answer to a challenge; exported for tests against Python's own. */
export async function answerTo(key: Uint8Array, challenge: Uint8Array): Promise<Uint8Array> {
  if (challenge.length < OLD_CHALLENGE)
    throw new AuthenticationError(`the other side gave a challenge of ${challenge.length} bytes, which is too short`);
  if (challenge.length === OLD_CHALLENGE) return mac("md5", key, challenge);
  const { name } = split(challenge);
  return joined(bytesOf(`{${name}}`), await mac(name, key, challenge));
}

async function isAnswer(key: Uint8Array, challenge: Uint8Array, answer: Uint8Array): Promise<boolean> {
  try {
    const { name, content } = answer.length === OLD_ANSWER ? { name: "md5", content: answer } : split(answer);
    return isEqual(await mac(name, key, challenge), content);
  } catch (error) {
    if (error instanceof AuthenticationError) return false;
    throw error;
  }
}

/** The name of the digest that a message begins with, and what follows. */
function split(message: Uint8Array): { name: string; content: Uint8Array } {
  const end = message.subarray(0, LONGEST_NAME + 2).indexOf(0x7d); // }
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
function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= (a[i] as number) ^ (b[i] as number);
  return difference === 0;
}

function startsWith(bytes: Uint8Array, start: Uint8Array): boolean {
  return bytes.length >= start.length && start.every((byte, i) => byte === bytes[i]);
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const all = new Uint8Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
