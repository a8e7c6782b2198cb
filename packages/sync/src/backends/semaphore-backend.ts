/**
 * What semaphores are built on.
 *
 * What counts is how many units there are in all, and how many each thread has: the value is what is left, and is counted
 * again when somebody died while it was being written. When a thread that has units is gone, whoever waits takes its row out,
 * and its units are there again. A unit that is released by a thread that has none is taken from one that has some; if nobody
 * has, there is one more.
 */
import {
  currentThreadId,
  hasExited,
  OWNER_DIED,
  RobustMutex,
  type SharedSegment,
  TIMED_OUT,
  type WaitOptions,
  WaitQueue,
  type WaitQueueOptions,
} from "@multiproc/core/internal";
import { type Kind, type MaybePromise, requireMemory } from "../primitive.ts";
import type { RemoteLink } from "../remote/primitive-client.ts";
import type { Guest, Servant } from "../remote/primitive-server.ts";
import { Holders } from "./thread-table.ts";

/** A semaphore that knows processes. */
export interface SemaphoreLink {
  /** Takes a unit; false if the time ran out. */
  acquire(call: string, options: WaitOptions): Promise<boolean>;
  acquireSync(call: string, timeout: number | undefined): boolean;
  tryAcquire(call: string): boolean;
  /** Gives units back; no more than `limit` may be there then. */
  release(call: string, units: number, limit: number): MaybePromise<void>;
  value(call: string): MaybePromise<number>;
}

const SLOTS = 64;
const TOTAL = RobustMutex.wordCount(0);
/** The life of one who has waited long: the last unit is kept for it. */
const PRIORITY = TOTAL + 1;
const VALUE = TOTAL + 2;
const LIST = TOTAL + 8;
const HOLDERS = LIST + WaitQueue.wordCount(SLOTS);
const SIZE = 8192;
const UNITS = 1;
const PATIENCE = 5;
/** The most units, as in Python. */
export const MOST_UNITS = 0x7fff_ffff;

class MemorySemaphore implements SemaphoreLink, Servant {
  readonly #guard: RobustMutex;
  readonly #list: WaitQueue;
  readonly #words: Int32Array;
  readonly #holders: Holders;
  readonly #isShared: boolean;
  readonly #guests = new Map<Guest, number>();

  constructor(memory: SharedSegment) {
    this.#guard = new RobustMutex(memory, 0, 0);
    this.#words = new Int32Array(memory.buffer);
    this.#list = new WaitQueue(memory, LIST, SLOTS);
    this.#holders = new Holders(this.#words, HOLDERS, (SIZE / 4 - HOLDERS) >> 1, 2);
    this.#isShared = memory.isShared;
  }

  /** The units at the beginning. */
  fill(units: number): void {
    this.#words[TOTAL] = units;
    this.#words[VALUE] = units;
  }

  tryAcquire(): boolean {
    return !this.#list.isWaiting && this.#take(false, 0);
  }

