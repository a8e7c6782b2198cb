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
import { type Kind, type MaybePromise, requireMemory } from "../primitive.ts";
import type { RemoteLink } from "../remote/primitive-client.ts";
import type { Guest, Servant } from "../remote/primitive-server.ts";
import { Holders } from "./thread-table.ts";

/** How a generation ends. */
export const PASSED = 0;
export const RAN_OUT = 1;
export const ABORTED = 2;
export const RESET = 3;
export const FAILED = 4;
/** Together with the number of the process that died, shifted by 8 bits. */
export const DIED = 5;

/** What comes of coming: a place in a generation, the reason why the barrier is broken, or that it is busy. */
export type Arrival = { generation: number; isLast: boolean } | { broken: number } | { isBusy: true };

/** What comes of leaving: a place among those who passed, or why the barrier broke; undefined if it is not over. */
export type Departure = { index: number } | { broken: number } | undefined;

/** How a barrier is. */
export interface BarrierState {
  readonly waiting: number;
  readonly isBroken: boolean;
}

/** A barrier that knows processes. */
export interface BarrierLink {
  arrive(call: string): MaybePromise<Arrival>;
  /** Waits until nobody runs the action any more. */
  idle(call: string, options: WaitOptions): Promise<boolean>;
  /** Waits until the generation is over; false if the time ran out. */
  wait(call: string, generation: number, options: WaitOptions): Promise<boolean>;
  waitSync(call: string, generation: number | undefined, timeout: number | undefined): boolean;
  /** How the generation ended; whoever has waited asks once. */
  depart(call: string, generation: number): MaybePromise<Departure>;
  /** Ends the generation so, if it goes on; without one, the current one. One who leaves only gives up its place. */
  end(call: string, how: number, generation?: number): MaybePromise<void>;
  leave(call: string, generation: number): MaybePromise<void>;
  state(call: string): MaybePromise<BarrierState>;
}

const SLOTS = 64;
const PARTIES = RobustMutex.wordCount(0);
const GENERATION = PARTIES + 1;
const COUNT = PARTIES + 2;
const STATE = PARTIES + 3;
/** Why the barrier is broken. */
const REASON = PARTIES + 4;
/** How the last generations ended, and how many have asked since. */
const KEPT = 64;
const OUTCOMES = PARTIES + 8;
const DEPARTED = OUTCOMES + KEPT;
const LIST = DEPARTED + KEPT;
const ROWS = LIST + WaitQueue.wordCount(SLOTS);
const SIZE = 8192;
const WAITING = 1;
const OPEN = 0;
const TRIPPING = 1;
const BROKEN = 2;

class MemoryBarrier implements BarrierLink, Servant {
  readonly #guard: RobustMutex;
  readonly #list: WaitQueue;
  readonly #words: Int32Array;
  /** How many flows of a thread have come in this generation. */
  readonly #rows: Holders;
  readonly #isShared: boolean;
  readonly #guests = new Map<Guest, Set<number>>();

  constructor(memory: SharedSegment) {
    this.#guard = new RobustMutex(memory, 0, 0);
    this.#words = new Int32Array(memory.buffer);
    this.#list = new WaitQueue(memory, LIST, SLOTS);
    this.#rows = new Holders(this.#words, ROWS, (SIZE / 4 - ROWS) >> 1, 2);
    this.#isShared = memory.isShared;
  }

  begin(parties: number): void {
    this.#words[PARTIES] = parties;
  }

