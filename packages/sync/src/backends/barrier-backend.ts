/**
 * What barriers are built on.
 *
 * Those who come are counted for one *generation*; with the last of them, or when the barrier breaks, it is over and the next
 * begins. Whoever has waited finds out how its own generation ended. While the last who came runs the barrier's action, nobody
 * else may come.
 */
import {
  currentThreadId,
  RobustMutex,
  type SharedSegment,
  TIMED_OUT,
  tidOf,
  type WaitOptions,
  WaitQueue,
  type WaitQueueOptions,
} from "@multiproc/core/internal";
import { type MaybePromise, type PrimitiveKind, requireSharedMemory } from "../primitive.ts";
import type { PrimitiveClient } from "../remote/primitive-client.ts";
import type { Client, RequestHandler } from "../remote/primitive-server.ts";
import { ThreadTable } from "./thread-table.ts";

/** How a generation ends. */
export const PASSED = 0;
export const WAIT_TIMED_OUT = 1;
export const ABORTED = 2;
export const RESET = 3;
export const ACTION_FAILED = 4;
/** Together with the number of the process that died, shifted by 8 bits. */
export const PROCESS_DIED = 5;

/** What comes of coming: a place in a generation, the reason why the barrier is broken, or that it is busy. */
export type Arrival = { generation: number; isLast: boolean } | { brokenReason: number } | { isBusy: true };

/** What comes of leaving: a place among those who passed, or why the barrier broke; undefined if it is not over. */
export type Departure = { index: number } | { brokenReason: number } | undefined;

/** How a barrier is. */
export interface BarrierState {
  readonly waitingCount: number;
  readonly isBroken: boolean;
}

/** A barrier that knows processes. */
export interface BarrierBackend {
  arrive(call: string): MaybePromise<Arrival>;
  /** Waits until nobody runs the action any more. */
  waitUntilIdle(call: string, options: WaitOptions): Promise<boolean>;
  /** Waits until the generation is over; false if the time ran out. */
  wait(call: string, generation: number, options: WaitOptions): Promise<boolean>;
  waitSync(call: string, generation: number | undefined, timeout: number | undefined): boolean;
  /** How the generation ended; whoever has waited asks once. */
  depart(call: string, generation: number): MaybePromise<Departure>;
  /** Ends the generation so, if it goes on; without one, the current one. One who leaves only gives up its place. */
  end(call: string, outcome: number, generation?: number): MaybePromise<void>;
  clientGone(call: string, generation: number): MaybePromise<void>;
  state(call: string): MaybePromise<BarrierState>;
}

const WAITER_SLOT_COUNT = 64;
const PARTIES_WORD = RobustMutex.wordCount(0);
const GENERATION_WORD = PARTIES_WORD + 1;
const ARRIVED_COUNT_WORD = PARTIES_WORD + 2;
const STATE_WORD = PARTIES_WORD + 3;
/** Why the barrier is broken. */
const BREAK_REASON_WORD = PARTIES_WORD + 4;
/** How the last generations ended, and how many have asked since. */
const KEPT_OUTCOME_COUNT = 64;
const OUTCOMES_WORD = PARTIES_WORD + 8;
const DEPARTED_COUNTS_WORD = OUTCOMES_WORD + KEPT_OUTCOME_COUNT;
const WAIT_QUEUE_WORD = DEPARTED_COUNTS_WORD + KEPT_OUTCOME_COUNT;
const THREAD_TABLE_WORD = WAIT_QUEUE_WORD + WaitQueue.wordCount(WAITER_SLOT_COUNT);
const SEGMENT_BYTES = 8192;
const ROW_WAITING = 1;
const OPEN = 0;
const TRIPPING = 1;
const BROKEN = 2;

class SharedBarrier implements BarrierBackend, RequestHandler {
  readonly #mutex: RobustMutex;
  readonly #waitQueue: WaitQueue;
  readonly #words: Int32Array;
  /** How many flows of a thread have come in this generation. */
  readonly #threads: ThreadTable;
  readonly #isShared: boolean;
  readonly #clientGenerations = new Map<Client, Set<number>>();

  constructor(memory: SharedSegment) {
    this.#mutex = new RobustMutex(memory, 0, 0);
    this.#words = new Int32Array(memory.buffer);
    this.#waitQueue = new WaitQueue(memory, WAIT_QUEUE_WORD, WAITER_SLOT_COUNT);
    this.#threads = new ThreadTable(this.#words, THREAD_TABLE_WORD, (SEGMENT_BYTES / 4 - THREAD_TABLE_WORD) >> 1, 2);
    this.#isShared = memory.isShared;
  }

