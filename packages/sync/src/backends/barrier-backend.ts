/**
 * The backend of barriers.
 *
 * A *generation* is one round of the barrier: it begins without parties, and ends when the last
 * party has arrived and run the action, or when the barrier breaks or is reset. Its outcome is kept
 * for its waiters. While the last party runs the action, the barrier is *tripping*, and new parties
 * wait for the end of the action.
 *
 * ```text
 *   open ── last arrival ──> tripping ── action done ──> open, next generation
 *     └── timeout, abort(), death ──> broken <── action failed ──┘     reset(): open again
 * ```
 */
import {
  currentThreadId,
  type SharedSegment,
  TIMED_OUT,
  tidOf,
  type WaitOptions,
  type WaitQueueOptions,
} from "@multiproc/core/internal";
import { type MaybePromise, type PrimitiveKind, requireSharedMemory } from "../primitive.ts";
import type { PrimitiveClient } from "../remote/primitive-client.ts";
import type { Client, RequestHandler } from "../remote/primitive-server.ts";
import { addTo, ClientSets, SEGMENT_BYTES, SharedBackend, STATE_WORD } from "./shared-backend.ts";

// The outcomes of a generation. The low 8 bits hold the outcome. After PROCESS_DIED, the bits above
// hold the pid of the dead process.
export const PASSED = 0;
export const WAIT_TIMED_OUT = 1;
export const ABORTED = 2;
export const RESET = 3;
export const ACTION_FAILED = 4;
export const PROCESS_DIED = 5;

/**
 * The result of an arrival: a generation to wait for, the reason why the barrier is broken, or that
 * the barrier is tripping.
 */
export type Arrival = { generation: number; isLast: boolean } | { brokenReason: number } | { isTripping: true };

/**
 * The result of a departure: the index of the party, or the reason why the barrier broke. It is
 * undefined if the generation has not ended.
 */
export type Departure = { index: number } | { brokenReason: number } | undefined;

/**
 * The state of a barrier at one moment, as `barrier.state()` reports it.
 *
 * @example
 * ```ts
 * import { Barrier, type BarrierState } from "@multiproc/sync";
 *
 * const barrier = new Barrier(2);
 * await barrier.abort();
 * const state: BarrierState = await barrier.state();
 * console.log(state); // { parties: 2, nWaiting: 0, broken: true }
 * ```
 */
export interface BarrierState {
  /** The number of parties that the barrier waits for. */
  readonly parties: number;
  /** The number of parties that wait. */
  readonly nWaiting: number;
  /** Whether waits reject with a `BrokenBarrierError`. */
  readonly broken: boolean;
}

/** The operations of a barrier between processes. */
export interface BarrierBackend {
  arrive(call: string): MaybePromise<Arrival>;
  /** Waits until no party runs the action; false if the timeout expired. */
  waitForAction(call: string, options: WaitOptions): Promise<boolean>;
  /** Waits until the generation has ended; false if the timeout expired. */
  wait(call: string, generation: number, options: WaitOptions): Promise<boolean>;
  /**
   * Blocks until the generation has ended; false if the timeout expired. If `generation` is
   * undefined, it blocks until no party runs the action.
   */
  waitSync(call: string, generation: number | undefined, timeout: number | undefined): boolean;
  /** Returns how the generation ended. Each waiter calls it once. */
  depart(call: string, generation: number): MaybePromise<Departure>;
  /**
   * Ends the generation with an outcome, unless it has ended before. If `generation` is undefined,
   * it ends the current one. A timeout has no effect once all parties have arrived.
   */
  end(call: string, outcome: number, generation?: number): MaybePromise<void>;
  /** Undoes an arrival without breaking the barrier, unless all parties have arrived. */
  withdraw(call: string, generation: number): MaybePromise<void>;
  /** Reads the state at once. @throws {CapabilityError} if only the owner process can read it */
  stateNow(call: string): BarrierState;
  state(call: string): MaybePromise<BarrierState>;
}

/** The number of past generations whose outcomes are kept. It is a power of two. */
const KEPT_OUTCOME_COUNT = 64;
const PARTIES_WORD = STATE_WORD;
const GENERATION_WORD = STATE_WORD + 1;
const ARRIVED_COUNT_WORD = STATE_WORD + 2;
const PHASE_WORD = STATE_WORD + 3;
const BREAK_REASON_WORD = STATE_WORD + 4;
const OUTCOMES_WORD = STATE_WORD + 8;
/** The number of departed parties of each kept generation. It is the index of the next party. */
const DEPARTED_COUNTS_WORD = OUTCOMES_WORD + KEPT_OUTCOME_COUNT;
const STATE_WORD_COUNT = 8 + 2 * KEPT_OUTCOME_COUNT;
/** The number of flows of the row's thread that have arrived in the current generation. */
const ROW_WAITING = 1;
const ROW_WORDS = 2;
// Phases.
const OPEN = 0;
const TRIPPING = 1;
const BROKEN = 2;

