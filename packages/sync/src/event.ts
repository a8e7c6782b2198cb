import {
  checkTimeout,
  makeShareable,
  registerReviver,
  type SharedHandle,
  type SharedSegment,
  TIMED_OUT,
  type WaitOptions,
  WaitQueue,
  type WaitQueueOptions,
} from "@multiproc/core/internal";
import { MODULE } from "./module-id.ts";
import {
  addressOf,
  attachAt,
  backendOf,
  type MaybePromise,
  Primitive,
  type PrimitiveAddress,
  type PrimitiveKind,
  requireSharedMemory,
} from "./primitive.ts";
import type { PrimitiveClient } from "./remote/primitive-client.ts";
import type { Client, RequestHandler } from "./remote/primitive-server.ts";

/** An event that knows processes. */
interface EventBackend {
  isSet(call: string): MaybePromise<boolean>;
  set(call: string): MaybePromise<void>;
  clear(call: string): MaybePromise<void>;
  wait(call: string, options: WaitOptions): Promise<boolean>;
  waitSync(call: string, timeout: number | undefined): boolean;
}

const FLAG_WORD = 0;
/** How often it was set: whoever waits at that moment is let go, even if it is cleared right after. */
const SET_COUNT_WORD = 1;
const WAIT_QUEUE_WORD = 8;
const WAITER_SLOT_COUNT = 64;

class SharedEvent implements EventBackend, RequestHandler {
  readonly #words: Int32Array;
  readonly #waitQueue: WaitQueue;
  readonly #isShared: boolean;

  constructor(memory: SharedSegment) {
    this.#words = new Int32Array(memory.buffer);
    this.#waitQueue = new WaitQueue(memory, WAIT_QUEUE_WORD, WAITER_SLOT_COUNT);
    this.#isShared = memory.isShared;
  }

  isSet(): boolean {
    return Atomics.load(this.#words, FLAG_WORD) === 1;
  }

  set(): void {
    Atomics.add(this.#words, SET_COUNT_WORD, 1);
    Atomics.store(this.#words, FLAG_WORD, 1);
    this.#waitQueue.wake(Number.POSITIVE_INFINITY);
  }

  clear(): void {
    Atomics.store(this.#words, FLAG_WORD, 0);
  }

  wait(call: string, options: WaitQueueOptions): Promise<boolean> {
    return this.#waitQueue.wait(this.#createCondition(), call, options);
  }

  waitSync(call: string, timeout: number | undefined): boolean {
    const condition = this.#createCondition();
    if (condition() || timeout === 0) return condition();
    if (!this.#isShared) requireSharedMemory(call, "await wait()");
    return this.#waitQueue.waitSync(condition, timeout);
  }

  handle(_client: Client, operation: string, [call]: readonly unknown[], options: WaitQueueOptions): unknown {
    if (operation === "wait") return this.wait(call as string, options);
    return this[operation as "isSet" | "set" | "clear"]();
  }

  clientGone(): void {} // nobody holds anything

  #createCondition(): () => boolean {
    const setCount = Atomics.load(this.#words, SET_COUNT_WORD);
    return () => this.isSet() || Atomics.load(this.#words, SET_COUNT_WORD) !== setCount;
  }
}

class RemoteEvent implements EventBackend {
  readonly #client: PrimitiveClient;

  constructor(client: PrimitiveClient) {
    this.#client = client;
  }

  async isSet(call: string): Promise<boolean> {
    return (await this.#client.request(call, "isSet")) as boolean;
  }

  async set(call: string): Promise<void> {
    await this.#client.request(call, "set");
  }

  async clear(call: string): Promise<void> {
    await this.#client.request(call, "clear");
  }

  async wait(call: string, options: WaitOptions): Promise<boolean> {
    if (options.timeout === 0) return this.isSet(call);
    return (await this.#client.request(call, "wait", [call], options)) !== TIMED_OUT;
  }

  waitSync(call: string): boolean {
    return requireSharedMemory(call, "await wait()");
  }
}

const EVENT_KIND: PrimitiveKind<EventBackend> = {
  name: "Event",
  size: 4096,
  open: (memory) => new SharedEvent(memory),
  connect: (client) => new RemoteEvent(client),
};

/**
 * A flag that any number of processes can wait for.
 *
 * @example
 * ```ts
 * // file: tasks.ts
 * import { task } from "@multiproc/core";
 * import type { Event } from "@multiproc/sync";
 *
 * export const begin = task(import.meta.url, async function begin(go: Event) {
 *   await go.wait();
 *   console.log("off we go");
 * });
 * // file: main.ts
 * import { Process } from "@multiproc/process";
 * import { Event } from "@multiproc/sync";
 * import { begin } from "./tasks.ts";
 *
 * const go = new Event();
 * const child = new Process({ target: begin, args: [go] });
 * await child.start();
 * await go.set();
 * await child.join();
 * ```
 */
export class Event extends Primitive {
  /** Makes an event that is not set. */
  constructor() {
    super(EVENT_KIND);
  }

  /** Whether it is set at this moment. */
  isSet(): MaybePromise<boolean> {
    return backendOf<EventBackend>(this, "isSet()").isSet("isSet()");
  }

  /** Sets it, and lets all go who wait. */
  set(): MaybePromise<void> {
    return backendOf<EventBackend>(this, "set()").set("set()");
  }

  /** Has those who come from now on wait. */
  clear(): MaybePromise<void> {
    return backendOf<EventBackend>(this, "clear()").clear("clear()");
  }

  /**
   * Waits in the event loop until it is set.
   *
   * @returns false if the time ran out
   * @throws {SyncClosedError} after `close()`, or if the process that serves the event is gone
   * @throws the signal's reason
   */
  async wait(options: WaitOptions = {}): Promise<boolean> {
    return backendOf<EventBackend>(this, "wait()").wait("wait()", options);
  }

  /**
   * Blocks this thread until it is set.
   *
   * @returns false if the time ran out
   * @throws {CapabilityError} where there is no shared memory
   */
  waitSync(options: Pick<WaitOptions, "timeout"> = {}): boolean {
    checkTimeout("waitSync()", options.timeout);
    return backendOf<EventBackend>(this, "waitSync()").waitSync("waitSync()", options.timeout);
  }

  static {
    makeShareable(this, (event) => event.#toHandle());
  }

  #toHandle(): SharedHandle {
    return { kind: "sync.Event", module: MODULE, data: addressOf(this) };
  }
}

registerReviver("sync.Event", (address) => attachAt(address as PrimitiveAddress, () => new Event()));
