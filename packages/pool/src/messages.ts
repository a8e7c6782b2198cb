/** Encoded messages that wait to be sent: what most of them need in place of two objects each. */
import { type EncodedMessage, Frame, NOTHING_TO_COMMIT } from "@multiproc/core/internal";

const NONE: readonly never[] = Object.freeze([]) as never;

/** Whether a message is nothing but bytes in a piece of memory. */
export function isBare({ frame, commit }: EncodedMessage): boolean {
  return commit === NOTHING_TO_COMMIT && frame.parts.length === 0 && frame.modules.length === 0;
}

/** The message of these bytes. */
export function messageOf(bytes: Uint8Array, start: number, end: number): EncodedMessage {
  return { frame: new Frame(0, bytes, start, end, NONE, NONE), commit: NOTHING_TO_COMMIT };
}

/** Many messages, in columns. */
export class Messages {
  readonly #contents: (EncodedMessage | Uint8Array | undefined)[] = [];
  /** Where they begin and end. */
  readonly #bounds: number[] = [];

  get count(): number {
    return this.#contents.length;
  }

  add(message: EncodedMessage): void {
    const { bytes, start, end } = message.frame;
    this.#contents.push(isBare(message) ? bytes : message);
    this.#bounds.push(start, end);
  }

  /** How many bytes one of them holds. */
  sizeOf(index: number): number {
    const content = this.#contents[index];
    if (!(content instanceof Uint8Array)) return content?.frame.size ?? 0;
    return (this.#bounds[index * 2 + 1] as number) - (this.#bounds[index * 2] as number);
  }

  /** Takes one of them out. */
  take(index: number): EncodedMessage {
    const content = this.#contents[index] as EncodedMessage | Uint8Array;
    this.#contents[index] = undefined;
    if (!(content instanceof Uint8Array)) return content;
    return messageOf(content, this.#bounds[index * 2] as number, this.#bounds[index * 2 + 1] as number);
  }

  clear(): void {
    this.#contents.length = this.#bounds.length = 0;
  }
}
