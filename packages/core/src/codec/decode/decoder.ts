/** Turns bytes into values. `README.md` in the folder above describes the bytes. */
import { ValueReader } from "./value-reader.ts";

/**
 * Reads the messages of an `Encoder`, which may run in another process, on another host, and with
 * any options.
 */
export class Decoder {
  readonly #reader: ValueReader = new ValueReader();

  /**
   * Returns the value of the message that fills `bytes` from `start` to `end`. The value shares no
   * memory with `bytes`; its typed arrays may lie in `parts`.
   *
   * Decode a message that is not self-contained even if one of its modules could not be loaded.
   * Later messages may refer to the entries that it defines.
   *
   * @param bytes the memory that holds the message
   * @param start the offset of the message
   * @param end the offset after the message
   * @param parts the large binary data of the message. A part that fills its ArrayBuffer becomes
   * memory of the value; any other part is copied
   * @throws {ProtocolError} if the message is malformed
   * @throws {TargetError} if a module is not loaded, or lacks an export or a registered class that
   * the message names
   * @throws the error that a reviver of a shareable object has thrown
   */
  decode(bytes: Uint8Array, start: number, end: number, parts: readonly Uint8Array[]): unknown {
    // A reviver of a shareable object may decode another message while this one is being read.
    const reader = this.#reader.isBusy ? new ValueReader() : this.#reader;
    return reader.message(bytes, start, end, parts);
  }
}