class SharedBarrier extends SharedBackend implements BarrierBackend, RequestHandler {
  readonly #clientGenerations = new ClientSets();

  constructor(memory: SharedSegment) {
    super(memory, STATE_WORD_COUNT, ROW_WORDS);
  }

  setParties(parties: number): void {
    this.words[PARTIES_WORD] = parties;
  }

  arrive(): Arrival {
    const { words } = this;
    return this.mutex.withLock(() => {
      if (words[PHASE_WORD] === BROKEN) return { brokenReason: words[BREAK_REASON_WORD] as number };
      if (words[PHASE_WORD] === TRIPPING) return { isTripping: true };
      const row = this.threads.ownRow();
      if (row !== undefined) addTo(words, row + ROW_WAITING, 1);
      addTo(words, ARRIVED_COUNT_WORD, 1);
      const isLast = words[ARRIVED_COUNT_WORD] === words[PARTIES_WORD];
      if (isLast) words[PHASE_WORD] = TRIPPING;
      return { generation: words[GENERATION_WORD] as number, isLast };
    });
  }

  waitForAction(call: string, options: WaitQueueOptions): Promise<boolean> {
    return this.waitQueue.wait((checkLiveness) => this.#isActionOver(checkLiveness), call, options);
  }

  wait(call: string, generation: number, options: WaitQueueOptions): Promise<boolean> {
    return this.waitQueue.wait((checkLiveness) => this.#hasEnded(generation, checkLiveness), call, options);
  }

  waitSync(call: string, generation: number | undefined, timeout: number | undefined): boolean {
    const condition = (checkLiveness: boolean): boolean =>
      generation === undefined ? this.#isActionOver(checkLiveness) : this.#hasEnded(generation, checkLiveness);
    return this.blockUntil(call, condition, timeout);
  }

  depart(_call: string, generation: number): Departure {
    const { words } = this;
    return this.mutex.withLock(() => {
      if (words[GENERATION_WORD] === generation) return undefined;
      const slot = generation & (KEPT_OUTCOME_COUNT - 1);
      if (words[OUTCOMES_WORD + slot] !== PASSED) return { brokenReason: words[OUTCOMES_WORD + slot] as number };
      addTo(words, DEPARTED_COUNTS_WORD + slot, 1);
      return { index: (words[DEPARTED_COUNTS_WORD + slot] as number) - 1 };
    });
  }

  end(_call: string, outcome: number, generation?: number): void {
    const { words } = this;
    const isChanged = this.mutex.withLock(() => {
      const phase = words[PHASE_WORD];
      if (generation !== undefined && generation !== words[GENERATION_WORD]) return false;
      // All parties have arrived, so the wait ends with the action and not by its timeout.
      if (outcome === WAIT_TIMED_OUT && phase !== OPEN) return false;
      if ((words[ARRIVED_COUNT_WORD] as number) > 0 || outcome !== RESET) this.#endGeneration(outcome);
      if (outcome !== PASSED && outcome !== RESET) words[BREAK_REASON_WORD] = outcome;
      words[PHASE_WORD] = outcome === PASSED || outcome === RESET ? OPEN : BROKEN;
      return true;
    });
    if (isChanged) this.waitQueue.wake(Number.POSITIVE_INFINITY);
  }

  withdraw(_call: string, generation: number): void {
    const { words } = this;
    this.mutex.withLock(() => {
      if (words[GENERATION_WORD] !== generation || words[PHASE_WORD] !== OPEN) return;
      const row = this.threads.ownRow();
      if (row !== undefined && (words[row + ROW_WAITING] as number) > 0) addTo(words, row + ROW_WAITING, -1);
      addTo(words, ARRIVED_COUNT_WORD, -1);
    });
  }

  stateNow(): BarrierState {
    return this.state();
  }

  state(): BarrierState {
    const { words } = this;
    return this.mutex.withLock(() => {
      const broken = words[PHASE_WORD] === BROKEN;
      return {
        parties: words[PARTIES_WORD] as number,
        nWaiting: broken ? 0 : (words[ARRIVED_COUNT_WORD] as number),
        broken,
      };
    });
  }

  handle(client: Client, operation: string, args: readonly unknown[], options: WaitQueueOptions): unknown {
    const [call, generationOrOutcome, generation] = args as [string, number, number];
    switch (operation) {
      case "arrive": {
        const arrival = this.arrive();
        if ("generation" in arrival) this.#clientGenerations.of(client).add(arrival.generation);
        return arrival;
      }
      case "waitForAction":
        return this.waitForAction(call, options);
      case "wait":
        return this.wait(call, generationOrOutcome, options);
      case "depart":
        this.#clientGenerations.of(client).delete(generationOrOutcome);
        return this.depart(call, generationOrOutcome);
      case "end":
        return this.end(call, generationOrOutcome, generation);
      case "withdraw":
        this.#clientGenerations.of(client).delete(generationOrOutcome);
        return this.withdraw(call, generationOrOutcome);
      default:
        return this.state();
    }
  }

  /** Breaks the barrier if the client was waiting at it. */
  clientGone(client: Client): void {
    for (const generation of this.#clientGenerations.remove(client))
      this.end("wait()", PROCESS_DIED | (client.pid << 8), generation);
  }

  #hasEnded(generation: number, checkLiveness: boolean): boolean {
    if (checkLiveness) this.#breakIfPartyDied();
    return Atomics.load(this.words, GENERATION_WORD) !== generation;
  }

  #isActionOver(checkLiveness: boolean): boolean {
    if (checkLiveness) this.#breakIfPartyDied();
    return Atomics.load(this.words, PHASE_WORD) !== TRIPPING;
  }

  #breakIfPartyDied(): void {
    const { words } = this;
    const dead = this.mutex.withLock(() => {
      const [row] = this.threads.deadRows((row) => words[row + ROW_WAITING] !== 0);
      return row === undefined ? undefined : ([words[row] as number, words[GENERATION_WORD] as number] as const);
    });
    if (dead !== undefined) this.end("wait()", PROCESS_DIED | (tidOf(dead[0]) << 8), dead[1]);
  }

