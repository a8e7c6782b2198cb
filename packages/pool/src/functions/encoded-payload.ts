/** Encoded messages that wait to be sent, in as few objects as can be: there may be a hundred thousand of them. */
import type { Channel, EncodedMessage, EncodedSink } from "@multiproc/core/internal";

/** The message of a task, which may be sent to one worker after the other. */
export interface EncodedPayload {
  /** How many bytes it holds. */
  readonly size: number;
  sendTo(channel: Channel, kind: number): void;
}

/** Keeps a message as a letter. */
export const toPayload: EncodedSink<EncodedPayload> = {
  putBytes: (bytes, start, end) => new BytesPayload(bytes, start, end),
  putMessage: (message) => new MessagePayload(message),
};

/** A message that is bytes alone. */
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

/** Any message. */
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

/** Many messages, in columns. */
export class PayloadList implements EncodedSink<void> {
  readonly #payloads: (EncodedPayload | Uint8Array | undefined)[] = [];
  /** Where those that are bytes alone begin and end. */
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

  /** How many bytes one of them holds. */
  sizeOf(index: number): number {
    const payload = this.#payloads[index];
    if (!(payload instanceof Uint8Array)) return payload?.size ?? 0;
    return (this.#bounds[index * 2 + 1] as number) - (this.#bounds[index * 2] as number);
  }

  /** Takes one of them out. */
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
