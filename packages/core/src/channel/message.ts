/** Messages before and after they have a channel. */
import { ByteWriter } from "../codec/byte-writer.ts";
import type { Commit } from "../codec/cargo.ts";
import { Decoder } from "../codec/decoder.ts";
import { Encoder } from "../codec/encoder.ts";
import type { Carrier } from "../shareable.ts";
import { Frame } from "./channel.ts";

/** A text as a message, for a receiver that has no codec. */
export function textMessage(text: string): EncodedMessage {
  const bytes = new TextEncoder().encode(text);
  return { frame: new Frame(0, bytes, 0, bytes.length, [], []), commit: NOTHING_TO_COMMIT };
}

/** A message that was encoded before it had a channel. */
export interface EncodedMessage {
  readonly frame: Frame;
  /** Hands over the live objects in it; called once, when the message is on its way. */
  commit(carrier: Carrier | undefined): void;
}

/** Messages that wait share memory, so that a small one costs little; larger ones have their own. */
const SHARED_SIZE = 16 * 1024;
const SHARED_MESSAGE = 2 * 1024;
const early = { encoder: new Encoder(), out: new ByteWriter(SHARED_SIZE), isBusy: false };
/** All messages without live objects have this in common. */
export const NOTHING_TO_COMMIT: EncodedMessage["commit"] = () => {};

/**
 * Encodes a value now, to be sent later: what happens to the value in between does not change the message, apart from its
 * large binary parts, which stay the caller's.
 *
 * @param root as for `Channel.send()`
 * @throws {SendError} if it cannot be sent
 */
export function encodeMessage(value: unknown, root?: string | readonly string[]): EncodedMessage {
  // A getter of the value may itself send something.
  const { encoder, out } = early.isBusy ? { encoder: new Encoder(), out: new ByteWriter(256) } : early;
  const wasBusy = early.isBusy;
  early.isBusy = true;
  try {
    const start = out.position;
    encoder.encode(value, out, root);
    const { parts, modules } = encoder;
    const frame = new Frame(0, out.bytes, start, out.position, parts, modules);
    if (out === early.out && out.position > SHARED_SIZE - SHARED_MESSAGE) early.out = new ByteWriter(SHARED_SIZE);
    const commits = encoder.takeCommits();
    return { frame, commit: commits.length === 0 ? NOTHING_TO_COMMIT : committing(commits) };
  } finally {
    early.isBusy = wasBusy;
  }
}

/** Commits once, however often it is called. */
function committing(commits: readonly Commit[]): (carrier: Carrier | undefined) => void {
  let left = commits;
  return (carrier) => {
    const run = left;
    left = [];
    for (const commit of run) commit(carrier);
  };
}

const standalone = new Decoder();

/** The value of a message whose shapes are inline; its modules must be loaded. */
export function decodeMessage(frame: Frame): unknown {
  return standalone.decode(frame.bytes, frame.start, frame.end, frame.parts);
}
