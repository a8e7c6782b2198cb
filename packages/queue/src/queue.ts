/** The class `Queue`. It checks the arguments and decodes the items; its backend does the rest. */
import {
  type AtForkHooks,
  areLoaded,
  checkOptions,
  checkWaitOptions,
  decodeMessage,
  type EndpointAddress,
  loadModules,
  makeShareable,
  registerAtFork,
  registerLibraryModule,
  type SharedHandle,
  type WaitOptions,
} from "@multiproc/core/internal";
import type { BlockOptions, BlockSyncOptions, Question, QueueBackend, QueueState } from "./backend.ts";
import { QueueClosedError, QueueShutDownError } from "./errors.ts";
import { LocalBackend } from "./local-backend.ts";
import { RemoteBackend } from "./remote-backend.ts";

/** The module that a receiver loads to rebuild a queue. */
export const MODULE: string = registerLibraryModule(import.meta.url, "@multiproc/queue");

/** The class of the object that a receiver creates from the handle of a queue. */
export type QueueKind = "Queue" | "JoinableQueue" | "SimpleQueue";

const SYNC_OPTIONS = ["block", "timeout"];
const OPTIONS = [...SYNC_OPTIONS, "signal"];
/**
 * The default options of `put()` and `get()`. They are a constant, so that a call without options
 * neither allocates nor checks any.
 */
const NO_OPTIONS: BlockOptions = {};
const NON_BLOCKING: BlockOptions = { block: false };

/**
 * Sends a question to the owner process, for `JoinableQueue`. The class below sets this function,
 * because the function uses private members.
 */
export let askBackend: <T>(
  queue: Queue<T>,
  call: string,
  question: Question,
  argument?: unknown,
  options?: WaitOptions,
) => Promise<unknown>;
/**
 * Returns the handle from which a receiver creates a queue of the class `kind`. The class below sets
 * this function.
 */
export let toHandle: <T>(queue: Queue<T>, kind: QueueKind) => SharedHandle;
/** The hooks that give a queue in a forked child a new backend. The class below sets them. */
let AT_FORK_HOOKS: AtForkHooks<Queue<never>>;

