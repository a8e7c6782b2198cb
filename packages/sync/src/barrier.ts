import type { Target } from "@multiproc/core";
import { checkTimeout, registerReviver, type SharedHandle, type WaitOptions } from "@multiproc/core/internal";
import {
  ABORTED,
  type Arrival,
  type BarrierLink,
  barrierKind,
  type Departure,
  DIED,
  FAILED,
  PASSED,
  RAN_OUT,
  RESET,
} from "./backends/barrier-backend.ts";
import { BrokenBarrierError } from "./errors.ts";
import { MODULE } from "./module-id.ts";
import { assertMemory, linkOf, type MaybePromise, type Place, Primitive, placeOf, revive } from "./primitive.ts";

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

const REASONS: Readonly<Record<number, string>> = {
  [RAN_OUT]: "a wait at it ran out of time",
  [ABORTED]: "abort() was called",
  [RESET]: "reset() was called while others waited",
  [FAILED]: "its action failed",
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
    const state = linkOf<BarrierLink>(this, "broken").state("broken");
    return state instanceof Promise ? state.then(({ isBroken }) => isBroken) : state.isBroken;
  }

  /** How many wait at this moment. */
  get nWaiting(): MaybePromise<number> {
    const state = linkOf<BarrierLink>(this, "nWaiting").state("nWaiting");
    return state instanceof Promise ? state.then(({ waiting }) => waiting) : state.waiting;
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
    const link = linkOf<BarrierLink>(this, call);
    const { timeout = this.#options.timeout, signal } = options;
    checkTimeout(call, timeout);
    signal?.throwIfAborted();
    let arrival = await link.arrive(call);
    while ("isBusy" in arrival) {
      await link.idle(call, { signal });
      arrival = await link.arrive(call);
    }
    const { generation, isLast } = enteredOrThrow(call, arrival);
    if (isLast) await this.#act(call, link, generation);
    else await this.#waitFor(call, link, generation, { timeout, signal });
    return placeOrThrow(call, await link.depart(call, generation));
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
    const link = linkOf<BarrierLink>(this, call);
    const { timeout = this.#options.timeout } = options;
    checkTimeout(call, timeout);
    assertMemory(this, call, "await wait()");
    let arrival = link.arrive(call) as Arrival;
    while ("isBusy" in arrival) {
      link.waitSync(call, undefined, undefined);
      arrival = link.arrive(call) as Arrival;
    }
    const { generation, isLast } = enteredOrThrow(call, arrival);
    if (isLast) this.#actSync(call, link, generation);
    else if (!link.waitSync(call, generation, timeout)) {
      link.end(call, RAN_OUT, generation);
      link.waitSync(call, generation, undefined);
    }
    return placeOrThrow(call, link.depart(call, generation) as Departure);
  }

  /** Breaks the barrier. */
  abort(): MaybePromise<void> {
    return linkOf<BarrierLink>(this, "abort()").end("abort()", ABORTED);
  }

  /** Makes it as it was at first; those who wait get a `BrokenBarrierError`. */
  reset(): MaybePromise<void> {
    return linkOf<BarrierLink>(this, "reset()").end("reset()", RESET);
  }

  /** @internal */
  "multiproc:ticket"(): SharedHandle {
    return { kind: "sync.Barrier", module: MODULE, data: [placeOf(this), this.parties, this.#options] };
  }

  async #waitFor(call: string, link: BarrierLink, generation: number, options: WaitOptions): Promise<void> {
    try {
      if (await link.wait(call, generation, options)) return;
    } catch (error) {
      await link.leave(call, generation);
      throw error;
    }
    await link.end(call, RAN_OUT, generation);
    // All had come, and the action runs: it will soon be over.
    await link.wait(call, generation, {});
  }

  async #act(call: string, link: BarrierLink, generation: number): Promise<void> {
    try {
      await this.#options.action?.();
    } catch (error) {
      await link.end(call, FAILED, generation);
      throw error;
    }
    await link.end(call, PASSED, generation);
  }

  #actSync(call: string, link: BarrierLink, generation: number): void {
    try {
      this.#options.action?.();
    } catch (error) {
      link.end(call, FAILED, generation);
      throw error;
    }
    link.end(call, PASSED, generation);
  }
}

registerReviver("sync.Barrier", (data) => {
  const [place, parties, options] = data as [Place, number, BarrierOptions];
  return revive(place, () => new Barrier(parties, options));
});

function enteredOrThrow(call: string, arrival: Arrival): { generation: number; isLast: boolean } {
  if ("generation" in arrival) return arrival;
  throw brokenBy(call, (arrival as { broken: number }).broken);
}

function placeOrThrow(call: string, departure: Departure): number {
  if (departure !== undefined && "index" in departure) return departure.index;
  throw brokenBy(call, departure?.broken ?? ABORTED);
}

function brokenBy(call: string, reason: number): BrokenBarrierError {
  const isDeath = (reason & 0xff) === DIED;
  return new BrokenBarrierError(
    call,
    isDeath ? `process ${reason >> 8} died while it waited` : (REASONS[reason] as string),
  );
}
