/**
 * The job of `apply()`: one call, one task, one result.
 *
 * A program may make 100,000 calls at once, and objects are then the largest cost of a call. So one
 * object plays five roles. Each role is an interface, and the user of a role knows only that one. A
 * separate task object is created only when it is needed: for example for a timeout, a cancellation
 * or a slow function.
 *
 * | role         | type                     | user of the role                          |
 * | ------------ | ------------------------ | ----------------------------------------- |
 * | promise      | `Deferred`               | the user's `AsyncResult`                  |
 * | job          | `Job`                    | the worker manager delivers the result    |
 * | payload      | `EncodedPayload`         | the connection sends the arguments        |
 * | payload sink | `EncodedSink`            | the encoder stores the arguments          |
 * | task         | `LazyTask`, `TaskSource` | the scheduler queues and sends the call   |
 */
import type { Channel, EncodedMessage, EncodedSink } from "@multiproc/core/internal";
import { type EncodedPayload, toPayload } from "../functions/encoded-payload.ts";
import type { KnownFunction } from "../functions/function-table.ts";
import { CALL } from "../protocol.ts";
import type { DurationEstimate } from "../scheduler/duration-estimate.ts";
import { canBatchAcks, type LazyTask } from "../scheduler/task.ts";
import { type Job, type JobServices, WorkTask, type WorkTraits } from "./job.ts";
import { Deferred } from "./result.ts";

/** A call of `apply()`. */
export class ApplyJob extends Deferred<unknown> implements Job, EncodedPayload, EncodedSink<void>, LazyTask<WorkTask> {
  readonly fn: KnownFunction;
  #services: JobServices | undefined;
  #traits: WorkTraits | undefined;
  /**
   * The serialized arguments, until the call has ended: a payload, or the array with their bytes,
   * from `#start` to `#end`.
   */
  #payload: EncodedPayload | Uint8Array | undefined;
  #start = 0;
  #end = 0;
  /** The task; null if the call was sent as a lazy task, undefined while the call is queued. */
  #task: WorkTask | null | undefined;

  constructor(fn: KnownFunction) {
    super();
    this.fn = fn;
  }

  // ── Payload sink: the encoder stores the arguments ──

  putBytes(bytes: Uint8Array, start: number, end: number): void {
    this.#payload = bytes;
    this.#start = start;
    this.#end = end;
  }

  putMessage(message: EncodedMessage): void {
    this.#payload = toPayload.putMessage(message);
  }

  // ── Payload: the connection sends the arguments ──

  get size(): number {
    const payload = this.#payload;
    return payload instanceof Uint8Array ? this.#end - this.#start : (payload as EncodedPayload).size;
  }

  sendTo(channel: Channel, kind: number): void {
    const payload = this.#payload;
    if (payload instanceof Uint8Array) channel.forwardBytes(kind, payload, this.#start, this.#end);
    else payload?.sendTo(channel, kind);
  }

  // ── Task: the scheduler queues and sends the call ──

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

  take(): WorkTask {
    this.#task = new WorkTask(this, this.fn, CALL, this, 0, 1, this.#traits as WorkTraits);
    return this.#task;
  }

  clear(): void {
    this.#payload = undefined;
  }

  // ── Job: the worker manager delivers the result ──

  get call(): string {
    return "apply()";
  }

  /** Submits the call. Its arguments must have been encoded. */
  begin(services: JobServices, traits: WorkTraits): void {
    this.#services = services;
    this.#traits = traits;
    services.dispatcher.submit(this);
  }

  /** Receives the result of a call that was sent as a lazy task. */
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

  split(): void {} // a call has one item

  // ── Promise ──

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