  arrive(): Arrival {
    const words = this.#words;
    return this.#guard.withLock(() => {
      if (words[STATE] === BROKEN) return { broken: words[REASON] as number };
      if (words[STATE] === TRIPPING) return { isBusy: true };
      const row = this.#rows.own();
      if (row !== undefined) this.#add(row + WAITING, 1);
      this.#add(COUNT, 1);
      const isLast = words[COUNT] === words[PARTIES];
      if (isLast) words[STATE] = TRIPPING;
      return { generation: words[GENERATION] as number, isLast };
    });
  }

  idle(call: string, options: WaitQueueOptions): Promise<boolean> {
    return this.#list.wait((isSlow) => this.#isIdle(isSlow), call, options);
  }

  wait(call: string, generation: number, options: WaitQueueOptions): Promise<boolean> {
    return this.#list.wait((isSlow) => this.#isOver(generation, isSlow), call, options);
  }

  waitSync(call: string, generation: number | undefined, timeout: number | undefined): boolean {
    if (!this.#isShared) requireMemory(call, `await ${call.replace("Sync", "")}`);
    const check = (isSlow: boolean): boolean =>
      generation === undefined ? this.#isIdle(isSlow) : this.#isOver(generation, isSlow);
    return this.#list.waitSync(check, timeout);
  }

  depart(_call: string, generation: number): Departure {
    const words = this.#words;
    return this.#guard.withLock(() => {
      if (words[GENERATION] === generation) return undefined;
      const place = generation & (KEPT - 1);
      if (words[OUTCOMES + place] !== PASSED) return { broken: words[OUTCOMES + place] as number };
      this.#add(DEPARTED + place, 1);
      return { index: (words[DEPARTED + place] as number) - 1 };
    });
  }

  end(_call: string, how: number, generation?: number): void {
    const words = this.#words;
    const isChanged = this.#guard.withLock(() => {
      const state = words[STATE];
      if (generation !== undefined && generation !== words[GENERATION]) return false;
      // Who runs out of time while all have come is about to be let go.
      if (how === RAN_OUT && state !== OPEN) return false;
      if ((words[COUNT] as number) > 0 || how !== RESET) this.#over(how);
      if (how !== PASSED && how !== RESET) words[REASON] = how;
      words[STATE] = how === PASSED || how === RESET ? OPEN : BROKEN;
      return true;
    });
    if (isChanged) this.#list.wake(Number.POSITIVE_INFINITY);
  }

  leave(callOrGuest: string | Guest, generation?: number): void {
    if (typeof callOrGuest !== "string") return this.#forget(callOrGuest);
    const words = this.#words;
    this.#guard.withLock(() => {
      if (words[GENERATION] !== generation || words[STATE] !== OPEN) return;
      const row = this.#rows.own();
      if (row !== undefined && (words[row + WAITING] as number) > 0) this.#add(row + WAITING, -1);
      this.#add(COUNT, -1);
    });
  }

  state(): BarrierState {
    const words = this.#words;
    return this.#guard.withLock(() => ({
      waiting: words[STATE] === BROKEN ? 0 : (words[COUNT] as number),
      isBroken: words[STATE] === BROKEN,
    }));
  }

  serve(guest: Guest, operation: string, args: readonly unknown[], options: WaitQueueOptions): unknown {
    const [call, number, generation] = args as [string, number, number];
    switch (operation) {
      case "arrive": {
        const arrival = this.arrive();
        if ("generation" in arrival) this.#generationsOf(guest).add(arrival.generation);
        return arrival;
      }
      case "idle":
        return this.idle(call, options);
      case "wait":
        return this.wait(call, number, options);
      case "depart":
        this.#generationsOf(guest).delete(number);
        return this.depart(call, number);
      case "end":
        return this.end(call, number, generation);
      case "leave":
        this.#generationsOf(guest).delete(number);
        return this.leave(call, number);
      default:
        return this.state();
    }
  }

  /** A guest died: if its generation goes on, it is broken. */
  #forget(guest: Guest): void {
    for (const generation of this.#generationsOf(guest)) this.end("wait()", DIED | (guest.pid << 8), generation);
    this.#guests.delete(guest);
  }

  #generationsOf(guest: Guest): Set<number> {
    let generations = this.#guests.get(guest);
    if (generations === undefined) {
      generations = new Set();
      this.#guests.set(guest, generations);
    }
    return generations;
  }

  #isOver(generation: number, isSlow: boolean): boolean {
    if (isSlow) this.#breakIfDied();
    return Atomics.load(this.#words, GENERATION) !== generation;
  }

  #isIdle(isSlow: boolean): boolean {
    if (isSlow) this.#breakIfDied();
    return Atomics.load(this.#words, STATE) !== TRIPPING;
  }

  #breakIfDied(): void {
    const words = this.#words;
    const found = this.#guard.withLock(() => {
      const [row] = this.#rows.gone((row) => words[row + WAITING] !== 0);
      return row === undefined ? undefined : ([words[row] as number, words[GENERATION] as number] as const);
    });
    if (found !== undefined) this.end("wait()", DIED | (tidOf(found[0]) << 8), found[1]);
  }

  /** The next generation begins. */
  #over(how: number): void {
    const words = this.#words;
    const place = (words[GENERATION] as number) & (KEPT - 1);
    words[OUTCOMES + place] = how;
    words[DEPARTED + place] = 0;
    words[COUNT] = 0;
    for (const row of [...this.#rows.all()]) if (words[row] !== currentThreadId().id) this.#rows.free(row);
    const own = this.#rows.own();
    if (own !== undefined) words[own + WAITING] = 0;
    Atomics.store(words, GENERATION, ((words[GENERATION] as number) + 1) | 0);
  }

  #add(at: number, change: number): void {
    this.#words[at] = (this.#words[at] as number) + change;
  }
}

class RemoteBarrier implements BarrierLink {
  readonly #remote: RemoteLink;

  constructor(remote: RemoteLink) {
    this.#remote = remote;
  }

  async arrive(call: string): Promise<Arrival> {
    return (await this.#remote.ask(call, "arrive", [call])) as Arrival;
  }

  async idle(call: string, options: WaitOptions): Promise<boolean> {
    return (await this.#remote.ask(call, "idle", [call], options)) !== TIMED_OUT;
  }

  async wait(call: string, generation: number, options: WaitOptions): Promise<boolean> {
    return (await this.#remote.ask(call, "wait", [call, generation], options)) !== TIMED_OUT;
  }

  waitSync(call: string): boolean {
    return requireMemory(call, `await ${call.replace("Sync", "")}`);
  }

  async depart(call: string, generation: number): Promise<Departure> {
    return (await this.#remote.ask(call, "depart", [call, generation])) as Departure;
  }

  async end(call: string, how: number, generation?: number): Promise<void> {
    await this.#remote.ask(call, "end", [call, how, generation]);
  }

  async leave(call: string, generation: number): Promise<void> {
    await this.#remote.ask(call, "leave", [call, generation]);
  }

  async state(call: string): Promise<BarrierState> {
    return (await this.#remote.ask(call, "state")) as BarrierState;
  }
}

/** How barriers for so many are made. */
export function barrierKind(parties: number): Kind<BarrierLink> {
  return {
    name: "Barrier",
    size: SIZE,
    open: (memory) => new MemoryBarrier(memory),
    reach: (remote) => new RemoteBarrier(remote),
    begin: (link) => (link as MemoryBarrier).begin(parties),
  };
}
