/** The queue that users hold: it checks what it is asked and turns it into what its link does. */
import {
  type AtForkHooks,
  areLoaded,
  checkTimeout,
  decodeMessage,
  type EndpointAddress,
  loadModules,
  makeShareable,
  registerAtFork,
  registerLibraryModule,
  type SharedHandle,
  type WaitOptions,
} from "@multiproc/core/internal";
import type { BlockOptions, BlockSyncOptions, Question, QueueBackend } from "./backend.ts";
import { QueueClosedError, QueueShutDownError } from "./errors.ts";
import { LocalBackend } from "./local-backend.ts";
import { RemoteBackend } from "./remote-backend.ts";

/** The module that a receiver loads to get queues. */
export const MODULE: string = registerLibraryModule(import.meta.url, "@multiproc/queue");
/** Set by the class, whose private parts it uses. */
let AT_FORK_HOOKS: AtForkHooks<Queue<never>>;

/**
 * A first-in-first-out queue for any number of producers and consumers in any processes.
 *
 * The process that makes it is its home and keeps the items; it is given to others as an argument, or inside any value that
 * is sent. An item is encoded when it is put. It is delivered to one consumer: one that dies while it waits, or while an item
 * is on its way to it, has lost nothing. What `put()` resolved for is the queue's, also when the producer dies right after.
 * What exactly that means is told in the package's README.
 *
 * @typeParam T the items
 *
 * @example A queue that a child fills
 * ```ts
 * // file: tasks.ts
 * import { task } from "@multiproc/core";
 * import type { Queue } from "@multiproc/queue";
 *
 * export const produce = task(import.meta.url, async function produce(queue: Queue<number>) {
 *   for (let i = 1; i <= 3; i++) await queue.put(i * i);
 *   await queue.shutdown();
 * });
 * // file: main.ts
 * import { Process } from "@multiproc/process";
 * import { Queue } from "@multiproc/queue";
 * import { produce } from "./tasks.ts";
 *
 * const queue = new Queue<number>();
 * const child = new Process({ target: produce, args: [queue] });
 * await child.start();
 * for await (const square of queue) console.log(square); // 1, 4, 9
 * await child.join();
 * ```
 */
export class Queue<T = unknown> implements AsyncIterable<T> {
  #backend: QueueBackend;
  #closed = false;
  /** How a forked child reaches the items. */
  #endpoint: EndpointAddress | undefined;

  /**
   * Makes an empty queue, whose home is this process.
   *
   * @param maxSize how many items it holds before `put()` waits; 0 for any number
   * @default maxSize 0
   * @throws {RangeError} for anything but a whole number from 0
   */
  constructor(maxSize: number = 0) {
    // Whoever makes a queue of another kind, or one whose items are elsewhere, gives the link to them instead.
    this.#backend = isBackend(maxSize) ? maxSize : new LocalBackend(maxSize);
    registerAtFork(this as object, AT_FORK_HOOKS as AtForkHooks<object>);
  }

