/** The calls of `apply()`. */
import type { EncodedMessage } from "@multiproc/core/internal";
import type { KnownFunction } from "./functions.ts";
import { type Job, type JobEnds, WorkTask, type WorkTraits } from "./jobs.ts";
import type { Waiting } from "./ledger.ts";
import { isBare, messageOf } from "./messages.ts";
import { CALL } from "./protocol.ts";
import { Outcome } from "./result.ts";

/** One call: one task, one result. The task is made when it is sent; a hundred thousand calls that wait take little memory. */
export class CallJob extends Outcome<unknown> implements Job, Waiting<WorkTask> {
  readonly #ends: JobEnds;
  readonly #fn: KnownFunction;
  readonly #traits: WorkTraits;
  /** The message or, where that is all, the memory in which it lies; then the task. */
  #content: EncodedMessage | Uint8Array | WorkTask | undefined;
  #start = 0;
  #end = 0;

  constructor(ends: JobEnds, fn: KnownFunction, message: EncodedMessage, traits: WorkTraits) {
    super();
    this.#ends = ends;
    this.#fn = fn;
    this.#traits = traits;
    if (isBare(message)) {
      const { frame } = message;
      this.#content = frame.bytes;
      this.#start = frame.start;
      this.#end = frame.end;
    } else this.#content = message;
  }

  get call(): string {
    return "apply()";
  }

  get left(): number {
    return this.#content === undefined || this.#content instanceof WorkTask ? 0 : 1;
  }

  get size(): number {
    const content = this.#content;
    return content instanceof Uint8Array ? this.#end - this.#start : this.#message.frame.size;
  }

  get expected(): number {
    return this.#fn.estimate.average;
  }

  begin(): void {
    this.#ends.office.submit(this);
  }

  next(): WorkTask {
    const task = new WorkTask(this, this.#fn, CALL, this.#message, 0, 1, this.#traits);
    this.#content = task;
    return task;
  }

  clear(): void {
    this.#content = undefined;
  }

  result(_: WorkTask, value: unknown): void {
    if (!this.isPending) return;
    this.#content = undefined;
    this.resolve(value);
    this.#ends.over();
  }

  results(task: WorkTask, values: readonly unknown[]): void {
    this.result(task, values[0]);
  }

  failed(_: WorkTask, error: unknown): void {
    this.fail(error);
  }

  divided(): void {} // a call is one item

  cancel(reason: unknown): void {
    if (!this.isPending) return;
    if (this.#content instanceof WorkTask) this.#ends.office.drop(this.#content, { reason });
    else this.#ends.office.withdraw(this);
    this.fail(reason);
  }

  fail(error: unknown): void {
    if (!this.isPending) return;
    this.#content = undefined;
    this.reject(error);
    this.#ends.over();
  }

  get #message(): EncodedMessage {
    const content = this.#content as EncodedMessage | Uint8Array;
    return content instanceof Uint8Array ? messageOf(content, this.#start, this.#end) : content;
  }
}
