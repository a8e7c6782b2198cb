/**
 * The connection to one worker: it starts the backend, sends tasks over the channel, and decodes
 * replies.
 *
 * It delivers replies in order, and reports the end of the worker after all of them.
 */
import { ProtocolError } from "@multiproc/core";
import { areLoaded, type Channel, type Frame, host, loadModules } from "@multiproc/core/internal";
import type { EncodedPayload } from "../functions/encoded-payload.ts";
import type { KnownFunction } from "../functions/function-table.ts";
import type { WorkTask } from "../jobs/job.ts";
import {
  CALL,
  CANCEL,
  CONTEXT,
  EVICT_FUNCTION,
  FUNCTION,
  FUNCTION_UNSENDABLE,
  INIT,
  type Init,
  RANGE,
  RECALL,
  SPLIT,
  STOP,
  taskKind,
  USE_FUNCTION,
} from "../protocol.ts";
import type { WorkerBackend, WorkerExit } from "./worker-backend.ts";

const BATCHED_CALL = taskKind(CALL, "batched");
/** The number of functions that a worker caches. */
const MAX_CACHED_FUNCTIONS = 256;
/**
 * A worker that has ended may have a channel that stays open, because a program that it started
 * holds it. The channel is destroyed when no message has arrived for this time. A worker whose
 * channel has closed is killed after the same time.
 */
const CHANNEL_DRAIN_MS = 1000;

/** The events of a worker. */
export interface WorkerConnectionHandlers {
  /**
   * Receives a message.
   *
   * @param size its size in bytes
   * @param read decodes it, and must be called before the handler returns. It throws if this
   * process cannot decode the message.
   */
  message(kind: number, size: number, read: () => unknown): void;
  /** Called when the worker has ended, after all its messages. */
  exited(exit: WorkerExit): void;
}

/** A worker with its channel, from before its start until after its end. */
export class WorkerConnection {
  readonly backend: WorkerBackend;
  readonly #init: Init;
  readonly #handlers: WorkerConnectionHandlers;
  #channel: Channel | undefined;
  /** Messages that wait until the modules of their classes are loaded, and all later messages. */
  readonly #held: Frame[] = [];
  /** The functions in the cache of the worker, the oldest first. */
  readonly #functions: Set<number> = new Set();
  /** The function of the task that was sent last. */
  #currentFunctionId = 0;
  /** The number of messages from the worker. */
  #receivedCount = 0;
  #isStopping = false;
  #error: unknown;

  constructor(backend: WorkerBackend, init: Init, handlers: WorkerConnectionHandlers) {
    this.backend = backend;
    this.#init = init;
    this.#handlers = handlers;
    void this.#run();
  }

  /** The process id, or the thread id; 0 before the start. */
  get pid(): number {
    return this.backend.id ?? 0;
  }

