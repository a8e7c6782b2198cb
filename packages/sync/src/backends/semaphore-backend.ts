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
import { type MaybePromise, type PrimitiveKind, requireSharedMemory } from "../primitive.ts";
import type { PrimitiveClient } from "../remote/primitive-client.ts";
import type { Client, RequestHandler } from "../remote/primitive-server.ts";
import { ThreadTable } from "./thread-table.ts";

/** A semaphore that knows processes. */
export interface SemaphoreBackend {
  /** Takes a unit; false if the time ran out. */
  acquire(call: string, options: WaitOptions): Promise<boolean>;
  acquireSync(call: string, timeout: number | undefined): boolean;
  tryAcquire(call: string): boolean;
  /** Gives units back; no more than `limit` may be there then. */
  release(call: string, units: number, limit: number): MaybePromise<void>;
  value(call: string): MaybePromise<number>;
}

const WAITER_SLOT_COUNT = 64;
const TOTAL_WORD = RobustMutex.wordCount(0);
/** The life of one who has waited long: the last unit is kept for it. */
const PRIORITY_WORD = TOTAL_WORD + 1;
const VALUE_WORD = TOTAL_WORD + 2;
const WAIT_QUEUE_WORD = TOTAL_WORD + 8;
const THREAD_TABLE_WORD = WAIT_QUEUE_WORD + WaitQueue.wordCount(WAITER_SLOT_COUNT);
const SEGMENT_BYTES = 8192;
const ROW_UNITS = 1;
const PRIORITY_AFTER_MS = 5;
/** The most units, as in Python. */
export const MAX_UNITS = 0x7fff_ffff;

class SharedSemaphore implements SemaphoreBackend, RequestHandler {
  readonly #mutex: RobustMutex;
  readonly #waitQueue: WaitQueue;
  readonly #words: Int32Array;
  readonly #threads: ThreadTable;
  readonly #isShared: boolean;
  readonly #clientUnits = new Map<Client, number>();

  constructor(memory: SharedSegment) {
    this.#mutex = new RobustMutex(memory, 0, 0);
    this.#words = new Int32Array(memory.buffer);
    this.#waitQueue = new WaitQueue(memory, WAIT_QUEUE_WORD, WAITER_SLOT_COUNT);
    this.#threads = new ThreadTable(this.#words, THREAD_TABLE_WORD, (SEGMENT_BYTES / 4 - THREAD_TABLE_WORD) >> 1, 2);
    this.#isShared = memory.isShared;
  }

  /** The units at the beginning. */
  setUnits(units: number): void {
    this.#words[TOTAL_WORD] = units;
    this.#words[VALUE_WORD] = units;
  }

  tryAcquire(): boolean {
    return !this.#waitQueue.isWaiting && this.#tryTake(false, 0);
  }

