/**
 * Payloads: serialized arguments that wait to be sent.
 *
 * 100,000 payloads may wait, so they use as few objects as possible. A payload is kept until its
 * task is done, because a retry sends it again.
 */
import type { Channel, EncodedMessage, EncodedSink } from "@multiproc/core/internal";

/** The serialized arguments of a task. They can be sent several times. */
export interface EncodedPayload {
  /** The size in bytes. */
  readonly size: number;
  sendTo(channel: Channel, kind: number): void;
}

/** A sink that makes a payload of the message that it receives. */
export const toPayload: EncodedSink<EncodedPayload> = {
  putBytes: (bytes, start, end) => new BytesPayload(bytes, start, end),
  putMessage: (message) => new MessagePayload(message),
};

/** A payload of plain bytes. */
class BytesPayload implements EncodedPayload {
  readonly #bytes: Uint8Array;
  readonly #start: number;
  readonly #end: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
  }

  get size(): number {
    return this.#end - this.#start;
  }

  sendTo(channel: Channel, kind: number): void {
    channel.forwardBytes(kind, this.#bytes, this.#start, this.#end);
  }
}

/** A payload with large binary parts or shareable objects. */
class MessagePayload implements EncodedPayload {
  readonly #message: EncodedMessage;

  constructor(message: EncodedMessage) {
    this.#message = message;
  }

  get size(): number {
    return this.#message.frame.size;
  }

  sendTo(channel: Channel, kind: number): void {
    channel.forward(kind, this.#message.frame);
    this.#message.commit(channel);
  }
}

/** Many payloads, stored in parallel arrays, so that a payload of plain bytes needs no object. */
export class PayloadList implements EncodedSink<void> {
  readonly #payloads: (EncodedPayload | Uint8Array | undefined)[] = [];
  /** The start and end offsets of the payload at `i`, at `2 * i` and `2 * i + 1`. */
  readonly #bounds: number[] = [];

  get count(): number {
    return this.#payloads.length;
  }

  putBytes(bytes: Uint8Array, start: number, end: number): void {
    this.#payloads.push(bytes);
    this.#bounds.push(start, end);
  }

  putMessage(message: EncodedMessage): void {
    this.#payloads.push(new MessagePayload(message));
    this.#bounds.push(0, 0);
  }

  /** Returns the size of a payload, in bytes. */
  sizeOf(index: number): number {
    const payload = this.#payloads[index];
    if (!(payload instanceof Uint8Array)) return payload?.size ?? 0;
    return (this.#bounds[index * 2 + 1] as number) - (this.#bounds[index * 2] as number);
  }

  /** Removes and returns a payload. */
  take(index: number): EncodedPayload {
    const payload = this.#payloads[index] as EncodedPayload | Uint8Array;
    this.#payloads[index] = undefined;
    if (!(payload instanceof Uint8Array)) return payload;
    return new BytesPayload(payload, this.#bounds[index * 2] as number, this.#bounds[index * 2 + 1] as number);
  }

  clear(): void {
    this.#payloads.length = this.#bounds.length = 0;
  }
}
