import {
  checkWaitOptions,
  makeShareable,
  registerReviver,
  type SharedHandle,
  type WaitOptions,
} from "@multiproc/core/internal";
import { EVENT_KIND, type EventBackend, type EventState } from "./backends/event-backend.ts";
import { MODULE } from "./module-id.ts";
import { addressOf, attachAt, backendOf, Primitive, type PrimitiveAddress, RESOLVED } from "./primitive.ts";

const SYNC_OPTIONS = ["timeout"];
/** The default options. A call with this object does not need to check them. */
const NO_OPTIONS: WaitOptions = {};

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
  /** Creates an event that is not set. */
  constructor() {
    super(EVENT_KIND);
  }

  /**
   * Whether the event is set at this moment.
   *
   * @throws {CapabilityError} in a process without shared memory that does not own the event: use
   * {@link Event.state}
   * @throws {SyncClosedError} after `close()`
   */
  isSet(): boolean {
    return backendOf<EventBackend>(this, "isSet()").isSet("isSet()");
  }

  /**
   * Reports the state of the event at this moment. It works in every process: where `isSet()`
   * cannot read the state at once, this method asks the owner process.
   *
   * @throws {SyncClosedError} after `close()`, or if the owner process is gone
   */
  async state(): Promise<EventState> {
    return backendOf<EventBackend>(this, "state()").state("state()");
  }

  /**
   * Sets the event, and wakes all waiters. In shared memory, the event is set when the call
   * returns; otherwise when the promise settles.
   *
   * @throws {SyncClosedError} as {@link Event.state}
   */
  set(): Promise<void> {
    try {
      return backendOf<EventBackend>(this, "set()").set("set()") ?? RESOLVED;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Clears the event, so that later calls of `wait()` wait for the next `set()`. In shared memory,
   * the event is cleared when the call returns; otherwise when the promise settles.
   *
   * @throws {SyncClosedError} as {@link Event.state}
   */
  clear(): Promise<void> {
    try {
      return backendOf<EventBackend>(this, "clear()").clear("clear()") ?? RESOLVED;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Waits in the event loop until the event is set.
   *
   * @returns false if the timeout expired
   * @throws {SyncClosedError} as {@link Event.state}
   * @throws the signal's reason
   */
  async wait(options: WaitOptions = NO_OPTIONS): Promise<boolean> {
    if (options !== NO_OPTIONS) checkWaitOptions("wait()", options);
    return backendOf<EventBackend>(this, "wait()").wait("wait()", options);
  }

  /**
   * Blocks this thread until the event is set.
   *
   * @returns false if the timeout expired
   * @throws {CapabilityError} if the call would wait and there is no shared memory
   */
  waitSync(options: Pick<WaitOptions, "timeout"> = NO_OPTIONS): boolean {
    if (options !== NO_OPTIONS) checkWaitOptions("waitSync()", options, SYNC_OPTIONS);
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
