/** Encoded messages that wait to be sent, in as few objects as can be: there may be a hundred thousand of them. */
import type { Channel, EncodedMessage, MessageKeeper } from "@multiproc/core/internal";

/** The message of a task, which may be sent to one worker after the other. */
export interface Letter {
  /** How many bytes it holds. */
  readonly size: number;
  sendTo(channel: Channel, kind: number): void;
}

/** Keeps a message as a letter. */
export const asLetter: MessageKeeper<Letter> = {
  keepBytes: (bytes, start, end) => new Bytes(bytes, start, end),
  keep: (message) => new Whole(message),
};

/** A message that is bytes alone. */
class Bytes implements Letter {
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
class Whole implements Letter {
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
export class Messages implements MessageKeeper<void> {
  readonly #contents: (Letter | Uint8Array | undefined)[] = [];
  /** Where those that are bytes alone begin and end. */
  readonly #bounds: number[] = [];

  get count(): number {
    return this.#contents.length;
  }

  keepBytes(bytes: Uint8Array, start: number, end: number): void {
    this.#contents.push(bytes);
    this.#bounds.push(start, end);
  }

  keep(message: EncodedMessage): void {
    this.#contents.push(new Whole(message));
    this.#bounds.push(0, 0);
  }

  /** How many bytes one of them holds. */
  sizeOf(index: number): number {
    const content = this.#contents[index];
    if (!(content instanceof Uint8Array)) return content?.size ?? 0;
    return (this.#bounds[index * 2 + 1] as number) - (this.#bounds[index * 2] as number);
  }

  /** Takes one of them out. */
  take(index: number): Letter {
    const content = this.#contents[index] as Letter | Uint8Array;
    this.#contents[index] = undefined;
    if (!(content instanceof Uint8Array)) return content;
    return new Bytes(content, this.#bounds[index * 2] as number, this.#bounds[index * 2 + 1] as number);
  }

  clear(): void {
    this.#contents.length = this.#bounds.length = 0;
  }
}
