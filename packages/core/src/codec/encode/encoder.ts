/** Values to bytes. What the bytes mean is told in `README.md` beside this file. */

import type { ByteWriter } from "../../bytes/byte-writer.ts";
import type { DeliveryScope } from "../../targets/shareable.ts";
import { writeTuple } from "./array-writer.ts";
import type { Commit } from "./attachments.ts";
import { EncodeFailure, toEncodeFailure } from "./encode-failure.ts";
import { ValueWriter } from "./value-writer.ts";

const REENTRANT_ENCODE = "a value that is sent while another one of the same channel is read";

/** How an encoder names the keys of objects. */
export interface EncoderOptions {
  /**
   * `"dictionary"`: keys are sent once and then referred to; one decoder must see every message, in order.
   * `"inline"`: each message stands alone; it can be stored, passed on, and decoded by anybody, in any order.
   *
   * @default "inline"
   */
  readonly shapes?: "inline" | "dictionary";
}

/** Writes values as messages for a {@link Decoder} in any process on any host. */
export class Encoder {
  readonly #valueWriter: ValueWriter;

  /** @param options how the keys of objects are named */
  constructor(options: EncoderOptions = {}) {
    this.#valueWriter = new ValueWriter(options.shapes !== "dictionary");
  }

  /** Whether a value is being read: a getter of it may have called. */
  get isBusy(): boolean {
    return this.#valueWriter.isBusy;
  }

  /**
   * Appends a message with `value` to what `writer` holds.
   *
   * @param value any value of those that can be sent
   * @param writer where the message goes
   * @param root how the value is called in the path of an error. A list of names, one for each element, says that the value
   * is an array which the caller has just made, with neither holes nor other properties: then nobody looks for them, which
   * is a good part of the time that a small message takes
   * @default root "value"
   * @throws {SendError} for a value that cannot be sent; then writer and dictionary are as they were
   */
  encode(value: unknown, writer: ByteWriter, root: string | readonly string[] = "value"): void {
    const valueWriter = this.#valueWriter;
    if (valueWriter.isBusy) throw new EncodeFailure(REENTRANT_ENCODE).toError(typeof root === "string" ? root : "");
    const start = writer.position;
    valueWriter.isBusy = true;
    try {
      valueWriter.begin(writer);
      if (typeof root === "string") valueWriter.write(value);
      else writeTuple(valueWriter, value as readonly unknown[], root);
      valueWriter.finish();
    } catch (thrown) {
      writer.position = start;
      valueWriter.abandon();
      throw toEncodeFailure(thrown).toError(typeof root === "string" ? root : "");
    } finally {
      // No call: there may be no stack left for one.
      valueWriter.isBusy = false;
    }
  }

  /** The large binary contents of the last message, in order: views of the caller's memory, not copies. */
  get parts(): readonly Uint8Array[] {
    return this.#valueWriter.attachments.parts;
  }

  /** URLs of the modules that the receiver must have loaded before it decodes the last message. */
  get modules(): readonly string[] {
    return this.#valueWriter.attachments.modules;
  }

  /**
   * Says that the last message is on its way: hand-overs in it take effect.
   *
   * @param carrier what carries the message, for those who want to know when it ends
   */
  commit(scope?: DeliveryScope): void {
    const commits = this.#valueWriter.attachments.takeCommits();
    // An iterator for nothing would be a good part of what a small message takes.
    if (commits.length > 0) for (const commit of commits) commit(scope);
  }

  /** What is to be called, in place of `commit()`, when the last message leaves only after others have been encoded. */
  takeCommits(): readonly Commit[] {
    return this.#valueWriter.attachments.takeCommits();
  }

  /** Says that the last message will not be sent after all: the dictionary becomes what it was before it. */
  discard(): void {
    this.#valueWriter.discard();
  }
}
