/** Messages before and after they have a channel. */
import { ByteWriter } from "../bytes/byte-writer.ts";
import { Decoder } from "../codec/decode/decoder.ts";
import type { Commit } from "../codec/encode/attachments.ts";
import { Encoder } from "../codec/encode/encoder.ts";
import type { Carrier } from "../targets/shareable.ts";
import { Frame, NONE } from "./channel.ts";

/** A text as a message, for a receiver that has no codec. */
export function textMessage(text: string): EncodedMessage {
  const bytes = new TextEncoder().encode(text);
  return asItIs.keepBytes(bytes, 0, bytes.length);
}

/** A message that was encoded before it had a channel. */
export interface EncodedMessage {
  readonly frame: Frame;
  /** Hands over the live objects in it; called once, when the message is on its way. */
  commit(carrier: Carrier | undefined): void;
}

/** Who keeps a message until it is sent: most are bytes alone, of which there may be many, and an object less for each counts. */
export interface MessageKeeper<T> {
  /** The message is these bytes, which are never written to again. */
  keepBytes(bytes: Uint8Array, start: number, end: number): T;
  /** There is more to it. */
  keep(message: EncodedMessage): T;
}

const asItIs: MessageKeeper<EncodedMessage> = {
  keepBytes: (bytes, start, end) => ({
    frame: new Frame(0, bytes, start, end, NONE, NONE),
    commit: NOTHING_TO_COMMIT,
  }),
  keep: (message) => message,
};

/** Messages that wait share memory, so that a small one costs little; larger ones have their own. */
const SHARED_SIZE = 16 * 1024;
const SHARED_MESSAGE = 2 * 1024;
const early = { encoder: new Encoder(), out: new ByteWriter(SHARED_SIZE), isBusy: false };
/** All messages without live objects have this in common. */
const NOTHING_TO_COMMIT: EncodedMessage["commit"] = () => {};

/**
 * Encodes a value now, to be sent later: what happens to the value in between does not change the message, apart from its
 * large binary parts, which stay the caller's.
 *
 * @param root as for `Channel.send()`
 * @throws {SendError} if it cannot be sent
 */
export function encodeMessage(value: unknown, root?: string | readonly string[]): EncodedMessage {
  return encodeFor(asItIs, value, root);
}

/** As {@link encodeMessage}; answers what the keeper does. */
export function encodeFor<T>(keeper: MessageKeeper<T>, value: unknown, root?: string | readonly string[]): T {
  // A getter of the value may itself send something.
  const { encoder, out } = early.isBusy ? { encoder: new Encoder(), out: new ByteWriter(256) } : early;
  const wasBusy = early.isBusy;
  early.isBusy = true;
  try {
    const start = out.position;
    encoder.encode(value, out, root);
    const { bytes, position: end } = out;
    if (out === early.out && end > SHARED_SIZE - SHARED_MESSAGE) early.out = new ByteWriter(SHARED_SIZE);
    const { parts, modules } = encoder;
    const commits = encoder.takeCommits();
    if (parts.length === 0 && modules.length === 0 && commits.length === 0) return keeper.keepBytes(bytes, start, end);
    const frame = new Frame(0, bytes, start, end, parts, modules);
    return keeper.keep({ frame, commit: commits.length === 0 ? NOTHING_TO_COMMIT : committing(commits) });
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
