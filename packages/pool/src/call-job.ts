/** The calls of `apply()`. */
import type { Channel, EncodedMessage, MessageKeeper } from "@multiproc/core/internal";
import type { KnownFunction } from "./functions.ts";
import { type Job, type JobEnds, WorkTask, type WorkTraits } from "./jobs.ts";
import type { Waiting } from "./ledger.ts";
import { asLetter, type Letter } from "./messages.ts";
import { CALL } from "./protocol.ts";
import { Outcome } from "./result.ts";

/**
 * One call: one task, one result. It keeps its message itself, and its task is made when it is sent: a hundred thousand calls
 * that wait take little memory.
 */
export class CallJob extends Outcome<unknown> implements Job, Letter, MessageKeeper<void>, Waiting<WorkTask> {
  readonly #fn: KnownFunction;
  #ends: JobEnds | undefined;
  #traits: WorkTraits | undefined;
  /** The message or, where that is all, the memory in which it lies; until there is an outcome. */
  #content: Letter | Uint8Array | undefined;
  #start = 0;
  #end = 0;
  /** Once it has been sent. */
  #task: WorkTask | undefined;

  constructor(fn: KnownFunction) {
    super();
    this.#fn = fn;
  }

  get call(): string {
    return "apply()";
  }

  keepBytes(bytes: Uint8Array, start: number, end: number): void {
    this.#content = bytes;
    this.#start = start;
    this.#end = end;
  }

  keep(message: EncodedMessage): void {
    this.#content = asLetter.keep(message);
  }

  get size(): number {
    const content = this.#content;
    return content instanceof Uint8Array ? this.#end - this.#start : (content as Letter).size;
  }

  sendTo(channel: Channel, kind: number): void {
    const content = this.#content;
    if (content instanceof Uint8Array) channel.forwardBytes(kind, content, this.#start, this.#end);
    else content?.sendTo(channel, kind);
  }

  get left(): number {
    return this.#content === undefined || this.#task !== undefined ? 0 : 1;
  }

  get expected(): number {
    return this.#fn.estimate.average;
  }

  /** @param ends who does it, now that it has its message */
  begin(ends: JobEnds, traits: WorkTraits): void {
    this.#ends = ends;
    this.#traits = traits;
    ends.office.submit(this);
  }

  next(): WorkTask {
    this.#task = new WorkTask(this, this.#fn, CALL, this, 0, 1, this.#traits as WorkTraits);
    return this.#task;
  }

  clear(): void {
    this.#content = undefined;
  }

  result(_: WorkTask, value: unknown): void {
    if (!this.isPending) return;
    this.resolve(value);
    this.#over();
  }

  results(task: WorkTask, values: readonly unknown[]): void {
    this.result(task, values[0]);
  }

  failed(_: WorkTask, error: unknown): void {
    this.#fail(error);
  }

  divided(): void {} // a call is one item

  cancel(reason: unknown): void {
    if (!this.isPending) return;
    if (this.#task !== undefined) this.#ends?.office.drop(this.#task, { reason });
    else this.#ends?.office.withdraw(this);
    this.#fail(reason);
  }

  #fail(error: unknown): void {
    if (!this.isPending) return;
    this.reject(error);
    this.#over();
  }

  #over(): void {
    this.#content = this.#task = undefined;
    this.#ends?.over();
  }
}
