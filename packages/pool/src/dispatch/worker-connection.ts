/** A worker as its pool sees it: a process or a thread, and the channel to it. */
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
/** How many functions a worker keeps. */
const MAX_FUNCTIONS = 256;
/** How long the end of a process and the end of its channel may be apart with nothing arriving, in milliseconds. */
const CHANNEL_DRAIN_MS = 1000;

/** What a worker tells its pool. */
export interface WorkerConnectionHandlers {
  /**
   * A message.
   *
   * @param size how many bytes it holds
   * @param read what it holds; to be called before the handler returns. Throws if that cannot be had in this process
   */
  message(kind: number, size: number, read: () => unknown): void;
  /** The worker is gone, and all that it sent has been told. */
  exited(exit: WorkerExit): void;
}

/** A worker that was started, or was to be, and the channel to it. */
export class WorkerConnection {
  readonly backend: WorkerBackend;
  readonly #init: Init;
  readonly #handlers: WorkerConnectionHandlers;
  #channel: Channel | undefined;
  /** Messages that wait for modules to be loaded, with those behind them. */
  readonly #held: Frame[] = [];
  /** The functions that the worker knows, the oldest first. */
  readonly #functions: Set<number> = new Set();
  /** The function that was named last. */
  #currentFunctionId = 0;
  /** How many messages it has sent. */
  #receivedCount = 0;
  #isStopping = false;
  #error: unknown;

  constructor(backend: WorkerBackend, init: Init, handlers: WorkerConnectionHandlers) {
    this.backend = backend;
    this.#init = init;
    this.#handlers = handlers;
    void this.#run();
  }

  /** The process, or the thread. */
  get pid(): number {
    return this.backend.id ?? 0;
  }

  /** Sends a task. */
  send(task: WorkTask): void {
    const channel = this.#channel;
    // It is gone, and that is on its way to be told.
    if (channel === undefined || channel.closed) return;
    if (this.#currentFunctionId !== task.fn.id) this.#useFunction(channel, task.fn);
    task.context?.sendTo(channel, CONTEXT);
    if (task.isPart) channel.send(RANGE, [task.answeredCount, task.itemCount]);
    task.payload.sendTo(channel, taskKind(task.kind, task.ackMode, task.isSettling));
  }

  /** Sends a short call that is no task of its own. */
  sendLazyTask(call: EncodedPayload & { readonly fn: KnownFunction }): void {
    const channel = this.#channel;
    if (channel === undefined || channel.closed) return;
    if (this.#currentFunctionId !== call.fn.id) this.#useFunction(channel, call.fn);
    call.sendTo(channel, BATCHED_CALL);
  }

  /** Tells the worker that nobody wants a task any more. */
  cancel(task: WorkTask): void {
    const channel = this.#channel;
    if (channel === undefined || channel.closed) return;
    try {
      channel.send(CANCEL, [task.sequence, task.cancelReason], "reason");
    } catch {
      channel.send(CANCEL, [task.sequence, new DOMException("The task was cancelled", "AbortError")]);
    }
  }

  /** Asks it to give tasks back that it has not begun. */
  recall(tasks: readonly WorkTask[]): void {
    const channel = this.#channel;
    if (channel?.closed === false)
      channel.send(
        RECALL,
        tasks.map(({ sequence }) => sequence),
      );
  }

  /** Asks it to leave some of the items of a task to others. */
  split(task: WorkTask): void {
    if (this.#channel?.closed === false) this.#channel.send(SPLIT, task.sequence);
  }

  /** Hands what was sent to the system now. */
  flush(): void {
    this.#channel?.flush();
  }

  /** Has it end when it has done what it has. */
  stop(): void {
    this.#isStopping = true;
    if (this.#channel === undefined) this.kill();
    else if (!this.#channel.closed) this.#channel.send(STOP, undefined);
  }

  /** Asks it to end, and if that does not help in time, ends it. */
  terminate(gracePeriod: number): void {
    this.#isStopping = true;
    this.backend.terminate();
    host.timer(() => this.kill(), gracePeriod, false);
  }

  /** Ends it. */
  kill(): void {
    this.#isStopping = true;
    this.backend.kill();
  }

  #initialize(channel: Channel): void {
    try {
      channel.send(INIT, this.#init, "init", channel);
    } catch (error) {
      this.#error = error; // what moves to its receiver is there for one worker only
      this.kill();
    }
  }

  /** Names the function of the tasks that follow. */
  #useFunction(channel: Channel, fn: KnownFunction): void {
    if (!this.#functions.has(fn.id)) return this.#sendFunction(channel, fn);
    channel.send(USE_FUNCTION, fn.id);
    this.#currentFunctionId = fn.id;
  }

  /** Sends a function to the worker; that it does not keep too many, the oldest is forgotten. */
  #sendFunction(channel: Channel, { id, reference }: KnownFunction): void {
    const functions = this.#functions;
    if (functions.size === MAX_FUNCTIONS) {
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
      channel.send(FUNCTION_UNSENDABLE, error); // what it captures has changed since it was first used
    }
  }

  /** Messages are told in order, also when one of them has to wait for its modules. */
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
        this.#decode(frame); // the messages after it may refer to what it defines
      } catch {} // the reason for that is known
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
    // A worker without its channel is of no use.
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
      // What it sent before its end is in the channel, which ends after that.
      if (this.#channel !== undefined) await this.#drainChannel(this.#channel, closed);
    } catch (error) {
      this.#error ??= error;
    }
    this.#handlers.exited({ ...exit, error: this.#error ?? exit.error });
  }

  /** Waits for the end of the channel, which something may keep open that the worker has started; not while there is still something to read. */
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
