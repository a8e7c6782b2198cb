/**
 * Messages that are encoded without a channel: encoded now and sent later, or decoded later.
 *
 * An encoded message does not change when the value changes. Its large binary parts are the
 * exception: they are not copied, and share the caller's memory.
 */
import { ByteWriter } from "../bytes/byte-writer.ts";
import { Decoder } from "../codec/decode/decoder.ts";
import type { Commit } from "../codec/encode/attachments.ts";
import { Encoder } from "../codec/encode/encoder.ts";
import type { DeliveryScope } from "../targets/shareable.ts";
import { EMPTY_LIST, Frame } from "./frame.ts";

/** Makes a message from a text, for a receiver that has not loaded the codec. */
export function textMessage(text: string): EncodedMessage {
  const bytes = new TextEncoder().encode(text);
  return toEncodedMessage.putBytes(bytes, 0, bytes.length);
}

/** A message that was encoded before it had a channel. */
export interface EncodedMessage {
  readonly frame: Frame;
  /** Hands over the shareable objects in the message; called once, when the message is sent. */
  commit(scope: DeliveryScope | undefined): void;
}

/**
 * Stores an encoded message until it is sent. Most messages are plain bytes: passing them as
 * offsets saves an object for each.
 */
export interface EncodedSink<T> {
  /** Stores a message of plain bytes. Nothing writes to them again. */
  putBytes(bytes: Uint8Array, start: number, end: number): T;
  /** Stores a message that has parts, modules or shareable objects. */
  putMessage(message: EncodedMessage): T;
}

const toEncodedMessage: EncodedSink<EncodedMessage> = {
  putBytes: (bytes, start, end) => ({
    frame: new Frame(0, bytes, start, end, EMPTY_LIST, EMPTY_LIST),
    commit: NOTHING_TO_COMMIT,
  }),
  putMessage: (message) => message,
};

/** Small messages share buffers of this size. */
const SHARED_BUFFER_BYTES = 16 * 1024;
/** Room that a shared buffer must have left for another message. */
const MIN_ROOM_BYTES = 2 * 1024;
const shared = { encoder: new Encoder(), out: new ByteWriter(SHARED_BUFFER_BYTES), isBusy: false };
/** The `commit()` of all messages without shareable objects. */
const NOTHING_TO_COMMIT: EncodedMessage["commit"] = () => {};

/**
 * Encodes a value now, to be sent later.
 *
 * @param root the name of the value in errors, as for `Channel.send()`
 * @throws {SendError} if the value cannot be sent
 */
export function encodeMessage(value: unknown, root?: string | readonly string[]): EncodedMessage {
  return encodeInto(toEncodedMessage, value, root);
}

/** Encodes a value as {@link encodeMessage} does, and returns what the sink makes of it. */
export function encodeInto<T>(sink: EncodedSink<T>, value: unknown, root?: string | readonly string[]): T {
  // A getter of the value may itself encode something, while the shared encoder is busy.
  const { encoder, out } = shared.isBusy ? { encoder: new Encoder(), out: new ByteWriter(256) } : shared;
  const wasBusy = shared.isBusy;
  shared.isBusy = true;
  try {
    const start = out.position;
    encoder.encode(value, out, root);
    const { bytes, position: end } = out;
    if (out === shared.out && end > SHARED_BUFFER_BYTES - MIN_ROOM_BYTES)
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

/** Returns a function that runs the commits at its first call only. */
function commitOnce(commits: readonly Commit[]): (scope: DeliveryScope | undefined) => void {
  let pending = commits;
  return (scope) => {
    const due = pending;
    pending = [];
    for (const commit of due) commit(scope);
  };
}

const standaloneDecoder = new Decoder();

/** Decodes a message whose shapes are inline. Its modules must be loaded. */
export function decodeMessage(frame: Frame): unknown {
  return standaloneDecoder.decode(frame.bytes, frame.start, frame.end, frame.parts);
}
