/** Turns values into bytes. `README.md` in the folder above describes the bytes. */
import type { ByteWriter } from "../../bytes/byte-writer.ts";
import type { DeliveryScope } from "../../targets/shareable.ts";
import { writeTuple } from "./array-writer.ts";
import type { Commit } from "./attachments.ts";
import { EncodeFailure, toEncodeFailure } from "./encode-failure.ts";
import { ValueWriter } from "./value-writer.ts";

const REENTRANT_ENCODE = "another value is being sent on the same channel: do not send from a getter";

/** Options of an encoder. */
export interface EncoderOptions {
  /**
   * - `"dictionary"`: the keys of objects are sent once; one decoder must read every message, in order.
   * - `"inline"`: each message is self-contained; any decoder can read it, in any order.
   *
   * @default "inline"
   */
  readonly shapes?: "inline" | "dictionary";
}

/** Writes values as messages for a `Decoder` of any process and host. */
export class Encoder {
  readonly #valueWriter: ValueWriter;

  /** @param options whether messages are self-contained */
  constructor(options: EncoderOptions = {}) {
    this.#valueWriter = new ValueWriter(options.shapes !== "dictionary");
  }

  /**
   * Whether a message is being encoded. Only code that the value itself runs, such as a getter, can
   * observe true.
   */
  get isBusy(): boolean {
    return this.#valueWriter.isBusy;
  }

  /**
   * Appends a message with `value` to `output`.
   *
   * @param value any value that can be sent
   * @param output the memory for the message
   * @param root the name of the value in the path of an error. A list with a name for each element
   * asserts that the value is an array without holes and named properties. The encoder then skips
   * the search for them, which takes a large part of the time of a small message
   * @default root "value"
   * @throws {SendError} if the value cannot be sent. `output` and the dictionary stay as they were
   */
  encode(value: unknown, output: ByteWriter, root: string | readonly string[] = "value"): void {
    const valueWriter = this.#valueWriter;
    if (valueWriter.isBusy) throw new EncodeFailure(REENTRANT_ENCODE).toError(typeof root === "string" ? root : "");
    const start = output.position;
    valueWriter.isBusy = true;
    try {
      valueWriter.begin(output);
      if (typeof root === "string") valueWriter.write(value);
      else writeTuple(valueWriter, value as readonly unknown[], root);
      valueWriter.finish();
    } catch (thrown) {
      output.position = start;
      valueWriter.abandon();
      throw toEncodeFailure(thrown).toError(typeof root === "string" ? root : "");
    } finally {
      // This is an assignment, because a call could overflow the stack, which may be full.
      valueWriter.isBusy = false;
    }
  }

  /** The parts of the last message, in order: views of the memory of the value, not copies. */
  get parts(): readonly Uint8Array[] {
    return this.#valueWriter.attachments.parts;
  }

  /** URLs of the modules that the receiver must have loaded before it decodes the last message. */
  get modules(): readonly string[] {
    return this.#valueWriter.attachments.modules;
  }

  /**
   * Runs the commits of the last message, which complete the transfers of its shareable objects.
   * Call it once the message can no longer fail.
   *
   * @param scope the channel or process that delivers the message
   */
  commit(scope?: DeliveryScope): void {
    const commits = this.#valueWriter.attachments.takeCommits();
    // An iterator over an empty list would take a large part of the time of a small message.
    if (commits.length > 0) for (const commit of commits) commit(scope);
  }

  /**
   * Returns the commits of the last message, which the caller runs later instead of `commit()`. A
   * caller needs them if it encodes other messages before it sends this one.
   */
  takeCommits(): readonly Commit[] {
    return this.#valueWriter.attachments.takeCommits();
  }

  /** Removes the definitions of the last message, which will not be sent, from the dictionary. */
  discard(): void {
    this.#valueWriter.discard();
  }
}