/**
 * A first-in-first-out queue for any number of producers and consumers in any processes.
 *
 * The process that creates a queue owns it, and the items end with that process. Other processes get the queue as an
 * argument, or inside any value that is sent. `put()` encodes the item, and one consumer gets it. No
 * item is lost if a consumer dies while it waits, or while an item is on its way to it. An item
 * belongs to the queue as soon as `put()` resolves, even if the producer dies right after. The
 * README of the package has the delivery guarantees in full.
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
  /** The endpoint that a forked child dials. It is exposed before the fork. */
  #endpoint: EndpointAddress | undefined;

  static {
    askBackend = (queue, ...args) => queue.#ask(...args);
    toHandle = (queue, kind) => queue.#toHandle(kind);
    makeShareable(this, (queue) => queue.#toHandle("Queue"));
    AT_FORK_HOOKS = {
      prepare(queue) {
        if (!queue.#closed) queue.#endpoint = queue.#backend.endpoint();
      },
      inChild(queue) {
        const { maxSize, ownerPid, ringAddress } = queue.#backend;
        // A closed queue has no endpoint, and never dials.
        const endpoint = queue.#endpoint ?? { socketPath: "", token: "" };
        queue.#backend = new RemoteBackend({ endpoint, ownerPid, maxSize, ringAddress });
      },
    };
  }

  /**
   * Creates an empty queue that this process owns.
   *
   * @param maxSize the number of items that it holds before `put()` waits; 0 for any number
   * @default maxSize 0
   * @throws {RangeError} if `maxSize` is not a whole number, 0 or more
   */
  constructor(maxSize: number = 0) {
    // JoinableQueue, and the reviver of a queue that was received, pass a backend instead.
    this.#backend = isBackend(maxSize) ? maxSize : new LocalBackend(maxSize);
    registerAtFork(this as object, AT_FORK_HOOKS as AtForkHooks<object>);
  }

  /**
   * Puts an item; waits while the queue is full. The item is encoded at once, except for binary
   * parts of 64 KiB and more. Do not change such parts before the promise settles.
   *
   * @throws {SendError} if the item cannot be sent
   * @throws {QueueFullError} if the queue is full and `block` is false or the timeout expired; the
   * error has the item
   * @throws {QueueShutDownError} after `shutdown()`
   * @throws {QueueClosedError} after `close()`, or if the owner process of the queue is gone
   */
  put(item: T, options: BlockOptions = NO_OPTIONS): Promise<void> {
    return this.#put("put()", item, options);
  }

  /**
   * Puts an item if the queue is not full at this moment.
   *
   * @throws as {@link Queue.put}
   */
  putNowait(item: T): Promise<void> {
    return this.#put("putNowait()", item, NON_BLOCKING);
  }

  /**
   * Takes the next item; waits while the queue is empty.
   *
   * @throws {QueueEmptyError} if the queue is empty and `block` is false or the timeout expired
   * @throws {QueueShutDownError} after `shutdown()`, once the queue is empty
   * @throws {QueueClosedError} after `close()`, or if the owner process of the queue is gone
   */
  get(options: BlockOptions = NO_OPTIONS): Promise<T> {
    return this.#get("get()", options);
  }

  /**
   * Takes the next item if the queue has one at this moment.
   *
   * @throws as {@link Queue.get}
   */
  getNowait(): Promise<T> {
    return this.#get("getNowait()", NON_BLOCKING);
  }

  /**
   * Takes the next item; blocks this thread while the queue is empty. Use it in a child that has
   * nothing else to do: while the thread is blocked, no timer fires and no message arrives.
   *
   * @throws {CapabilityError} if the call would wait and the items are not in shared memory (see
   * {@link Queue.backend}). The items of a `JoinableQueue` never are.
   * @throws {CapabilityError} if the item needs a module that is not loaded in this process; the
   * item stays in the queue
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
   *   queue.getSync(); // no other process has the queue, so this call would wait for ever
   * } catch (error) {
   *   console.log(error instanceof CapabilityError); // true
   * }
   * ```
   */
  getSync(options: BlockSyncOptions = NO_OPTIONS): T {
    this.#assertOpen("getSync()");
    if (options !== NO_OPTIONS) checkBlock("getSync()", options, SYNC_OPTIONS);
    return decodeMessage(this.#backend.getSync("getSync()", options)) as T;
  }

  /**
   * Puts an item; blocks this thread while the queue is full, or while its shared memory is.
   *
   * @throws {CapabilityError} if the call would wait and the items are not in shared memory (see
   * {@link Queue.backend}); for an item of more than 8 MiB; and while earlier puts of this process
   * are unfinished
   * @throws as {@link Queue.put}
   */
  putSync(item: T, options: BlockSyncOptions = NO_OPTIONS): void {
    this.#assertOpen("putSync()");
    if (options !== NO_OPTIONS) checkBlock("putSync()", options, SYNC_OPTIONS);
    this.#backend.putSync("putSync()", item, options);
  }

  /**
   * Returns the number of items that were put and not taken, at this moment.
   *
   * @throws {CapabilityError} in a process that does not own the queue, unless the items are in
   * shared memory (see {@link Queue.backend}). {@link Queue.state} works everywhere.
   * @throws {QueueClosedError} as {@link Queue.get}
   */
  qsize(): number {
    return this.#sizeNow("qsize()", "size");
  }

  /**
   * Whether the queue is empty at this moment.
   *
   * @throws as {@link Queue.qsize}
   */
  empty(): boolean {
    return this.#sizeNow("empty()", "isEmpty") === 0;
  }

  /**
   * Whether the queue is full at this moment. An unbounded queue is never full.
   *
   * @throws as {@link Queue.qsize}
   */
  full(): boolean {
    return isFull(this.#sizeNow("full()", "isFull"), this.#backend.maxSize);
  }

  /**
   * Reports the state of the queue at this moment. It works in every process: where `qsize()`,
   * `empty()` and `full()` cannot read the state at once, this method asks the owner process.
   *
   * @throws {QueueClosedError} as {@link Queue.get}
   */
  async state(): Promise<QueueState> {
    const size = (await this.#ask("state()", "size")) as number;
    const { maxSize } = this.#backend;
    return { size, maxSize, isEmpty: size === 0, isFull: isFull(size, maxSize) };
  }

  /**
   * Shuts the queue down for every process. Every later `put()` rejects, and so does every `put()`
   * that waits. `get()` rejects once the queue is empty. The promise settles when no process can put
   * an item any more. It may have to wait for a producer that computes and receives no messages.
   *
   * @param options `immediate` drops the remaining items; tasks among them count as done
   * @throws {QueueClosedError} as {@link Queue.get}
   */
  async shutdown(options: { readonly immediate?: boolean } = {}): Promise<void> {
    checkOptions("shutdown()", options, ["immediate"], { force: "immediate", now: "immediate" });
    await this.#ask("shutdown()", "shutdown", options.immediate === true);
  }

  /**
   * Reports where the items are at this moment: in `"shared-memory"` or in the `"broker"`. All
   * processes of the queue map the shared memory, which is by far the fastest. The broker is in the
   * owner process, and forwards the items as messages.
   *
   * The items move into shared memory when the queue is sent to another process, on Linux where the
   * runtime may make system calls. The items of a `JoinableQueue` never do. An item of more than 8 MiB
   * moves them to the broker for good. So does a full memory from which no process takes items. The
   * README of the package lists all such cases. Both backends behave alike.
   *
   * @throws {QueueClosedError} as {@link Queue.get}
   */
  async backend(): Promise<"shared-memory" | "broker"> {
    this.#assertOpen("backend()");
    return this.#backend.backend();
  }

  /** Settles when the operating system has every item that this process put. */
  async flush(): Promise<void> {
    await this.#backend.flush();
  }

  /**
   * Releases the queue in this process, and ends the waits in it. Other processes and the items are
   * not affected.
   */
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

  /** Waits for {@link Queue.flush}, then releases the queue in this process. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#closed) await this.flush();
    this.close();
  }

  #toHandle(kind: QueueKind): SharedHandle {
    this.#assertOpen("Sending a queue");
    const { socketPath, token } = this.#backend.endpoint();
    return {
      kind: "queue.Queue",
      module: MODULE,
      data: [socketPath, token, this.#backend.ownerPid, this.#backend.maxSize, kind, this.#backend.ringAddress],
      commit: (scope) => this.#backend.sentTo(scope),
    };
  }

  async #ask(call: string, question: Question, argument?: unknown, options: WaitOptions = {}): Promise<unknown> {
    this.#assertOpen(call);
    checkWaitOptions(call, options);
    options.signal?.throwIfAborted();
    return this.#backend.ask(call, question, argument, options);
  }

  #put(call: string, item: T, options: BlockOptions): Promise<void> {
    try {
      this.#assertOpen(call);
      if (options !== NO_OPTIONS) checkBlock(call, options);
      return this.#backend.put(call, item, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #get(call: string, options: BlockOptions): Promise<T> {
    this.#assertOpen(call);
    if (options !== NO_OPTIONS) checkBlock(call, options);
    const frame = this.#backend.take() ?? (await this.#backend.get(call, options));
    if (!areLoaded(frame.modules)) await loadModules(frame.modules);
    return decodeMessage(frame) as T;
  }

  #sizeNow(call: string, property: keyof QueueState): number {
    this.#assertOpen(call);
    return this.#backend.sizeNow(call, `(await queue.state()).${property}`);
  }

  #assertOpen(call: string): void {
    if (this.#closed) throw new QueueClosedError(`${call} was called on a queue after close()`);
  }
}

function isBackend(value: unknown): value is QueueBackend {
  return value instanceof LocalBackend || value instanceof RemoteBackend;
}

function isFull(size: number, maxSize: number): boolean {
  return maxSize > 0 && size >= maxSize;
}

function checkBlock(call: string, options: BlockOptions, known: readonly string[] = OPTIONS): void {
  if (options === NON_BLOCKING) return;
  checkWaitOptions(call, options, known);
  const { block, signal } = options;
  if (block !== undefined && typeof block !== "boolean")
    throw new TypeError(`${call} takes block as true or false, not ${String(block)}`);
  signal?.throwIfAborted();
}
