/** A worker as its pool sees it: a process or a thread, and the channel to it. */
import { ProtocolError } from "@multiproc/core";
import { areLoaded, type Channel, type Frame, host, loadModules } from "@multiproc/core/internal";
import type { Letter } from "../functions/encoded-payload.ts";
import type { KnownFunction } from "../functions/function-table.ts";
import type { WorkTask } from "../jobs/job.ts";
import {
  CALL,
  CONTEXT,
  DROP,
  FORGET,
  FUNCTION,
  INIT,
  type Init,
  NAME,
  NO_FUNCTION,
  RANGE,
  RECALL,
  SHARE,
  STOP,
  taskKind,
} from "../protocol.ts";
import type { BodyEnd, WorkerBody } from "./worker-backend.ts";

const LOOSE_CALL = taskKind(CALL, "loose");
/** How many functions a worker keeps. */
const MAX_FUNCTIONS = 256;
/** How long the end of a process and the end of its channel may be apart with nothing arriving, in milliseconds. */
const APART = 1000;

/** What a worker tells its pool. */
export interface LinkHandlers {
  /**
   * A message.
   *
   * @param size how many bytes it holds
   * @param read what it holds; to be called before the handler returns. Throws if that cannot be had in this process
   */
  message(kind: number, size: number, read: () => unknown): void;
  /** The worker is gone, and all that it sent has been told. */
  gone(end: BodyEnd): void;
}

/** A worker that was started, or was to be, and the channel to it. */
export class WorkerLink {
  readonly body: WorkerBody;
  readonly #init: Init;
  readonly #handlers: LinkHandlers;
  #channel: Channel | undefined;
  /** Messages that wait for modules to be loaded, with those behind them. */
  readonly #held: Frame[] = [];
  /** The functions that the worker knows, the oldest first. */
  readonly #functions: Set<number> = new Set();
  /** The function that was named last. */
  #named = 0;
  /** How many messages it has sent. */
  #count = 0;
  #isStopping = false;
  #error: unknown;

  constructor(body: WorkerBody, init: Init, handlers: LinkHandlers) {
    this.body = body;
    this.#init = init;
    this.#handlers = handlers;
    void this.#live();
  }

  /** The process, or the thread. */
  get pid(): number {
    return this.body.id ?? 0;
  }

  /** Sends a task. */
  send(task: WorkTask): void {
    const channel = this.#channel;
    // It is gone, and that is on its way to be told.
    if (channel === undefined || channel.closed) return;
    if (this.#named !== task.fn.id) this.#name(channel, task.fn);
    task.context?.sendTo(channel, CONTEXT);
    if (task.isPart) channel.send(RANGE, [task.answered, task.items]);
    task.letter.sendTo(channel, taskKind(task.kind, task.care, task.isSettling));
  }

  /** Sends a short call that is no task of its own. */
  sendBrief(call: Letter & { readonly fn: KnownFunction }): void {
    const channel = this.#channel;
    if (channel === undefined || channel.closed) return;
    if (this.#named !== call.fn.id) this.#name(channel, call.fn);
    call.sendTo(channel, LOOSE_CALL);
  }

  /** Tells the worker that nobody wants a task any more. */
  drop(task: WorkTask): void {
    const channel = this.#channel;
    if (channel === undefined || channel.closed) return;
    try {
      channel.send(DROP, [task.ordinal, task.dropReason], "reason");
    } catch {
      channel.send(DROP, [task.ordinal, new DOMException("The task was cancelled", "AbortError")]);
    }
  }

  /** Asks it to give tasks back that it has not begun. */
  recall(tasks: readonly WorkTask[]): void {
    const channel = this.#channel;
    if (channel?.closed === false)
      channel.send(
        RECALL,
        tasks.map(({ ordinal }) => ordinal),
      );
  }

  /** Asks it to leave some of the items of a task to others. */
  share(task: WorkTask): void {
    if (this.#channel?.closed === false) this.#channel.send(SHARE, task.ordinal);
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
  terminate(graceMs: number): void {
    this.#isStopping = true;
    this.body.terminate();
    host.timer(() => this.kill(), graceMs, false);
  }

  /** Ends it. */
  kill(): void {
    this.#isStopping = true;
    this.body.kill();
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
  #name(channel: Channel, fn: KnownFunction): void {
    if (!this.#functions.has(fn.id)) return this.#introduce(channel, fn);
    channel.send(NAME, fn.id);
    this.#named = fn.id;
  }

  /** Sends a function to the worker; that it does not keep too many, the oldest is forgotten. */
  #introduce(channel: Channel, { id, reference }: KnownFunction): void {
    const functions = this.#functions;
    if (functions.size === MAX_FUNCTIONS) {
      const [oldest] = functions;
      functions.delete(oldest as number);
      channel.send(FORGET, oldest);
    }
    functions.add(id);
    channel.send(NAME, id);
    this.#named = id;
    try {
      channel.send(FUNCTION, reference, "fn", channel);
    } catch (error) {
      channel.send(NO_FUNCTION, error); // what it captures has changed since it was first used
    }
  }

  /** Messages are told in order, also when one of them has to wait for its modules. */
  #receive(frame: Frame): void {
    this.#count++;
    if (this.#held.length === 0 && areLoaded(frame.modules)) return this.#tell(frame);
    this.#held.push(frame);
    if (this.#held.length === 1) void this.#tellHeld();
  }

  async #tellHeld(): Promise<void> {
    const held = this.#held;
    for (let frame = held[0]; frame !== undefined; frame = held[0]) {
      const failure = await loadModules(frame.modules).then(
        () => undefined,
        (error) => ({ error }),
      );
      this.#tell(frame, failure);
      held.shift();
    }
    if (this.#channel?.closed) this.#toldAll();
  }

  #tell(frame: Frame, failure?: { readonly error: unknown }): void {
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

  #toldAll = (): void => {};

  #closed(done: () => void): void {
    this.#toldAll = done;
    if (this.#held.length === 0) done();
    // A worker without its channel is of no use.
    if (!this.#isStopping) host.timer(() => this.kill(), APART, false);
  }

  async #live(): Promise<void> {
    let close = (): void => {};
    const closed = new Promise<void>((resolve) => {
      close = resolve;
    });
    let end: BodyEnd = { exitCode: null, signal: null, told: false };
    try {
      end = await this.body.live((channel) => {
        this.#channel = channel;
        channel.start({ message: (frame) => this.#receive(frame), closed: () => this.#closed(close) });
        this.#initialize(channel);
      });
      // What it sent before its end is in the channel, which ends after that.
      if (this.#channel !== undefined) await this.#heardOut(this.#channel, closed);
    } catch (error) {
      this.#error ??= error;
    }
    this.#handlers.gone({ ...end, error: this.#error ?? end.error });
  }

  /** Waits for the end of the channel, which something may keep open that the worker has started; not while there is still something to read. */
  async #heardOut(channel: Channel, closed: Promise<void>): Promise<void> {
    let count = this.#count;
    let cancel = (): void => {};
    const check = (): void => {
      if (this.#count === count) return channel.destroy();
      count = this.#count;
      cancel = host.timer(check, APART, false);
    };
    cancel = host.timer(check, APART, false);
    await closed;
    cancel();
  }
}