  acquire(call: string, options: WaitQueueOptions): Promise<boolean> {
    let began = 0;
    const check = (isSlow: boolean): boolean => {
      began ||= performance.now();
      return this.#take(isSlow, performance.now() - began);
    };
    return this.#list.wait(check, call, options).then(
      (isTaken) => this.#ended(isTaken),
      (error) => {
        this.#ended(false);
        throw error;
      },
    );
  }

  acquireSync(call: string, timeout: number | undefined): boolean {
    if (this.tryAcquire()) return true;
    if (timeout === 0) return false;
    if (!this.#isShared) requireMemory(call, `await ${call.replace("Sync", "")}`);
    const began = performance.now();
    return this.#ended(this.#list.waitSync((isSlow) => this.#take(isSlow, performance.now() - began), timeout));
  }

  release(call: string, units: number, limit: number): void {
    this.#enter();
    try {
      if (this.#value + units > limit) throw tooMany(call, limit);
      const own = this.#holders.own();
      for (let i = 0; i < units; i++) this.#return(own);
    } finally {
      this.#guard.release();
    }
    this.#list.wake(units);
  }

  value(): number {
    this.#enter();
    const value = this.#value;
    this.#guard.release();
    return value;
  }

  serve(guest: Guest, operation: string, args: readonly unknown[], options: WaitQueueOptions): unknown {
    const [call, units, limit] = args as [string, number, number];
    switch (operation) {
      case "acquire":
        return this.acquire(call, options).then((isTaken) => this.#give(guest, isTaken));
      case "try":
        return this.#give(guest, this.tryAcquire());
      case "release":
        this.release(call, units, limit);
        return void this.#guests.set(guest, Math.max(0, (this.#guests.get(guest) ?? 0) - units));
      default:
        return this.value();
    }
  }

  leave(guest: Guest): void {
    const units = this.#guests.get(guest) ?? 0;
    this.#guests.delete(guest);
    if (units > 0) this.release("release()", units, Number.POSITIVE_INFINITY);
  }

  #give(guest: Guest, isTaken: boolean): boolean {
    if (!isTaken) return false;
    this.#guests.set(guest, (this.#guests.get(guest) ?? 0) + 1);
    if (guest.isGone) this.leave(guest);
    return true;
  }

  #take(isSlow: boolean, waited: number): boolean {
    this.#enter();
    try {
      const words = this.#words;
      const { id } = currentThreadId();
      if (isSlow && this.#value === 0) this.#bury();
      const left = this.#value;
      const priority = words[PRIORITY] as number;
      const isOpen = priority === 0 || priority === id || (isSlow && hasExited(priority));
      if (left === 0 || (left === 1 && !isOpen)) {
        if (waited > PATIENCE && priority === 0) words[PRIORITY] = id;
        return false;
      }
      if (isOpen) words[PRIORITY] = 0;
      const own = this.#holders.own();
      // One too many to keep books on: its units do not come back by themselves.
      if (own === undefined) this.#add(TOTAL, -1);
      else this.#add(own + UNITS, 1);
      this.#add(VALUE, -1);
      return true;
    } finally {
      this.#guard.release();
    }
  }

  #return(own: number | undefined): void {
    const isHolder = (row: number): boolean => this.#words[row + UNITS] !== 0;
    const row = own !== undefined && isHolder(own) ? own : this.#holders.find(isHolder);
    if (row === undefined) this.#add(TOTAL, 1);
    else this.#add(row + UNITS, -1);
    this.#add(VALUE, 1);
  }

  get #value(): number {
    return this.#words[VALUE] as number;
  }

  #add(at: number, change: number): void {
    this.#words[at] = (this.#words[at] as number) + change;
  }

  #enter(): void {
    if (this.#guard.acquireSync() === OWNER_DIED) this.#count();
  }

  #count(): void {
    let value = this.#words[TOTAL] as number;
    for (const row of this.#holders.all()) value -= this.#words[row + UNITS] as number;
    this.#words[VALUE] = value;
  }

  /** Takes out those who are gone. */
  #bury(): void {
    for (const row of this.#holders.gone((row) => this.#words[row + UNITS] !== 0)) this.#holders.free(row);
    this.#count();
  }

  #ended(isTaken: boolean): boolean {
    if (isTaken || this.#list.isWaiting) return isTaken;
    if (Atomics.compareExchange(this.#words, PRIORITY, currentThreadId().id, 0) === currentThreadId().id)
      this.#list.wake(1);
    return isTaken;
  }
}

class RemoteSemaphore implements SemaphoreLink {
  readonly #remote: RemoteLink;

  constructor(remote: RemoteLink) {
    this.#remote = remote;
  }

  async acquire(call: string, options: WaitOptions): Promise<boolean> {
    const undo = (isTaken: unknown): void => {
      if (isTaken === true) this.#remote.tell("release", ["release()", 1, MOST_UNITS]);
    };
    const isTry = options.timeout === 0;
    const answer = isTry
      ? await this.#remote.ask(call, "try", [call], { signal: options.signal }, undo)
      : await this.#remote.ask(call, "acquire", [call], options, undo);
    return answer !== TIMED_OUT && (answer as boolean);
  }

  acquireSync(call: string): boolean {
    return requireMemory(call, `await ${call.replace("Sync", "")}`);
  }

  tryAcquire(call: string): boolean {
    return requireMemory(call, "await acquire({ timeout: 0 })");
  }

  async release(call: string, units: number, limit: number): Promise<void> {
    await this.#remote.ask(call, "release", [call, units, limit]);
  }

  async value(call: string): Promise<number> {
    return (await this.#remote.ask(call, "value", [call])) as number;
  }
}

/** How semaphores are made that have so many units at the beginning. */
export function semaphoreKind(name: string, units: number): Kind<SemaphoreLink> {
  return {
    name,
    size: SIZE,
    open: (memory) => new MemorySemaphore(memory),
    reach: (remote) => new RemoteSemaphore(remote),
    begin: (link) => (link as MemorySemaphore).fill(units),
  };
}

function tooMany(call: string, limit: number): RangeError {
  return new RangeError(`${call} was called too often: the semaphore has at most ${limit} units`);
}
