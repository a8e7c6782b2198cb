/** A worker as its pool sees it: a process, and the channel to it. */
import { fromModule, ProtocolError, StartError } from "@multiproc/core";
import {
  areLoaded,
  type Channel,
  childModules,
  type Frame,
  host,
  type Invitation,
  invite,
  loadModules,
  revoke,
} from "@multiproc/core/internal";
import { Process, type ProcessOptions } from "@multiproc/process";
import type { KnownFunction } from "./functions.ts";
import type { WorkTask } from "./jobs.ts";
import {
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
} from "./protocol.ts";

const WORKER = new URL(`./worker${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url);
const { work } = fromModule<{ work(invitation: Invitation): Promise<void> }>(WORKER);
childModules.add(WORKER.href);

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
  gone(end: LinkEnd): void;
}

/** How a worker ended. */
export interface LinkEnd {
  /** Why it could not be started, or had to be ended. */
  readonly error: unknown;
  readonly exitCode: number | null;
  readonly signal: string | null;
}

/** How a worker is started. */
export type LinkOptions = Omit<ProcessOptions<[Invitation]>, "target" | "args" | "daemon" | "signal">;

/** A worker process and the channel to it. */
export class WorkerLink {
  readonly process: Process<[Invitation]>;
  readonly #init: Init;
  readonly #handlers: LinkHandlers;
  /** Ends a start that is under way. */
  readonly #start = new AbortController();
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

  constructor(options: LinkOptions, init: Init, handlers: LinkHandlers) {
    this.#init = init;
    this.#handlers = handlers;
    let close = (): void => {};
    const closed = new Promise<void>((resolve) => {
      close = resolve;
    });
    const invitation = invite((channel) => {
      this.#channel = channel;
      channel.start({ message: (frame) => this.#receive(frame), closed: () => this.#closed(close) });
      this.#initialize(channel);
    });
    this.process = new Process({
      ...options,
      target: work,
      args: [invitation],
      daemon: true,
      signal: this.#start.signal,
    });
    void this.#live(invitation, closed);
  }

  get pid(): number {
    return this.process.pid ?? 0;
  }

  /** Sends a task. */
  send(task: WorkTask): void {
    const channel = this.#channel;
    // It is gone, and that is on its way to be told.
    if (channel === undefined || channel.closed) return;
    if (this.#named !== task.fn.id) this.#name(channel, task.fn);
    if (task.context !== undefined) {
      channel.forward(CONTEXT, task.context.frame);
      task.context.commit(channel);
    }
    if (task.isPart) channel.send(RANGE, [task.answered, task.items]);
    channel.forward(taskKind(task.kind, task.care, task.isSettling), task.message.frame);
    task.message.commit(channel);
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

  /** Ends it by SIGTERM, and if that does not help in time, by SIGKILL. */
  terminate(graceMs: number): void {
    this.#isStopping = true;
    if (this.process.pid === undefined) return this.kill();
    this.process.terminate();
    host.timer(() => this.kill(), graceMs, false);
  }

  /** Ends it by SIGKILL. */
  kill(): void {
    this.#isStopping = true;
    if (this.process.pid === undefined)
      this.#start.abort(new StartError(`${this.process.name} is not needed any more`));
    else this.process.kill();
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

  async #live(invitation: Invitation, closed: Promise<void>): Promise<void> {
    try {
      await this.process.start();
      if (this.#start.signal.aborted) this.process.kill();
      await this.process.sentinel.ended;
      // What it sent before its end is in the channel, which ends after that.
      if (this.#channel !== undefined) await this.#heardOut(this.#channel, closed);
    } catch (error) {
      this.#error ??= error;
    }
    revoke(invitation);
    const { exitCode, signal } = this.process;
    this.#handlers.gone({ error: this.#error, exitCode, signal });
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
