/**
 * The backend of events: a flag, and a counter of the calls of `set()`.
 *
 * A waiter may check the event only after it was set and cleared again. The changed counter then
 * ends the wait.
 */
import {
  type SharedSegment,
  TIMED_OUT,
  type WaitOptions,
  WaitQueue,
  type WaitQueueOptions,
} from "@multiproc/core/internal";
import { type MaybePromise, type PrimitiveKind, requireSharedMemory } from "../primitive.ts";
import type { PrimitiveClient } from "../remote/primitive-client.ts";
import type { Client, RequestHandler } from "../remote/primitive-server.ts";

/**
 * The state of an event at one moment, as `event.state()` reports it.
 *
 * @example
 * ```ts
 * import { Event, type EventState } from "@multiproc/sync";
 *
 * const event = new Event();
 * await event.set();
 * const state: EventState = await event.state();
 * console.log(state); // { isSet: true }
 * ```
 */
export interface EventState {
  /** Whether `set()` was called, and `clear()` was not called after it. */
  readonly isSet: boolean;
}

/** The operations of an event between processes. */
export interface EventBackend {
  /** Reads the flag at once. @throws {CapabilityError} if only the owner process can read it */
  isSet(call: string): boolean;
  state(call: string): MaybePromise<EventState>;
  set(call: string): MaybePromise<void>;
  clear(call: string): MaybePromise<void>;
  wait(call: string, options: WaitOptions): Promise<boolean>;
  waitSync(call: string, timeout: number | undefined): boolean;
}

const FLAG_WORD = 0;
const SET_COUNT_WORD = 1;
const WAIT_QUEUE_WORD = 8;
const WAITER_SLOT_COUNT = 64;
const SEGMENT_BYTES = 4096;

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

  state(): EventState {
    return { isSet: this.isSet() };
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
    if (!this.#isShared) requireSharedMemory(call);
    return this.#waitQueue.waitSync(condition, timeout);
  }

  handle(_client: Client, operation: string, [call]: readonly unknown[], options: WaitQueueOptions): unknown {
    if (operation === "wait") return this.wait(call as string, options);
    return this[operation as "state" | "set" | "clear"]();
  }

  clientGone(): void {} // a client of an event holds nothing

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

  isSet(call: string): boolean {
    return requireSharedMemory(call, "(await event.state()).isSet");
  }

  async state(call: string): Promise<EventState> {
    return (await this.#client.request(call, "state")) as EventState;
  }

  async set(call: string): Promise<void> {
    await this.#client.request(call, "set");
  }

  async clear(call: string): Promise<void> {
    await this.#client.request(call, "clear");
  }

  async wait(call: string, options: WaitOptions): Promise<boolean> {
    const { timeout, signal } = options;
    if (timeout === 0) return ((await this.#client.request(call, "state", [], { signal })) as EventState).isSet;
    return (await this.#client.request(call, "wait", [call], options)) !== TIMED_OUT;
  }

  waitSync(call: string): boolean {
    return requireSharedMemory(call);
  }
}

export const EVENT_KIND: PrimitiveKind<EventBackend> = {
  name: "Event",
  size: SEGMENT_BYTES,
  open: (memory) => new SharedEvent(memory),
  connect: (client) => new RemoteEvent(client),
};
