/** What is sent to a worker as one message, and who waits for it. */
import type { AnyFunction } from "@multiproc/core";
import { type EncodedMessage, encodeMessage, requireTarget } from "@multiproc/core/internal";
import type { TaskMessage, Way } from "./protocol.ts";
import type { Schedulable } from "./scheduler.ts";

/** How a task is done. */
export interface TaskOptions {
  /** How long it may run, in milliseconds, before it is given up as by `cancel()`. @default forever */
  readonly timeout?: number | undefined;
  /** Gives it up, as `cancel()` does. */
  readonly signal?: AbortSignal | undefined;
  /** How often it is tried again when its worker dies. @default 0 */
  readonly retries?: number | undefined;
}

/** A task of a pool. */
export class Task implements Schedulable {
  /** The call as the user wrote it. */
  readonly call: string;
  /** What the function is called, for people. */
  readonly name: string;
  readonly message: EncodedMessage;
  readonly timeout: number | undefined;
  readonly isExclusive: boolean;
  retries: number;
  /** Whether nobody waits for it any more. */
  isOver = false;
  /** Ends what was set up when it began to run. */
  stopTimer: (() => void) | undefined;
  /** Its results: one for `apply`, else one for each input. */
  readonly done: Promise<unknown>;
  readonly resolve!: (results: unknown) => void;
  readonly reject!: (error: unknown) => void;

  /** @throws {SendError} if an input cannot be sent */
  constructor(call: string, fn: AnyFunction, way: Way, inputs: readonly unknown[], options: TaskOptions) {
    this.call = call;
    this.name = requireTarget(fn, call).name || "an inline function";
    const message: TaskMessage = [fn, way, inputs];
    this.message = encodeMessage(message, "task");
    this.timeout = options.timeout;
    this.retries = options.retries ?? 0;
    this.isExclusive = options.timeout !== undefined || options.signal !== undefined;
    this.done = new Promise((resolve, reject) => {
      Object.assign(this, { resolve, reject });
    });
    this.done.catch(() => {}); // whoever waits for it hears of it
  }
}