  static {
    AT_FORK_HOOKS = {
      prepare(queue) {
        if (!queue.#closed) queue.#endpoint = queue.#backend.endpoint();
      },
      inChild(queue) {
        const { maxSize, ownerPid, ringAddress: ring } = queue.#backend;
        // A closed queue is never dialed.
        const endpoint = queue.#endpoint ?? { socketPath: "", token: "" };
        queue.#backend = new RemoteBackend({ endpoint, ownerPid, maxSize, ringAddress: ring });
      },
    };
  }

  /** What a receiver makes of it. @internal */
  protected kind(): string {
    return "Queue";
  }

  /**
   * Puts an item; waits while the queue is full. It is encoded at once, but for binary parts of 64 KiB and more, which may be
   * reused when the promise has settled.
   *
   * @throws {SendError} if the item cannot be sent
   * @throws {QueueFullError} if there is no room and `block` is false, or the time ran out; the item is in the error
   * @throws {QueueShutDownError} after `shutdown()`
   * @throws {QueueClosedError} after `close()`, or if the queue's home process is gone
   */
  put(item: T, options: BlockOptions = {}): Promise<void> {
    return this.#put("put()", item, options);
  }

  /**
   * Puts an item if there is room at this moment.
   *
   * @throws as {@link Queue.put}
   */
  putNowait(item: T): Promise<void> {
    return this.#put("putNowait()", item, { block: false });
  }

  /**
   * Takes the next item; waits while the queue is empty.
   *
   * @throws {QueueEmptyError} if there is none and `block` is false, or the time ran out
   * @throws {QueueShutDownError} after `shutdown()`, once the queue is empty
   * @throws {QueueClosedError} after `close()`, or if the queue's home process is gone
   */
  get(options: BlockOptions = {}): Promise<T> {
    return this.#get("get()", options);
  }

  /**
   * Takes the next item if there is one at this moment.
   *
   * @throws as {@link Queue.get}
   */
  getNowait(): Promise<T> {
    return this.#get("getNowait()", { block: false });
  }

  /**
   * Takes the next item; blocks this thread while the queue is empty. For code in a child that has nothing else to do: neither
   * timers nor messages are heard meanwhile.
   *
   * @throws {CapabilityError} unless the items are in memory (see {@link Queue.backend}), which those of a `JoinableQueue` never
   * are; and for an item that needs a module which is not loaded here: it stays in the queue
   * @throws as {@link Queue.get}
   *
   * @example
   * ```ts
   * import { CapabilityError } from "@multiproc/core";
   * import { Queue } from "@multiproc/queue";
   *
   * const queue = new Queue<number>();
   * queue.putSync(1);
   * console.log(queue.getSync()); // 1
   * try {
   *   queue.getSync(); // nobody else has the queue, so this would wait for ever
   * } catch (error) {
   *   console.log(error instanceof CapabilityError); // true
   * }
   * ```
   */
  getSync(options: BlockSyncOptions = {}): T {
    this.#assertOpen("getSync()");
    return decodeMessage(this.#backend.getSync("getSync()", options)) as T;
  }

  /**
   * Puts an item; blocks this thread while the queue is full, or has so much in it that there is no room in memory.
   *
   * @throws {CapabilityError} unless the items are in memory (see {@link Queue.backend}), for an item of more than 8 MiB, and while
   * items that were put before are still on their way
   * @throws as {@link Queue.put}
   */
  putSync(item: T, options: BlockSyncOptions = {}): void {
    this.#assertOpen("putSync()");
    this.#backend.putSync("putSync()", item, options);
  }

  /**
   * How many items are in the queue at this moment: those that were put and that nobody has taken.
   *
   * @throws {QueueClosedError} as {@link Queue.get}
   */
  async qsize(): Promise<number> {
    return (await this.ask("qsize()", "size")) as number;
  }

  /**
   * Whether the queue is empty at this moment.
   *
   * @throws {QueueClosedError} as {@link Queue.get}
   */
  async empty(): Promise<boolean> {
    return (await this.ask("empty()", "size")) === 0;
  }

  /**
   * Whether the queue is full at this moment; never, if it holds any number.
   *
   * @throws {QueueClosedError} as {@link Queue.get}
   */
  async full(): Promise<boolean> {
    return (await this.ask("full()", "full")) as boolean;
  }

  /**
   * Shuts the queue down for everyone: `put()` throws from now on, and `get()` does once the queue is empty. Those who wait
   * for room hear of it at once. It settles when no process puts any more, so one that puts and is too busy to hear of it
   * holds it up.
   *
   * @param options `immediate` drops the items that are still there; tasks among them count as done
   * @throws {QueueClosedError} as {@link Queue.get}
   */
  async shutdown(options: { readonly immediate?: boolean } = {}): Promise<void> {
    await this.ask("shutdown()", "shutdown", options.immediate === true);
  }

  /**
   * Where the items are at this moment: in `"memory"` that all processes of the queue share, which is much the fastest, or with
   * its `"home"` process, which passes them on.
   *
   * They are in memory once the queue is given to another process, where the system and all processes have what that takes
   * (Linux, and the right to call the system), unless the items are tasks. They move to the home for good when one of
   * more than 8 MiB is put, or more are put than memory was reserved for while nobody takes any. Nothing else differs.
   *
   * @throws {QueueClosedError} as {@link Queue.get}
   */
  async backend(): Promise<"memory" | "home"> {
    this.#assertOpen("form()");
    return this.#backend.backend();
  }

  /** Settles when the system has all that was put here. */
  async flush(): Promise<void> {
    await this.#backend.flush();
  }

  /** Releases the queue in this process, and ends the waits in it; others, and the items, are not touched. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#backend.close();
  }

  /** Takes items until the queue is shut down and empty. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    while (true) {
      let item: T;
      try {
        item = await this.get();
      } catch (error) {
        if (error instanceof QueueShutDownError) return;
        throw error;
      }
      yield item;
    }
  }

  /** Releases the queue in this process. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** Releases the queue in this process, when the system has all that was put here. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#closed) await this.flush();
    this.close();
  }

  static {
    makeShareable(this, (queue) => queue.#toHandle());
  }

  #toHandle(): SharedHandle {
    this.#assertOpen("Sending a queue");
    const { socketPath, token } = this.#backend.endpoint();
    return {
      kind: "queue.Queue",
      module: MODULE,
      data: [socketPath, token, this.#backend.ownerPid, this.#backend.maxSize, this.kind(), this.#backend.ringAddress],
      commit: (scope) => this.#backend.sentTo(scope),
    };
  }

  /** @internal */
  protected async ask(
    call: string,
    question: Question,
    argument?: unknown,
    options: WaitOptions = {},
  ): Promise<unknown> {
    this.#assertOpen(call);
    checkWait(call, options);
    return this.#backend.ask(call, question, argument, options);
  }

  #put(call: string, item: T, options: BlockOptions): Promise<void> {
    try {
      this.#assertOpen(call);
      checkWait(call, options);
      return this.#backend.put(call, item, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #get(call: string, options: BlockOptions): Promise<T> {
    this.#assertOpen(call);
    checkWait(call, options);
    const frame = this.#backend.take() ?? (await this.#backend.get(call, options));
    if (!areLoaded(frame.modules)) await loadModules(frame.modules);
    return decodeMessage(frame) as T;
  }

  #assertOpen(call: string): void {
    if (this.#closed) throw new QueueClosedError(`${call} was called on a queue after close()`);
  }
}

/** What a receiver makes of a queue. */
export type QueueKind = "Queue" | "JoinableQueue" | "SimpleQueue";

function isBackend(value: unknown): value is QueueBackend {
  return value instanceof LocalBackend || value instanceof RemoteBackend;
}

function checkWait(call: string, { timeout, signal }: WaitOptions): void {
  if (timeout !== undefined) checkTimeout(call, timeout);
  signal?.throwIfAborted();
}
