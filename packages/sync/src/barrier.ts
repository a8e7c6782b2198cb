import type { Target } from "@multiproc/core";
import {
  checkOptions,
  checkTimeout,
  checkWaitOptions,
  describeValue,
  makeShareable,
  registerReviver,
  type SharedHandle,
  type WaitOptions,
} from "@multiproc/core/internal";
import {
  ABORTED,
  ACTION_FAILED,
  type Arrival,
  type BarrierBackend,
  type BarrierState,
  barrierKind,
  type Departure,
  PASSED,
  PROCESS_DIED,
  RESET,
  WAIT_TIMED_OUT,
} from "./backends/barrier-backend.ts";
import { BrokenBarrierError } from "./errors.ts";
import { MODULE } from "./module-id.ts";
import {
  addressOf,
  assertSharedMemory,
  attachAt,
  backendOf,
  Primitive,
  type PrimitiveAddress,
  RESOLVED,
} from "./primitive.ts";

/**
 * The options of a barrier.
 *
 * @example An action when all parties have arrived
 * ```ts
 * import { Barrier, type BarrierOptions } from "@multiproc/sync";
 *
 * const options: BarrierOptions = { action: () => console.log("all are here"), timeout: 10_000 };
 * const barrier = new Barrier(2, options);
 * await Promise.all([barrier.wait(), barrier.wait()]);
 * ```
 */
export interface BarrierOptions {
  /**
   * Runs in the process of the last party, after all parties have arrived and before any of them
   * continues. If the barrier is sent to other processes, the action must be a target.
   */
  readonly action?: Target<() => unknown> | undefined;
  /** The timeout of waits without a `timeout` option, in milliseconds. @default forever */
  readonly timeout?: number | undefined;
}

const OPTIONS = ["action", "timeout"];
const SYNC_OPTIONS = ["timeout"];

const BREAK_REASONS: Readonly<Record<number, string>> = {
  [WAIT_TIMED_OUT]: "a wait timed out",
  [ABORTED]: "abort() was called",
  [RESET]: "reset() was called during the wait",
  [ACTION_FAILED]: "its action failed",
};

/**
 * A point where a fixed number of async flows, in any processes, wait for each other. The last
 * arrival releases all of them, and the barrier can be used again.
 *
 * The barrier breaks if a wait times out, a waiting process dies, the action fails, or `abort()` is
 * called. All current and later waits then reject with a `BrokenBarrierError`, until `reset()`. A
 * signal only undoes the arrival of its wait: the barrier does not break.
 *
 * @example
 * ```ts
 * import { Barrier } from "@multiproc/sync";
 *
 * const barrier = new Barrier(2);
 * const indexes = await Promise.all([barrier.wait(), barrier.wait()]);
 * console.log(indexes.sort()); // [ 0, 1 ]
 * ```
 */
export class Barrier extends Primitive {
  /** The number of parties that the barrier waits for. */
  readonly parties: number;
  readonly #options: BarrierOptions;

  /**
   * Creates a barrier without waiters.
   *
   * @param parties the number of parties that the barrier waits for
   * @throws {RangeError} if `parties` is not a whole number, 1 or more
   * @throws {TypeError} for an unknown option, and if `action` is not a function
   */
  constructor(parties: number, options: BarrierOptions = {}) {
    if (!(Number.isInteger(parties) && parties >= 1 && parties < 2 ** 31))
      throw new RangeError(`new Barrier() takes a whole number of parties, 1 or more, not ${String(parties)}`);
    checkOptions("new Barrier()", options, OPTIONS);
    checkTimeout("new Barrier()", options.timeout);
    if (options.action !== undefined && typeof options.action !== "function")
      throw new TypeError(`new Barrier() takes a function as action, not ${describeValue(options.action)}`);
    super(barrierKind(parties));
    this.parties = parties;
    this.#options = options;
  }

  /**
   * Whether the barrier is broken at this moment.
   *
   * @throws {CapabilityError} in a process without shared memory that does not own the barrier: use
   * {@link Barrier.state}
   * @throws {SyncClosedError} after `close()`
   */
  get broken(): boolean {
    return backendOf<BarrierBackend>(this, "broken").stateNow("broken").broken;
  }

  /**
   * The number of parties that wait at this moment.
   *
   * @throws as {@link Barrier.broken}
   */
  get nWaiting(): number {
    return backendOf<BarrierBackend>(this, "nWaiting").stateNow("nWaiting").nWaiting;
  }

  /**
   * Reports the state of the barrier at this moment. It works in every process: where `broken` and
   * `nWaiting` cannot read the state at once, this method asks the owner process.
   *
   * @throws {SyncClosedError} after `close()`, or if the owner process is gone
   */
  async state(): Promise<BarrierState> {
    return backendOf<BarrierBackend>(this, "state()").state("state()");
  }