  setParties(parties: number): void {
    this.#words[PARTIES_WORD] = parties;
  }

  arrive(): Arrival {
    const words = this.#words;
    return this.#mutex.withLock(() => {
      if (words[STATE_WORD] === BROKEN) return { brokenReason: words[BREAK_REASON_WORD] as number };
      if (words[STATE_WORD] === TRIPPING) return { isBusy: true };
      const row = this.#threads.ownRow();
      if (row !== undefined) this.#add(row + ROW_WAITING, 1);
      this.#add(ARRIVED_COUNT_WORD, 1);
      const isLast = words[ARRIVED_COUNT_WORD] === words[PARTIES_WORD];
      if (isLast) words[STATE_WORD] = TRIPPING;
      return { generation: words[GENERATION_WORD] as number, isLast };
    });
  }

  waitUntilIdle(call: string, options: WaitQueueOptions): Promise<boolean> {
    return this.#waitQueue.wait((checkLiveness) => this.#isIdle(checkLiveness), call, options);
  }

  wait(call: string, generation: number, options: WaitQueueOptions): Promise<boolean> {
    return this.#waitQueue.wait((checkLiveness) => this.#hasEnded(generation, checkLiveness), call, options);
  }

  waitSync(call: string, generation: number | undefined, timeout: number | undefined): boolean {
    if (!this.#isShared) requireSharedMemory(call, `await ${call.replace("Sync", "")}`);
    const condition = (checkLiveness: boolean): boolean =>
      generation === undefined ? this.#isIdle(checkLiveness) : this.#hasEnded(generation, checkLiveness);
    return this.#waitQueue.waitSync(condition, timeout);
  }

  depart(_call: string, generation: number): Departure {
    const words = this.#words;
    return this.#mutex.withLock(() => {
      if (words[GENERATION_WORD] === generation) return undefined;
      const slot = generation & (KEPT_OUTCOME_COUNT - 1);
      if (words[OUTCOMES_WORD + slot] !== PASSED) return { brokenReason: words[OUTCOMES_WORD + slot] as number };
      this.#add(DEPARTED_COUNTS_WORD + slot, 1);
      return { index: (words[DEPARTED_COUNTS_WORD + slot] as number) - 1 };
    });
  }

  end(_call: string, outcome: number, generation?: number): void {
    const words = this.#words;
    const isChanged = this.#mutex.withLock(() => {
      const state = words[STATE_WORD];
      if (generation !== undefined && generation !== words[GENERATION_WORD]) return false;
      // Who runs out of time while all have come is about to be let go.
      if (outcome === WAIT_TIMED_OUT && state !== OPEN) return false;
      if ((words[ARRIVED_COUNT_WORD] as number) > 0 || outcome !== RESET) this.#endGeneration(outcome);
      if (outcome !== PASSED && outcome !== RESET) words[BREAK_REASON_WORD] = outcome;
      words[STATE_WORD] = outcome === PASSED || outcome === RESET ? OPEN : BROKEN;
      return true;
    });
    if (isChanged) this.#waitQueue.wake(Number.POSITIVE_INFINITY);
  }

  clientGone(callOrClient: string | Client, generation?: number): void {
    if (typeof callOrClient !== "string") return this.#breakForClient(callOrClient);
    const words = this.#words;
    this.#mutex.withLock(() => {
      if (words[GENERATION_WORD] !== generation || words[STATE_WORD] !== OPEN) return;
      const row = this.#threads.ownRow();
      if (row !== undefined && (words[row + ROW_WAITING] as number) > 0) this.#add(row + ROW_WAITING, -1);
      this.#add(ARRIVED_COUNT_WORD, -1);
    });
  }

  state(): BarrierState {
    const words = this.#words;
    return this.#mutex.withLock(() => ({
      waitingCount: words[STATE_WORD] === BROKEN ? 0 : (words[ARRIVED_COUNT_WORD] as number),
      isBroken: words[STATE_WORD] === BROKEN,
    }));
  }

  handle(client: Client, operation: string, args: readonly unknown[], options: WaitQueueOptions): unknown {
    const [call, generationOrOutcome, generation] = args as [string, number, number];
    switch (operation) {
      case "arrive": {
        const arrival = this.arrive();
        if ("generation" in arrival) this.#generationsOf(client).add(arrival.generation);
        return arrival;
      }
      case "idle":
        return this.waitUntilIdle(call, options);
      case "wait":
        return this.wait(call, generationOrOutcome, options);
      case "depart":
        this.#generationsOf(client).delete(generationOrOutcome);
        return this.depart(call, generationOrOutcome);
      case "end":
        return this.end(call, generationOrOutcome, generation);
      case "leave":
        this.#generationsOf(client).delete(generationOrOutcome);
        return this.clientGone(call, generationOrOutcome);
      default:
        return this.state();
    }
  }

  /** A guest died: if its generation goes on, it is broken. */
  #breakForClient(client: Client): void {
    for (const generation of this.#generationsOf(client))
      this.end("wait()", PROCESS_DIED | (client.pid << 8), generation);
    this.#clientGenerations.delete(client);
  }

  #generationsOf(client: Client): Set<number> {
    let generations = this.#clientGenerations.get(client);
    if (generations === undefined) {
      generations = new Set();
      this.#clientGenerations.set(client, generations);
    }
    return generations;
  }

  #hasEnded(generation: number, checkLiveness: boolean): boolean {
    if (checkLiveness) this.#breakIfDied();
    return Atomics.load(this.#words, GENERATION_WORD) !== generation;
  }

  #isIdle(checkLiveness: boolean): boolean {
    if (checkLiveness) this.#breakIfDied();
    return Atomics.load(this.#words, STATE_WORD) !== TRIPPING;
  }

  #breakIfDied(): void {
    const words = this.#words;
    const dead = this.#mutex.withLock(() => {
      const [row] = this.#threads.deadRows((row) => words[row + ROW_WAITING] !== 0);
      return row === undefined ? undefined : ([words[row] as number, words[GENERATION_WORD] as number] as const);
    });
    if (dead !== undefined) this.end("wait()", PROCESS_DIED | (tidOf(dead[0]) << 8), dead[1]);
  }

  /** The next generation begins. */
  #endGeneration(outcome: number): void {
    const words = this.#words;
    const slot = (words[GENERATION_WORD] as number) & (KEPT_OUTCOME_COUNT - 1);
    words[OUTCOMES_WORD + slot] = outcome;
    words[DEPARTED_COUNTS_WORD + slot] = 0;
    words[ARRIVED_COUNT_WORD] = 0;
    for (const row of [...this.#threads.usedRows()])
      if (words[row] !== currentThreadId().id) this.#threads.freeRow(row);
    const ownRow = this.#threads.ownRow();
    if (ownRow !== undefined) words[ownRow + ROW_WAITING] = 0;
    Atomics.store(words, GENERATION_WORD, ((words[GENERATION_WORD] as number) + 1) | 0);
  }

  #add(word: number, change: number): void {
    this.#words[word] = (this.#words[word] as number) + change;
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

  async waitUntilIdle(call: string, options: WaitOptions): Promise<boolean> {
    return (await this.#client.request(call, "idle", [call], options)) !== TIMED_OUT;
  }

  async wait(call: string, generation: number, options: WaitOptions): Promise<boolean> {
    return (await this.#client.request(call, "wait", [call, generation], options)) !== TIMED_OUT;
  }

  waitSync(call: string): boolean {
    return requireSharedMemory(call, `await ${call.replace("Sync", "")}`);
  }

  async depart(call: string, generation: number): Promise<Departure> {
    return (await this.#client.request(call, "depart", [call, generation])) as Departure;
  }

  async end(call: string, outcome: number, generation?: number): Promise<void> {
    await this.#client.request(call, "end", [call, outcome, generation]);
  }

  async clientGone(call: string, generation: number): Promise<void> {
    await this.#client.request(call, "leave", [call, generation]);
  }

  async state(call: string): Promise<BarrierState> {
    return (await this.#client.request(call, "state")) as BarrierState;
  }
}

/** How barriers for so many are made. */
export function barrierKind(parties: number): PrimitiveKind<BarrierBackend> {
  return {
    name: "Barrier",
    size: SEGMENT_BYTES,
    open: (memory) => new SharedBarrier(memory),
    connect: (client) => new RemoteBarrier(client),
    init: (link) => (link as SharedBarrier).setParties(parties),
  };
}
