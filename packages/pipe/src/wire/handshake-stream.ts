/** The messages with which two strangers make sure of each other, before their stream becomes a channel. */
import { ProtocolError } from "@multiproc/core";
import type { ByteStream } from "@multiproc/core/internal";

/** No message of a greeting is longer; whoever announces more is cut off before anything is kept of it. */
export const GREETING_LIMIT = 256;
const HEADER_SIZE = 4;

/** A stream on which single messages are exchanged; what comes after the last of them is kept for who takes it over. */
export class Greeting {
  readonly #stream: ByteStream;
  #rest: Uint8Array = new Uint8Array(0);
  #error: Error | undefined;
  #hasEnded = false;
  /** Who waits for bytes, or for the end. */
  #wake: (() => void) | undefined;
  #next: Parameters<ByteStream["start"]>[0] | undefined;

  constructor(stream: ByteStream) {
    this.#stream = stream;
    stream.unref();
    stream.start({
      data: (chunk) => this.#data(chunk),
      directBuffer: () => this.#next?.directBuffer?.(),
      filled: (count) => this.#next?.filled?.(count),
      end: (error) => this.#end(error),
      drain: () => this.#next?.drain(),
    });
  }

  /**
   * The next message.
   *
   * @throws {ProtocolError} if the other side sends no message, or leaves
   */
  async read(): Promise<Uint8Array> {
    const [a, b, c, d] = await this.#take(HEADER_SIZE);
    const length = new DataView(Uint8Array.of(a as number, b as number, c as number, d as number).buffer).getInt32(0);
    if (length < 0 || length > GREETING_LIMIT)
      throw new ProtocolError(`A greeting of ${length} bytes was announced; at most ${GREETING_LIMIT} are accepted`);
    return this.#take(length);
  }

  write(message: Uint8Array): void {
    const bytes = new Uint8Array(HEADER_SIZE + message.length);
    new DataView(bytes.buffer).setInt32(0, message.length);
    bytes.set(message, HEADER_SIZE);
    this.#stream.write(bytes);
  }

  /** Sends what was written, and closes. */
  finish(): void {
    this.#stream.finish();
  }

  destroy(): void {
    this.#stream.destroy();
  }

  ref(): void {
    this.#stream.ref();
  }

  /** The stream from here on. */
  release(): ByteStream {
    const stream = this.#stream;
    const start = (handlers: Parameters<ByteStream["start"]>[0]): void => {
      this.#next = handlers;
      if (this.#rest.length > 0) handlers.data(this.#rest);
      this.#rest = new Uint8Array(0);
      if (this.#hasEnded) handlers.end(this.#error);
      else stream.resume();
    };
    return {
      remote: stream.remote,
      start,
      write: (chunk) => stream.write(chunk),
      get pending() {
        return stream.pending;
      },
      pause: () => stream.pause(),
      resume: () => stream.resume(),
      finish: () => stream.finish(),
      destroy: () => stream.destroy(),
      ref: () => stream.ref(),
      unref: () => stream.unref(),
    };
  }

  async #take(size: number): Promise<Uint8Array> {
    while (this.#rest.length < size) {
      if (this.#hasEnded)
        throw new ProtocolError("The other side left in the middle of the greeting", { cause: this.#error });
      this.#stream.resume();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const taken = this.#rest.slice(0, size);
    this.#rest = this.#rest.subarray(size);
    return taken;
  }

  #data(chunk: Uint8Array): void {
    if (this.#next !== undefined) return this.#next.data(chunk);
    const joined = new Uint8Array(this.#rest.length + chunk.length);
    joined.set(this.#rest);
    joined.set(chunk, this.#rest.length);
    this.#rest = joined;
    // Nobody can have more kept here than one chunk beside what is asked for.
    this.#stream.pause();
    this.#wake?.();
  }

  #end(error: Error | undefined): void {
    this.#hasEnded = true;
    this.#error = error;
    this.#next?.end(error);
    this.#wake?.();
  }
}
