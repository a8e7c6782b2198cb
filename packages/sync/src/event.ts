import {
  checkTimeout,
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
  type Kind,
  linkOf,
  type MaybePromise,
  type Place,
  Primitive,
  placeOf,
  requireMemory,
  revive,
} from "./primitive.ts";
import type { RemoteLink } from "./remote/primitive-client.ts";
import type { Guest, Servant } from "./remote/primitive-server.ts";

/** An event that knows processes. */
interface EventLink {
  isSet(call: string): MaybePromise<boolean>;
  set(call: string): MaybePromise<void>;
  clear(call: string): MaybePromise<void>;
  wait(call: string, options: WaitOptions): Promise<boolean>;
  waitSync(call: string, timeout: number | undefined): boolean;
}

const FLAG = 0;
/** How often it was set: whoever waits at that moment is let go, even if it is cleared right after. */
const SETS = 1;
const LIST = 8;
const SLOTS = 64;

class MemoryEvent implements EventLink, Servant {
  readonly #words: Int32Array;
  readonly #list: WaitQueue;
  readonly #isShared: boolean;

  constructor(memory: SharedSegment) {
    this.#words = new Int32Array(memory.buffer);
    this.#list = new WaitQueue(memory, LIST, SLOTS);
    this.#isShared = memory.isShared;
  }

  isSet(): boolean {
    return Atomics.load(this.#words, FLAG) === 1;
  }

  set(): void {
    Atomics.add(this.#words, SETS, 1);
    Atomics.store(this.#words, FLAG, 1);
    this.#list.wake(Number.POSITIVE_INFINITY);
  }

  clear(): void {
    Atomics.store(this.#words, FLAG, 0);
  }

  wait(call: string, options: WaitQueueOptions): Promise<boolean> {
    return this.#list.wait(this.#check(), call, options);
  }

  waitSync(call: string, timeout: number | undefined): boolean {
    const check = this.#check();
    if (check() || timeout === 0) return check();
    if (!this.#isShared) requireMemory(call, "await wait()");
    return this.#list.waitSync(check, timeout);
  }

  serve(_guest: Guest, operation: string, [call]: readonly unknown[], options: WaitQueueOptions): unknown {
    if (operation === "wait") return this.wait(call as string, options);
    return this[operation as "isSet" | "set" | "clear"]();
  }

  leave(): void {} // nobody holds anything

  #check(): () => boolean {
    const sets = Atomics.load(this.#words, SETS);
    return () => this.isSet() || Atomics.load(this.#words, SETS) !== sets;
  }
}

class RemoteEvent implements EventLink {
  readonly #remote: RemoteLink;

  constructor(remote: RemoteLink) {
    this.#remote = remote;
  }

  async isSet(call: string): Promise<boolean> {
    return (await this.#remote.ask(call, "isSet")) as boolean;
  }

  async set(call: string): Promise<void> {
    await this.#remote.ask(call, "set");
  }

  async clear(call: string): Promise<void> {
    await this.#remote.ask(call, "clear");
  }

  async wait(call: string, options: WaitOptions): Promise<boolean> {
    if (options.timeout === 0) return this.isSet(call);
    return (await this.#remote.ask(call, "wait", [call], options)) !== TIMED_OUT;
  }

  waitSync(call: string): boolean {
    return requireMemory(call, "await wait()");
  }
}

const EVENT: Kind<EventLink> = {
  name: "Event",
  size: 4096,
  open: (memory) => new MemoryEvent(memory),
  reach: (remote) => new RemoteEvent(remote),
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
    super(EVENT);
  }

  /** Whether it is set at this moment. */
  isSet(): MaybePromise<boolean> {
    return linkOf<EventLink>(this, "isSet()").isSet("isSet()");
  }

  /** Sets it, and lets all go who wait. */
  set(): MaybePromise<void> {
    return linkOf<EventLink>(this, "set()").set("set()");
  }

  /** Has those who come from now on wait. */
  clear(): MaybePromise<void> {
    return linkOf<EventLink>(this, "clear()").clear("clear()");
  }

  /**
   * Waits in the event loop until it is set.
   *
   * @returns false if the time ran out
   * @throws {SyncClosedError} after `close()`, or if the process that serves the event is gone
   * @throws the signal's reason
   */
  async wait(options: WaitOptions = {}): Promise<boolean> {
    return linkOf<EventLink>(this, "wait()").wait("wait()", options);
  }

  /**
   * Blocks this thread until it is set.
   *
   * @returns false if the time ran out
   * @throws {CapabilityError} where there is no shared memory
   */
  waitSync(options: Pick<WaitOptions, "timeout"> = {}): boolean {
    checkTimeout("waitSync()", options.timeout);
    return linkOf<EventLink>(this, "waitSync()").waitSync("waitSync()", options.timeout);
  }

  /** @internal */
  "multiproc:ticket"(): SharedHandle {
    return { kind: "sync.Event", module: MODULE, data: placeOf(this) };
  }
}

registerReviver("sync.Event", (place) => revive(place as Place, () => new Event()));
