/** Bytes to values. What the bytes mean is told in `README.md` beside this file. */
import { ValueReader } from "./value-reader.ts";

/** Reads the messages of an {@link Encoder} in any process on any host, whatever its options. */
export class Decoder {
  readonly #reader: ValueReader = new ValueReader();

  /**
   * The value of the message that fills `bytes` from `start` to `end`. It shares no memory with `bytes`; typed arrays in it
   * may lie in `parts`.
   *
   * A message that refers to a dictionary must be decoded even when a module that it names could not be loaded: the
   * messages after it may refer to what it defines.
   *
   * @param bytes memory that holds the message
   * @param start where the message begins
   * @param end where it ends
   * @param parts the large binary contents that came with it; each fills an ArrayBuffer of its own, which the value takes over
   * @throws {ProtocolError} if these are not the bytes of a message
   * @throws {TargetError} if a module does not export or register what the message names
   * @throws whatever was thrown while a live object was rebuilt
   */
  decode(bytes: Uint8Array, start: number, end: number, parts: readonly Uint8Array[]): unknown {
    // What rebuilds a live object may itself decode a message.
    const reader = this.#reader.isBusy ? new ValueReader() : this.#reader;
    return reader.message(bytes, start, end, parts);
  }
}
