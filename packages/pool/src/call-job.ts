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
  #fn: KnownFunction | undefined;
  #traits: WorkTraits | undefined;
  /** The message or, where that is all, the memory in which it lies; then the task. */
  #content: EncodedMessage | Uint8Array | WorkTask | undefined;
  #start = 0;
  #end = 0;

  constructor(ends: JobEnds) {
    super();
    this.#ends = ends;
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
    return this.#fn?.estimate.average ?? Number.NaN;
  }

  begin(fn: KnownFunction, message: EncodedMessage, traits: WorkTraits): void {
    const { frame } = message;
    this.#fn = fn;
    this.#traits = traits;
    this.#content = isBare(message) ? frame.bytes : message;
    this.#start = frame.start;
    this.#end = frame.end;
    this.#ends.office.submit(this);
  }

  next(): WorkTask {
    const task = new WorkTask(this, this.#fn as KnownFunction, CALL, this.#message, 0, 1, this.#traits as WorkTraits);
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
