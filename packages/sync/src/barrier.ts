import type { Target } from "@multiproc/core";
import {
  checkTimeout,
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
  type MaybePromise,
  Primitive,
  type PrimitiveAddress,
} from "./primitive.ts";

/**
 * How a barrier is made.
 *
 * @example Something to do when all are there
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
   * Runs each time when all have come and before any goes, in the process that came last. It must be a target if the barrier
   * is sent to other processes.
   */
  readonly action?: Target<() => unknown> | undefined;
  /** How long a wait may take that says nothing about it, in milliseconds. @default forever */
  readonly timeout?: number | undefined;
}

const BREAK_REASONS: Readonly<Record<number, string>> = {
  [WAIT_TIMED_OUT]: "a wait at it ran out of time",
  [ABORTED]: "abort() was called",
  [RESET]: "reset() was called while others waited",
  [ACTION_FAILED]: "its action failed",
};

/**
 * A place where a fixed number of flows, in any processes, wait for each other: the last who comes lets all go, and it can be
 * used again.
 *
 * It breaks when a wait runs out of time, when a process dies that waits at it, when its action fails, and by `abort()`; then
 * all who wait and all who come get a `BrokenBarrierError`, until `reset()`. A wait that ends by its signal gives up
 * its place, and breaks nothing.
 *
 * @example
 * ```ts
 * import { Barrier } from "@multiproc/sync";
 *
 * const barrier = new Barrier(2);
 * const places = await Promise.all([barrier.wait(), barrier.wait()]);
 * console.log(places.sort()); // [ 0, 1 ]
 * ```
 */
export class Barrier extends Primitive {
  /** How many must come. */
  readonly parties: number;
  readonly #options: BarrierOptions;

  /**
   * Makes a barrier at which nobody waits.
   *
   * @param parties how many must come
   * @throws {RangeError} for anything but a whole number from 1
   */
  constructor(parties: number, options: BarrierOptions = {}) {
    if (!(Number.isInteger(parties) && parties >= 1 && parties < 2 ** 31))
      throw new RangeError(`A barrier takes a number of parties from 1, not ${String(parties)}`);
    checkTimeout("Barrier", options.timeout);
    super(barrierKind(parties));
    this.parties = parties;
    this.#options = options;
  }

  /** Whether it is broken at this moment. */
  get broken(): MaybePromise<boolean> {
    const state = backendOf<BarrierBackend>(this, "broken").state("broken");
    return state instanceof Promise ? state.then(({ isBroken }) => isBroken) : state.isBroken;
  }

  /** How many wait at this moment. */
  get nWaiting(): MaybePromise<number> {
    const state = backendOf<BarrierBackend>(this, "nWaiting").state("nWaiting");
    return state instanceof Promise ? state.then(({ waitingCount }) => waitingCount) : state.waitingCount;
  }

  /**
   * Waits in the event loop until all have come.
   *
   * @returns a number from 0 to one less than the parties, another for each of them
   * @throws {BrokenBarrierError} if it is broken, or breaks meanwhile
   * @throws {SyncClosedError} after `close()`, or if the process that serves it is gone
   * @throws what the action throws, if this was the last who came
   * @throws the signal's reason
   */
  async wait(options: WaitOptions = {}): Promise<number> {
    const call = "wait()";
    const backend = backendOf<BarrierBackend>(this, call);
    const { timeout = this.#options.timeout, signal } = options;
    checkTimeout(call, timeout);
    signal?.throwIfAborted();
    let arrival = await backend.arrive(call);
    while ("isBusy" in arrival) {
      await backend.waitUntilIdle(call, { signal });
      arrival = await backend.arrive(call);
    }
    const { generation, isLast } = arrivalOrThrow(call, arrival);
    if (isLast) await this.#runAction(call, backend, generation);
    else await this.#waitFor(call, backend, generation, { timeout, signal });
    return indexOrThrow(call, await backend.depart(call, generation));
  }

  /**
   * Blocks this thread until all have come.
   *
   * @returns a number from 0 to one less than the parties, another for each of them
   * @throws {BrokenBarrierError} if it is broken, or breaks meanwhile
   * @throws {CapabilityError} where there is no shared memory
   * @throws what the action throws, if this was the last who came
   */
  waitSync(options: Pick<WaitOptions, "timeout"> = {}): number {
    const call = "waitSync()";
    const backend = backendOf<BarrierBackend>(this, call);
    const { timeout = this.#options.timeout } = options;
    checkTimeout(call, timeout);
    assertSharedMemory(this, call, "await wait()");
    let arrival = backend.arrive(call) as Arrival;
    while ("isBusy" in arrival) {
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

  /** Breaks the barrier. */
  abort(): MaybePromise<void> {
    return backendOf<BarrierBackend>(this, "abort()").end("abort()", ABORTED);
  }

  /** Makes it as it was at first; those who wait get a `BrokenBarrierError`. */
  reset(): MaybePromise<void> {
    return backendOf<BarrierBackend>(this, "reset()").end("reset()", RESET);
  }

  static {
    makeShareable(this, (barrier) => barrier.#toHandle());
  }

  #toHandle(): SharedHandle {
    return { kind: "sync.Barrier", module: MODULE, data: [addressOf(this), this.parties, this.#options] };
  }

  async #waitFor(call: string, backend: BarrierBackend, generation: number, options: WaitOptions): Promise<void> {
    try {
      if (await backend.wait(call, generation, options)) return;
    } catch (error) {
      await backend.clientGone(call, generation);
      throw error;
    }
    await backend.end(call, WAIT_TIMED_OUT, generation);
    // All had come, and the action runs: it will soon be over.
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