  /**
   * Waits in the event loop until all parties have arrived.
   *
   * @returns a number from 0 to one less than the parties, different for each party
   * @throws {BrokenBarrierError} if the barrier is broken, or breaks during the wait
   * @throws {SyncClosedError} after `close()`, or if the owner process is gone
   * @throws the error of the action, if this was the last party
   * @throws the signal's reason
   */
  async wait(options: WaitOptions = {}): Promise<number> {
    const call = "wait()";
    const backend = backendOf<BarrierBackend>(this, call);
    checkWaitOptions(call, options);
    const { timeout = this.#options.timeout, signal } = options;
    signal?.throwIfAborted();
    let arrival = await backend.arrive(call);
    while ("isTripping" in arrival) {
      await backend.waitForAction(call, { signal });
      arrival = await backend.arrive(call);
    }
    const { generation, isLast } = arrivalOrThrow(call, arrival);
    if (isLast) await this.#runAction(call, backend, generation);
    else await this.#waitFor(call, backend, generation, { timeout, signal });
    return indexOrThrow(call, await backend.depart(call, generation));
  }

  /**
   * Blocks this thread until all parties have arrived.
   *
   * @returns a number from 0 to one less than the parties, different for each party
   * @throws {BrokenBarrierError} if the barrier is broken, or breaks during the wait
   * @throws {CapabilityError} if there is no shared memory
   * @throws the error of the action, if this was the last party
   */
  waitSync(options: Pick<WaitOptions, "timeout"> = {}): number {
    const call = "waitSync()";
    const backend = backendOf<BarrierBackend>(this, call);
    checkWaitOptions(call, options, SYNC_OPTIONS);
    const { timeout = this.#options.timeout } = options;
    assertSharedMemory(this, call);
    let arrival = backend.arrive(call) as Arrival;
    while ("isTripping" in arrival) {
      backend.waitSync(call, undefined, undefined);
      arrival = backend.arrive(call) as Arrival;
    }
    const { generation, isLast } = arrivalOrThrow(call, arrival);
    if (isLast) this.#runActionSync(call, backend, generation);
    else if (!backend.waitSync(call, generation, timeout)) {
      backend.end(call, WAIT_TIMED_OUT, generation);
      backend.waitSync(call, generation, undefined);
    }
    return indexOrThrow(call, backend.depart(call, generation) as Departure);
  }

  /**
   * Breaks the barrier. In shared memory, it is broken when the call returns; otherwise when the
   * promise settles.
   *
   * @throws {SyncClosedError} as {@link Barrier.state}
   */
  abort(): Promise<void> {
    return this.#end("abort()", ABORTED);
  }

  /**
   * Resets the barrier to its initial state. Current waits reject with a `BrokenBarrierError`. It
   * takes effect like {@link Barrier.abort}.
   *
   * @throws {SyncClosedError} as {@link Barrier.state}
   */
  reset(): Promise<void> {
    return this.#end("reset()", RESET);
  }

  static {
    makeShareable(this, (barrier) => barrier.#toHandle());
  }

  #toHandle(): SharedHandle {
    return { kind: "sync.Barrier", module: MODULE, data: [addressOf(this), this.parties, this.#options] };
  }

  #end(call: string, outcome: number): Promise<void> {
    try {
      return backendOf<BarrierBackend>(this, call).end(call, outcome) ?? RESOLVED;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #waitFor(call: string, backend: BarrierBackend, generation: number, options: WaitOptions): Promise<void> {
    try {
      if (await backend.wait(call, generation, options)) return;
    } catch (error) {
      await backend.withdraw(call, generation);
      throw error;
    }
    await backend.end(call, WAIT_TIMED_OUT, generation);
    // If all parties have arrived, end() has no effect. The generation ends after the action.
    await backend.wait(call, generation, {});
  }

  async #runAction(call: string, backend: BarrierBackend, generation: number): Promise<void> {
    try {
      await this.#options.action?.();
    } catch (error) {
      await backend.end(call, ACTION_FAILED, generation);
      throw error;
    }
    await backend.end(call, PASSED, generation);
  }

  #runActionSync(call: string, backend: BarrierBackend, generation: number): void {
    try {
      this.#options.action?.();
    } catch (error) {
      backend.end(call, ACTION_FAILED, generation);
      throw error;
    }
    backend.end(call, PASSED, generation);
  }
}

registerReviver("sync.Barrier", (data) => {
  const [address, parties, options] = data as [PrimitiveAddress, number, BarrierOptions];
  return attachAt(address, () => new Barrier(parties, options));
});

function arrivalOrThrow(call: string, arrival: Arrival): { generation: number; isLast: boolean } {
  if ("generation" in arrival) return arrival;
  throw brokenError(call, (arrival as { brokenReason: number }).brokenReason);
}

function indexOrThrow(call: string, departure: Departure): number {
  if (departure !== undefined && "index" in departure) return departure.index;
  throw brokenError(call, departure?.brokenReason ?? ABORTED);
}

function brokenError(call: string, reason: number): BrokenBarrierError {
  const isProcessDeath = (reason & 0xff) === PROCESS_DIED;
  return new BrokenBarrierError(
    call,
    isProcessDeath ? `process ${reason >> 8} died while it waited` : (BREAK_REASONS[reason] as string),
  );
}
