/** What a spare writes, which may have none to read it yet. */
import type { OutputReader } from "@multiproc/core";
import { type ByteSource, host } from "@multiproc/core/internal";

type FlowControl = Parameters<NonNullable<OutputReader["begin"]>>[0];
type Handlers = Parameters<ByteSource["start"]>[0];

/** Goes where what its owner writes does, until it is known where else. */
export class SpareOutput implements OutputReader, ByteSource {
  readonly #name: "stdout" | "stderr";
  #flowControl: FlowControl | undefined;
  #handlers: Handlers | undefined;
  #isEnded = false;

  constructor(name: "stdout" | "stderr") {
    this.#name = name;
  }

  begin(flowControl: FlowControl): void {
    this.#flowControl = flowControl;
  }

  data(bytes: Uint8Array): void {
    if (this.#handlers === undefined) void host.writeOutput(this.#name, bytes);
    else this.#handlers.data(bytes);
  }

  end(): void {
    this.#isEnded = true;
    this.#handlers?.end();
  }

  start(handlers: Handlers): void {
    this.#handlers = handlers;
    if (this.#isEnded) handlers.end();
  }

  pause(): void {
    this.#flowControl?.pause();
  }

  resume(): void {
    this.#flowControl?.resume();
  }

  destroy(): void {
    this.#handlers = { data() {}, end() {}, drain() {} };
  }

  // Whether the program stays alive for it is up to the process.
  ref(): void {}

  unref(): void {}
}
