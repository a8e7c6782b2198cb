/** Messages before and after they have a channel. */
import { ByteWriter } from "../bytes/byte-writer.ts";
import { Decoder } from "../codec/decode/decoder.ts";
import type { Commit } from "../codec/encode/attachments.ts";
import { Encoder } from "../codec/encode/encoder.ts";
import type { DeliveryScope } from "../targets/shareable.ts";
import { EMPTY_LIST, Frame } from "./channel.ts";

/** A text as a message, for a receiver that has no codec. */
export function textMessage(text: string): EncodedMessage {
  const bytes = new TextEncoder().encode(text);
  return toEncodedMessage.putBytes(bytes, 0, bytes.length);
}

/** A message that was encoded before it had a channel. */
export interface EncodedMessage {
  readonly frame: Frame;
  /** Hands over the live objects in it; called once, when the message is on its way. */
  commit(scope: DeliveryScope | undefined): void;
}

/** Who keeps a message until it is sent: most are bytes alone, of which there may be many, and an object less for each counts. */
export interface EncodedSink<T> {
  /** The message is these bytes, which are never written to again. */
  putBytes(bytes: Uint8Array, start: number, end: number): T;
  /** There is more to it. */
  putMessage(message: EncodedMessage): T;
}

const toEncodedMessage: EncodedSink<EncodedMessage> = {
  putBytes: (bytes, start, end) => ({
    frame: new Frame(0, bytes, start, end, EMPTY_LIST, EMPTY_LIST),
    commit: NOTHING_TO_COMMIT,
  }),
  putMessage: (message) => message,
};

/** Messages that wait share memory, so that a small one costs little; larger ones have their own. */
const SHARED_BUFFER_BYTES = 16 * 1024;
const SHARED_MESSAGE_MAX_BYTES = 2 * 1024;
const shared = { encoder: new Encoder(), out: new ByteWriter(SHARED_BUFFER_BYTES), isBusy: false };
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
  return encodeInto(toEncodedMessage, value, root);
}

/** As {@link encodeMessage}; answers what the keeper does. */
export function encodeInto<T>(sink: EncodedSink<T>, value: unknown, root?: string | readonly string[]): T {
  // A getter of the value may itself send something.
  const { encoder, out } = shared.isBusy ? { encoder: new Encoder(), out: new ByteWriter(256) } : shared;
  const wasBusy = shared.isBusy;
  shared.isBusy = true;
  try {
    const start = out.position;
    encoder.encode(value, out, root);
    const { bytes, position: end } = out;
    if (out === shared.out && end > SHARED_BUFFER_BYTES - SHARED_MESSAGE_MAX_BYTES)
      shared.out = new ByteWriter(SHARED_BUFFER_BYTES);
    const { parts, modules } = encoder;
    const commits = encoder.takeCommits();
    if (parts.length === 0 && modules.length === 0 && commits.length === 0) return sink.putBytes(bytes, start, end);
    const frame = new Frame(0, bytes, start, end, parts, modules);
    return sink.putMessage({ frame, commit: commits.length === 0 ? NOTHING_TO_COMMIT : commitOnce(commits) });
  } finally {
    shared.isBusy = wasBusy;
  }
}

/** Commits once, however often it is called. */
function commitOnce(commits: readonly Commit[]): (scope: DeliveryScope | undefined) => void {
  let pending = commits;
  return (scope) => {
    const run = pending;
    pending = [];
    for (const commit of run) commit(scope);
  };
}

const standaloneDecoder = new Decoder();

/** The value of a message whose shapes are inline; its modules must be loaded. */
export function decodeMessage(frame: Frame): unknown {
  return standaloneDecoder.decode(frame.bytes, frame.start, frame.end, frame.parts);
}
