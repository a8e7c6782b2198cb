/** The calls of `apply()`. */
import type { Channel, EncodedMessage, EncodedSink } from "@multiproc/core/internal";
import { type EncodedPayload, toPayload } from "../functions/encoded-payload.ts";
import type { KnownFunction } from "../functions/function-table.ts";
import { CALL } from "../protocol.ts";
import type { DurationEstimate } from "../scheduler/duration-estimate.ts";
import { canBatchAcks, type LazyTask } from "../scheduler/task.ts";
import { type Job, type JobServices, WorkTask, type WorkTraits } from "./job.ts";
import { Deferred } from "./result.ts";

/**
 * One call: one task, one result. It keeps its message itself, and a task is made of it only if it has to be: a hundred
 * thousand calls take little memory.
 */
export class ApplyJob extends Deferred<unknown> implements Job, EncodedPayload, EncodedSink<void>, LazyTask<WorkTask> {
  readonly fn: KnownFunction;
  #services: JobServices | undefined;
  #traits: WorkTraits | undefined;
  /** The message or, where that is all, the memory in which it lies; until there is an outcome. */
  #payload: EncodedPayload | Uint8Array | undefined;
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

  putBytes(bytes: Uint8Array, start: number, end: number): void {
    this.#payload = bytes;
    this.#start = start;
    this.#end = end;
  }

  putMessage(message: EncodedMessage): void {
    this.#payload = toPayload.putMessage(message);
  }

  get size(): number {
    const payload = this.#payload;
    return payload instanceof Uint8Array ? this.#end - this.#start : (payload as EncodedPayload).size;
  }

  sendTo(channel: Channel, kind: number): void {
    const payload = this.#payload;
    if (payload instanceof Uint8Array) channel.forwardBytes(kind, payload, this.#start, this.#end);
    else payload?.sendTo(channel, kind);
  }

  get remaining(): number {
    return this.#payload === undefined || this.#task !== undefined ? 0 : 1;
  }

  get expectedMs(): number {
    return this.fn.estimate.averageMs;
  }

  get estimate(): DurationEstimate {
    return this.fn.estimate;
  }

  get lazyTask(): this | undefined {
    const { timeout, context } = this.#traits as WorkTraits;
    const isPlain = context === undefined && canBatchAcks(this.fn.estimate, timeout);
    return isPlain && this.#services?.dispatcher.hasSubscribers === false ? this : undefined;
  }

  markSent(): void {
    this.#task = null;
  }

  /** @param ends who does it, now that it has its message */
  begin(services: JobServices, traits: WorkTraits): void {
    this.#services = services;
    this.#traits = traits;
    services.dispatcher.submit(this);
  }

  take(): WorkTask {
    this.#task = new WorkTask(this, this.fn, CALL, this, 0, 1, this.#traits as WorkTraits);
    return this.#task;
  }

  clear(): void {
    this.#payload = undefined;
  }

  /** What the call has resulted in. */
  complete(value: unknown): void {
    if (!this.isPending) return;
    this.resolve(value);
    this.#finish();
  }

  result(_: WorkTask, value: unknown): void {
    this.complete(value);
  }

  results(_: WorkTask, values: readonly unknown[]): void {
    this.complete(values[0]);
  }

  failed(_: WorkTask, error: unknown): void {
    this.#rejectWith(error);
  }

  split(): void {} // a call is one item

  cancel(reason: unknown): void {
    if (!this.isPending) return;
    const dispatcher = this.#services?.dispatcher;
    if (this.#task === null) dispatcher?.materialize(this);
    if (this.#task === undefined) dispatcher?.cancelQueued(this);
    else if (this.#task !== null) dispatcher?.cancel(this.#task, { reason });
    this.#rejectWith(reason);
  }

  #rejectWith(error: unknown): void {
    if (!this.isPending) return;
    this.reject(error);
    this.#finish();
  }

  #finish(): void {
    this.#payload = this.#task = undefined;
    this.#services?.done();
  }
}
