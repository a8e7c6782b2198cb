/**
 * A standard stream of a spare.
 *
 * The owner reads the stream from the start of the spare. It writes the output to its own stream of
 * the same name, until the spare is a child whose output is read.
 */
import type { OutputReader } from "@multiproc/core";
import { type ByteSource, host } from "@multiproc/core/internal";

type FlowControl = Parameters<NonNullable<OutputReader["start"]>>[0];
type Handlers = Parameters<ByteSource["start"]>[0];

export class SpareOutput implements ByteSource {
  /** Receives the output of the spare from its start. */
  readonly reader: OutputReader;
  #flowControl: FlowControl | undefined;
  #handlers: Handlers | undefined;
  #isEnded = false;

  constructor(name: "stdout" | "stderr") {
    this.reader = {
      start: (flowControl) => {
        this.#flowControl = flowControl;
      },
      data: (bytes) => {
        if (this.#handlers === undefined) void host.writeOutput(name, bytes);
        else this.#handlers.data(bytes);
      },
      end: () => {
        this.#isEnded = true;
        this.#handlers?.end();
      },
    };
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

  // The process of the spare keeps the program alive, not its output.
  ref(): void {}

  unref(): void {}
}