  /** Records the outcome, and begins the next generation. */
  #endGeneration(outcome: number): void {
    const { words } = this;
    const slot = (words[GENERATION_WORD] as number) & (KEPT_OUTCOME_COUNT - 1);
    words[OUTCOMES_WORD + slot] = outcome;
    words[DEPARTED_COUNTS_WORD + slot] = 0;
    words[ARRIVED_COUNT_WORD] = 0;
    for (const row of [...this.threads.usedRows()]) if (words[row] !== currentThreadId().id) this.threads.freeRow(row);
    const ownRow = this.threads.ownRow();
    if (ownRow !== undefined) words[ownRow + ROW_WAITING] = 0;
    Atomics.store(words, GENERATION_WORD, ((words[GENERATION_WORD] as number) + 1) | 0);
  }
}

class RemoteBarrier implements BarrierBackend {
  readonly #client: PrimitiveClient;

  constructor(client: PrimitiveClient) {
    this.#client = client;
  }

  async arrive(call: string): Promise<Arrival> {
    return (await this.#client.request(call, "arrive", [call])) as Arrival;
  }

  async waitForAction(call: string, options: WaitOptions): Promise<boolean> {
    return (await this.#client.request(call, "waitForAction", [call], options)) !== TIMED_OUT;
  }

  async wait(call: string, generation: number, options: WaitOptions): Promise<boolean> {
    return (await this.#client.request(call, "wait", [call, generation], options)) !== TIMED_OUT;
  }

  waitSync(call: string): boolean {
    return requireSharedMemory(call);
  }

  async depart(call: string, generation: number): Promise<Departure> {
    return (await this.#client.request(call, "depart", [call, generation])) as Departure;
  }

  async end(call: string, outcome: number, generation?: number): Promise<void> {
    await this.#client.request(call, "end", [call, outcome, generation]);
  }

  async withdraw(call: string, generation: number): Promise<void> {
    await this.#client.request(call, "withdraw", [call, generation]);
  }

  stateNow(call: string): BarrierState {
    return requireSharedMemory(call, `(await barrier.state()).${call}`);
  }

  async state(call: string): Promise<BarrierState> {
    return (await this.#client.request(call, "state")) as BarrierState;
  }
}

/** Returns the kind of a barrier for a number of parties. */
export function barrierKind(parties: number): PrimitiveKind<BarrierBackend> {
  return {
    name: "Barrier",
    size: SEGMENT_BYTES,
    open: (memory) => new SharedBarrier(memory),
    connect: (client) => new RemoteBarrier(client),
    init: (backend) => (backend as SharedBarrier).setParties(parties),
  };
}
