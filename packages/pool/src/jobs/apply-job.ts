/** The calls of `apply()`. */
import type { Channel, EncodedMessage, MessageKeeper } from "@multiproc/core/internal";
import { asLetter, type Letter } from "../functions/encoded-payload.ts";
import type { KnownFunction } from "../functions/function-table.ts";
import { CALL } from "../protocol.ts";
import { type Brief, type Estimate, isLoose } from "../scheduler/task.ts";
import { type Job, type JobEnds, WorkTask, type WorkTraits } from "./job.ts";
import { Outcome } from "./result.ts";

/**
 * One call: one task, one result. It keeps its message itself, and a task is made of it only if it has to be: a hundred
 * thousand calls take little memory.
 */
export class CallJob extends Outcome<unknown> implements Job, Letter, MessageKeeper<void>, Brief<WorkTask> {
  readonly fn: KnownFunction;
  #ends: JobEnds | undefined;
  #traits: WorkTraits | undefined;
  /** The message or, where that is all, the memory in which it lies; until there is an outcome. */
  #content: Letter | Uint8Array | undefined;
  #start = 0;
  #end = 0;
  /** Once it has been sent; null if that was without a task. */
  #task: WorkTask | null | undefined;

  constructor(fn: KnownFunction) {
    super();
    this.fn = fn;
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
    return this.fn.estimate.average;
  }

  get estimate(): Estimate {
    return this.fn.estimate;
  }

  get brief(): this | undefined {
    const { timeout, context } = this.#traits as WorkTraits;
    const isPlain = context === undefined && isLoose(this.fn.estimate, timeout);
    return isPlain && this.#ends?.office.isWatched === false ? this : undefined;
  }

  depart(): void {
    this.#task = null;
  }

  /** @param ends who does it, now that it has its message */
  begin(ends: JobEnds, traits: WorkTraits): void {
    this.#ends = ends;
    this.#traits = traits;
    ends.office.submit(this);
  }

  next(): WorkTask {
    this.#task = new WorkTask(this, this.fn, CALL, this, 0, 1, this.#traits as WorkTraits);
    return this.#task;
  }

  clear(): void {
    this.#content = undefined;
  }

  /** What the call has resulted in. */
  answer(value: unknown): void {
    if (!this.isPending) return;
    this.resolve(value);
    this.#over();
  }

  result(_: WorkTask, value: unknown): void {
    this.answer(value);
  }

  results(_: WorkTask, values: readonly unknown[]): void {
    this.answer(values[0]);
  }

  failed(_: WorkTask, error: unknown): void {
    this.#fail(error);
  }

  divided(): void {} // a call is one item

  cancel(reason: unknown): void {
    if (!this.isPending) return;
    const office = this.#ends?.office;
    if (this.#task === null) office?.make(this);
    if (this.#task === undefined) office?.withdraw(this);
    else if (this.#task !== null) office?.drop(this.#task, { reason });
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