  acquire(call: string, options: WaitQueueOptions): Promise<boolean> {
    let startedAt = 0;
    const condition = (checkLiveness: boolean): boolean => {
      startedAt ||= performance.now();
      return this.#tryTake(checkLiveness, performance.now() - startedAt);
    };
    return this.#waitQueue.wait(condition, call, options).then(
      (isTaken) => this.#endWait(isTaken),
      (error) => {
        this.#endWait(false);
        throw error;
      },
    );
  }

  acquireSync(call: string, timeout: number | undefined): boolean {
    if (this.tryAcquire()) return true;
    if (timeout === 0) return false;
    if (!this.#isShared) requireSharedMemory(call, `await ${call.replace("Sync", "")}`);
    const startedAt = performance.now();
    return this.#endWait(
      this.#waitQueue.waitSync((checkLiveness) => this.#tryTake(checkLiveness, performance.now() - startedAt), timeout),
    );
  }

  release(call: string, units: number, limit: number): void {
    this.#lock();
    try {
      if (this.#value + units > limit) throw tooMany(call, limit);
      const ownRow = this.#threads.ownRow();
      for (let i = 0; i < units; i++) this.#returnUnit(ownRow);
    } finally {
      this.#mutex.release();
    }
    this.#waitQueue.wake(units);
  }

  value(): number {
    this.#lock();
    const value = this.#value;
    this.#mutex.release();
    return value;
  }

  handle(client: Client, operation: string, args: readonly unknown[], options: WaitQueueOptions): unknown {
    const [call, units, limit] = args as [string, number, number];
    switch (operation) {
      case "acquire":
        return this.acquire(call, options).then((isTaken) => this.#grantTo(client, isTaken));
      case "try":
        return this.#grantTo(client, this.tryAcquire());
      case "release":
        this.release(call, units, limit);
        return void this.#clientUnits.set(client, Math.max(0, (this.#clientUnits.get(client) ?? 0) - units));
      default:
        return this.value();
    }
  }

  clientGone(client: Client): void {
    const units = this.#clientUnits.get(client) ?? 0;
    this.#clientUnits.delete(client);
    if (units > 0) this.release("release()", units, Number.POSITIVE_INFINITY);
  }

  #grantTo(client: Client, isTaken: boolean): boolean {
    if (!isTaken) return false;
    this.#clientUnits.set(client, (this.#clientUnits.get(client) ?? 0) + 1);
    if (client.isGone) this.clientGone(client);
    return true;
  }

  #tryTake(checkLiveness: boolean, waitedMs: number): boolean {
    this.#lock();
    try {
      const words = this.#words;
      const { id } = currentThreadId();
      if (checkLiveness && this.#value === 0) this.#removeDead();
      const available = this.#value;
      const priority = words[PRIORITY_WORD] as number;
      const hasPriority = priority === 0 || priority === id || (checkLiveness && hasExited(priority));
      if (available === 0 || (available === 1 && !hasPriority)) {
        if (waitedMs > PRIORITY_AFTER_MS && priority === 0) words[PRIORITY_WORD] = id;
        return false;
      }
      if (hasPriority) words[PRIORITY_WORD] = 0;
      const ownRow = this.#threads.ownRow();
      // One too many to keep books on: its units do not come back by themselves.
      if (ownRow === undefined) this.#add(TOTAL_WORD, -1);
      else this.#add(ownRow + ROW_UNITS, 1);
      this.#add(VALUE_WORD, -1);
      return true;
    } finally {
      this.#mutex.release();
    }
  }

  #returnUnit(ownRow: number | undefined): void {
    const isHolder = (row: number): boolean => this.#words[row + ROW_UNITS] !== 0;
    const row = ownRow !== undefined && isHolder(ownRow) ? ownRow : this.#threads.findRow(isHolder);
    if (row === undefined) this.#add(TOTAL_WORD, 1);
    else this.#add(row + ROW_UNITS, -1);
    this.#add(VALUE_WORD, 1);
  }

  get #value(): number {
    return this.#words[VALUE_WORD] as number;
  }

  #add(word: number, change: number): void {
    this.#words[word] = (this.#words[word] as number) + change;
  }

  #lock(): void {
    if (this.#mutex.acquireSync() === OWNER_DIED) this.#recount();
  }

  #recount(): void {
    let value = this.#words[TOTAL_WORD] as number;
    for (const row of this.#threads.usedRows()) value -= this.#words[row + ROW_UNITS] as number;
    this.#words[VALUE_WORD] = value;
  }

  /** Takes out those who are gone. */
  #removeDead(): void {
    for (const row of this.#threads.deadRows((row) => this.#words[row + ROW_UNITS] !== 0)) this.#threads.freeRow(row);
    this.#recount();
  }

  #endWait(isTaken: boolean): boolean {
    if (isTaken || this.#waitQueue.isWaiting) return isTaken;
    if (Atomics.compareExchange(this.#words, PRIORITY_WORD, currentThreadId().id, 0) === currentThreadId().id)
      this.#waitQueue.wake(1);
    return isTaken;
  }
}

class RemoteSemaphore implements SemaphoreBackend {
  readonly #client: PrimitiveClient;

  constructor(client: PrimitiveClient) {
    this.#client = client;
  }

  async acquire(call: string, options: WaitOptions): Promise<boolean> {
    const undo = (isTaken: unknown): void => {
      if (isTaken === true) this.#client.notify("release", ["release()", 1, MAX_UNITS]);
    };
    const isTry = options.timeout === 0;
    const reply = isTry
      ? await this.#client.request(call, "try", [call], { signal: options.signal }, undo)
      : await this.#client.request(call, "acquire", [call], options, undo);
    return reply !== TIMED_OUT && (reply as boolean);
  }

  acquireSync(call: string): boolean {
    return requireSharedMemory(call, `await ${call.replace("Sync", "")}`);
  }

  tryAcquire(call: string): boolean {
    return requireSharedMemory(call, "await acquire({ timeout: 0 })");
  }

  async release(call: string, units: number, limit: number): Promise<void> {
    await this.#client.request(call, "release", [call, units, limit]);
  }

  async value(call: string): Promise<number> {
    return (await this.#client.request(call, "value", [call])) as number;
  }
}

/** How semaphores are made that have so many units at the beginning. */
export function semaphoreKind(name: string, units: number): PrimitiveKind<SemaphoreBackend> {
  return {
    name,
    size: SEGMENT_BYTES,
    open: (memory) => new SharedSemaphore(memory),
    connect: (client) => new RemoteSemaphore(client),
    init: (link) => (link as SharedSemaphore).setUnits(units),
  };
}

function tooMany(call: string, limit: number): RangeError {
  return new RangeError(`${call} was called too often: the semaphore has at most ${limit} units`);
}