  /** Sends a task. */
  send(task: WorkTask): void {
    const channel = this.#channel;
    // The worker has ended. `exited()` follows, and the scheduler requeues the task.
    if (channel === undefined || channel.closed) return;
    if (this.#currentFunctionId !== task.fn.id) this.#useFunction(channel, task.fn);
    task.context?.sendTo(channel, CONTEXT);
    if (task.isPart) channel.send(RANGE, [task.answeredCount, task.itemCount]);
    task.payload.sendTo(channel, taskKind(task.kind, task.ackMode, task.isSettling));
  }

  /** Sends a lazy task. */
  sendLazyTask(call: EncodedPayload & { readonly fn: KnownFunction }): void {
    const channel = this.#channel;
    if (channel === undefined || channel.closed) return;
    if (this.#currentFunctionId !== call.fn.id) this.#useFunction(channel, call.fn);
    call.sendTo(channel, BATCHED_CALL);
  }

  /** Asks the worker to cancel a task. */
  cancel(task: WorkTask): void {
    const channel = this.#channel;
    if (channel === undefined || channel.closed) return;
    try {
      channel.send(CANCEL, [task.sequence, task.cancelReason], "reason");
    } catch {
      channel.send(CANCEL, [task.sequence, new DOMException("The task was cancelled", "AbortError")]);
    }
  }

  /** Asks the worker to give back tasks that it has not begun. */
  recall(tasks: readonly WorkTask[]): void {
    const channel = this.#channel;
    if (channel?.closed === false)
      channel.send(
        RECALL,
        tasks.map(({ sequence }) => sequence),
      );
  }

  /** Asks the worker to split a task, so that others can steal the rest. */
  split(task: WorkTask): void {
    if (this.#channel?.closed === false) this.#channel.send(SPLIT, task.sequence);
  }

  /** Writes all buffered messages to the system. */
  flush(): void {
    this.#channel?.flush();
  }

  /** Stops the worker after its tasks. */
  stop(): void {
    this.#isStopping = true;
    if (this.#channel === undefined) this.kill();
    else if (!this.#channel.closed) this.#channel.send(STOP, undefined);
  }

  /** Asks the worker to end, and kills it after the grace period. */
  terminate(gracePeriod: number): void {
    this.#isStopping = true;
    this.backend.terminate();
    host.timer(() => this.kill(), gracePeriod, false);
  }

  /** Kills the worker. */
  kill(): void {
    this.#isStopping = true;
    this.backend.kill();
  }

  #initialize(channel: Channel): void {
    try {
      channel.send(INIT, this.#init, "init", channel);
    } catch (error) {
      this.#error = error; // an argument that can be sent only once was sent to another worker
      this.kill();
    }
  }

  /** Selects the function of the next tasks. */
  #useFunction(channel: Channel, fn: KnownFunction): void {
    if (!this.#functions.has(fn.id)) return this.#sendFunction(channel, fn);
    channel.send(USE_FUNCTION, fn.id);
    this.#currentFunctionId = fn.id;
  }

  /** Sends a function to the worker, and evicts the oldest one if the cache is full. */
  #sendFunction(channel: Channel, { id, reference }: KnownFunction): void {
    const functions = this.#functions;
    if (functions.size === MAX_CACHED_FUNCTIONS) {
      const [oldest] = functions;
      functions.delete(oldest as number);
      channel.send(EVICT_FUNCTION, oldest);
    }
    functions.add(id);
    channel.send(USE_FUNCTION, id);
    this.#currentFunctionId = id;
    try {
      channel.send(FUNCTION, reference, "fn", channel);
    } catch (error) {
      channel.send(FUNCTION_UNSENDABLE, error); // a captured value has changed since the first use
    }
  }

  /** Delivers messages in order, even if one of them waits for its modules. */
  #receive(frame: Frame): void {
    this.#receivedCount++;
    if (this.#held.length === 0 && areLoaded(frame.modules)) return this.#deliver(frame);
    this.#held.push(frame);
    if (this.#held.length === 1) void this.#deliverHeld();
  }

  async #deliverHeld(): Promise<void> {
    const held = this.#held;
    for (let frame = held[0]; frame !== undefined; frame = held[0]) {
      const failure = await loadModules(frame.modules).then(
        () => undefined,
        (error) => ({ error }),
      );
      this.#deliver(frame, failure);
      held.shift();
    }
    if (this.#channel?.closed) this.#allDelivered();
  }

  #deliver(frame: Frame, failure?: { readonly error: unknown }): void {
    this.#handlers.message(frame.kind, frame.size, () => {
      if (failure === undefined) return this.#decode(frame);
      try {
        this.#decode(frame); // the message may define shapes that later messages use
      } catch {} // `failure` is the cause, and is thrown below
      throw failure.error;
    });
  }

  #decode(frame: Frame): unknown {
    const channel = this.#channel as Channel;
    try {
      return channel.decode(frame);
    } catch (error) {
      if (error instanceof ProtocolError) {
        this.#error = error;
        channel.destroy(error);
        this.kill();
      }
      throw error;
    }
  }

  #allDelivered = (): void => {};

  #closed(done: () => void): void {
    this.#allDelivered = done;
    if (this.#held.length === 0) done();
    // A worker without a channel is useless.
    if (!this.#isStopping) host.timer(() => this.kill(), CHANNEL_DRAIN_MS, false);
  }

  async #run(): Promise<void> {
    let close = (): void => {};
    const closed = new Promise<void>((resolve) => {
      close = resolve;
    });
    let exit: WorkerExit = { exitCode: null, signal: null, complete: false };
    try {
      exit = await this.backend.run((channel) => {
        this.#channel = channel;
        channel.start({ message: (frame) => this.#receive(frame), closed: () => this.#closed(close) });
        this.#initialize(channel);
      });
      // The last messages of the worker may still be in the channel.
      if (this.#channel !== undefined) await this.#drainChannel(this.#channel, closed);
    } catch (error) {
      this.#error ??= error;
    }
    this.#handlers.exited({ ...exit, error: this.#error ?? exit.error });
  }

  /** Waits for the end of the channel, as long as messages arrive. */
  async #drainChannel(channel: Channel, closed: Promise<void>): Promise<void> {
    let receivedCount = this.#receivedCount;
    let cancel = (): void => {};
    const check = (): void => {
      if (this.#receivedCount === receivedCount) return channel.destroy();
      receivedCount = this.#receivedCount;
      cancel = host.timer(check, CHANNEL_DRAIN_MS, false);
    };
    cancel = host.timer(check, CHANNEL_DRAIN_MS, false);
    await closed;
    cancel();
  }
}
