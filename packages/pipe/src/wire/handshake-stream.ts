/**
 * Exchanges the messages of the handshake, before a channel takes over the stream. The peer is not
 * authenticated yet, so the memory that its messages take is limited.
 */
import { ProtocolError } from "@multiproc/core";
import type { ByteStream } from "@multiproc/core/internal";

/** The longest message of a handshake. The reader refuses a longer one as soon as its header arrives. */
export const MAX_HANDSHAKE_MESSAGE_BYTES = 256;
const HEADER_BYTES = 4;

/** Reads and writes single messages. Bytes after the last message go to the channel that takes over the stream. */
export class HandshakeStream {
  readonly #stream: ByteStream;
  #received: Uint8Array = new Uint8Array(0);
  #error: Error | undefined;
  #hasEnded = false;
  /** Wakes the pending read when bytes, or the end, have arrived. */
  #wake: (() => void) | undefined;
  #channelHandlers: Parameters<ByteStream["start"]>[0] | undefined;

  constructor(stream: ByteStream) {
    this.#stream = stream;
    stream.unref();
    stream.start({
      data: (chunk) => this.#handleData(chunk),
      directBuffer: () => this.#channelHandlers?.directBuffer?.(),
      filled: (count) => this.#channelHandlers?.filled?.(count),
      end: (error) => this.#handleEnd(error),
      drain: () => this.#channelHandlers?.drain(),
    });
  }

  /**
   * Reads the next message.
   *
   * @throws {ProtocolError} if the peer sends something else, or disconnects
   */
  async read(): Promise<Uint8Array> {
    const [a, b, c, d] = await this.#readBytes(HEADER_BYTES);
    const length = new DataView(Uint8Array.of(a as number, b as number, c as number, d as number).buffer).getInt32(0);
    if (length < 0 || length > MAX_HANDSHAKE_MESSAGE_BYTES)
      throw new ProtocolError(
        `The peer announced a handshake message of ${length} bytes; at most ${MAX_HANDSHAKE_MESSAGE_BYTES} are accepted`,
      );
    return this.#readBytes(length);
  }

  write(message: Uint8Array): void {
    const bytes = new Uint8Array(HEADER_BYTES + message.length);
    new DataView(bytes.buffer).setInt32(0, message.length);
    bytes.set(message, HEADER_BYTES);
    this.#stream.write(bytes);
  }

  /** Closes the stream after all messages have been written. */
  finish(): void {
    this.#stream.finish();
  }

  destroy(): void {
    this.#stream.destroy();
  }

  ref(): void {
    this.#stream.ref();
  }

  /** Ends the handshake, and returns the stream for a channel. */
  release(): ByteStream {
    const stream = this.#stream;
    const start = (handlers: Parameters<ByteStream["start"]>[0]): void => {
      this.#channelHandlers = handlers;
      if (this.#received.length > 0) handlers.data(this.#received);
      this.#received = new Uint8Array(0);
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

  async #readBytes(size: number): Promise<Uint8Array> {
    while (this.#received.length < size) {
      if (this.#hasEnded) throw new ProtocolError("The peer disconnected during the handshake", { cause: this.#error });
      this.#stream.resume();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const taken = this.#received.slice(0, size);
    this.#received = this.#received.subarray(size);
    return taken;
  }

  #handleData(chunk: Uint8Array): void {
    if (this.#channelHandlers !== undefined) return this.#channelHandlers.data(chunk);
    const joined = new Uint8Array(this.#received.length + chunk.length);
    joined.set(this.#received);
    joined.set(chunk, this.#received.length);
    this.#received = joined;
    // Back-pressure: an unauthenticated peer can fill one chunk at most.
    this.#stream.pause();
    this.#wake?.();
  }

  #handleEnd(error: Error | undefined): void {
    this.#hasEnded = true;
    this.#error = error;
    this.#channelHandlers?.end(error);
    this.#wake?.();
  }
}
