/**
 * The backend of semaphores.
 *
 * The memory holds the total number of units, and how many of them each thread has taken. The
 * *value* is the difference: the number of units that are left. It is stored too, and computed
 * again if a thread died while it changed the semaphore. A waiter removes the rows of dead threads,
 * which makes their units available again.
 *
 * A thread that has taken no unit may release one. The unit then counts as released by another
 * thread that has taken one. If no thread has taken a unit, the total grows by one.
 */
import {
  currentThreadId,
  hasExited,
  OWNER_DIED,
  type SharedSegment,
  TIMED_OUT,
  type WaitOptions,
  type WaitQueueOptions,
} from "@multiproc/core/internal";
import { type MaybePromise, type PrimitiveKind, requireSharedMemory } from "../primitive.ts";
import type { PrimitiveClient } from "../remote/primitive-client.ts";
import type { Client, RequestHandler } from "../remote/primitive-server.ts";
import { addTo, SEGMENT_BYTES, SharedBackend, STATE_WORD } from "./shared-backend.ts";

/**
 * The state of a semaphore at one moment, as `semaphore.state()` reports it.
 *
 * @example
 * ```ts
 * import { Semaphore, type SemaphoreState } from "@multiproc/sync";
 *
 * const semaphore = new Semaphore(2);
 * await semaphore.acquire();
 * const state: SemaphoreState = await semaphore.state();
 * console.log(state); // { value: 1, isLocked: false }
 * ```
 */
export interface SemaphoreState {
  /** The number of units that are left. */
  readonly value: number;
  /** Whether no unit is left. */
  readonly isLocked: boolean;
}

/** The operations of a semaphore between processes. */
export interface SemaphoreBackend {
  /** Takes a unit; false if the timeout expired. */
  acquire(call: string, options: WaitOptions): Promise<boolean>;
  acquireSync(call: string, timeout: number | undefined): boolean;
  tryAcquire(call: string): boolean;
  /** Releases units. @throws {RangeError} if more than `limit` units would be left */
  release(call: string, units: number, limit: number): MaybePromise<void>;
  /** Reads the value at once. @throws {CapabilityError} if only the owner process can read it */
  value(call: string, property: keyof SemaphoreState): number;
  state(call: string): MaybePromise<SemaphoreState>;
}

const TOTAL_WORD = STATE_WORD;
/** The id of a thread that has waited for `PRIORITY_AFTER_MS`. The last unit is reserved for it. */
const PRIORITY_WORD = STATE_WORD + 1;
const VALUE_WORD = STATE_WORD + 2;
const STATE_WORD_COUNT = 8;
/** The number of units that the row's thread has taken. */
const ROW_UNITS = 1;
const ROW_WORDS = 2;
const PRIORITY_AFTER_MS = 5;
/** The maximum number of units, as in Python. */
export const MAX_UNITS = 0x7fff_ffff;

class SharedSemaphore extends SharedBackend implements SemaphoreBackend, RequestHandler {
  readonly #clientUnits = new Map<Client, number>();

  constructor(memory: SharedSegment) {
    super(memory, STATE_WORD_COUNT, ROW_WORDS);
  }

  setUnits(units: number): void {
    this.words[TOTAL_WORD] = units;
    this.words[VALUE_WORD] = units;
  }

  tryAcquire(): boolean {
    return !this.waitQueue.isWaiting && this.#tryTake(false, 0);
  }

  acquire(call: string, options: WaitQueueOptions): Promise<boolean> {
    let startedAt = 0;
    const condition = (checkLiveness: boolean): boolean => {
      startedAt ||= performance.now();
      return this.#tryTake(checkLiveness, performance.now() - startedAt);
    };
    return this.waitQueue.wait(condition, call, options).then(
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
    const startedAt = performance.now();
    return this.#endWait(
      this.blockUntil(call, (checkLiveness) => this.#tryTake(checkLiveness, performance.now() - startedAt), timeout),
    );
  }

  release(call: string, units: number, limit: number): void {
    this.#lock();
    try {
      if (this.#value + units > limit)
        throw new RangeError(`${call} was called too often: the semaphore has at most ${limit} units`);
      const ownRow = this.threads.ownRow();
      for (let i = 0; i < units; i++) this.#returnUnit(ownRow);
    } finally {
      this.mutex.release();
    }
    this.waitQueue.wake(units);
  }

  value(): number {
    this.#lock();
    const value = this.#value;
    this.mutex.release();
    return value;
  }

  state(): SemaphoreState {
    const value = this.value();
    return { value, isLocked: value === 0 };
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
        return this.state();
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
      const { words } = this;
      const { id } = currentThreadId();
      if (checkLiveness && this.#value === 0) this.#removeDead();
      const available = this.#value;
      const priority = words[PRIORITY_WORD] as number;
      const mayTakeLast = priority === 0 || priority === id || (checkLiveness && hasExited(priority));
      if (available === 0 || (available === 1 && !mayTakeLast)) {
        if (waitedMs > PRIORITY_AFTER_MS && priority === 0) words[PRIORITY_WORD] = id;
        return false;
      }
      if (mayTakeLast) words[PRIORITY_WORD] = 0;
      const ownRow = this.threads.ownRow();
      // If the table is full, the unit leaves the total. It is lost if this thread dies.
      if (ownRow === undefined) addTo(words, TOTAL_WORD, -1);
      else addTo(words, ownRow + ROW_UNITS, 1);
      addTo(words, VALUE_WORD, -1);
      return true;
    } finally {
      this.mutex.release();
    }
  }

  #returnUnit(ownRow: number | undefined): void {
    const { words } = this;
    const isHolder = (row: number): boolean => words[row + ROW_UNITS] !== 0;
    const row = ownRow !== undefined && isHolder(ownRow) ? ownRow : this.threads.findRow(isHolder);
    if (row === undefined) addTo(words, TOTAL_WORD, 1);
    else addTo(words, row + ROW_UNITS, -1);
    addTo(words, VALUE_WORD, 1);
  }

  get #value(): number {
    return this.words[VALUE_WORD] as number;
  }

  #lock(): void {
    if (this.mutex.acquireSync() === OWNER_DIED) this.#recount();
  }

  #recount(): void {
    let value = this.words[TOTAL_WORD] as number;
    for (const row of this.threads.usedRows()) value -= this.words[row + ROW_UNITS] as number;
    this.words[VALUE_WORD] = value;
  }

  #removeDead(): void {
    for (const row of this.threads.deadRows((row) => this.words[row + ROW_UNITS] !== 0)) this.threads.freeRow(row);
    this.#recount();
  }

  /** Cancels the priority of this thread after a failed wait, unless the thread has other waits. */
  #endWait(isTaken: boolean): boolean {
    if (isTaken || this.waitQueue.isWaiting) return isTaken;
    if (Atomics.compareExchange(this.words, PRIORITY_WORD, currentThreadId().id, 0) === currentThreadId().id)
      this.waitQueue.wake(1);
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
    return requireSharedMemory(call);
  }

  tryAcquire(call: string): boolean {
    return requireSharedMemory(call, "await acquire({ timeout: 0 })");
  }

  async release(call: string, units: number, limit: number): Promise<void> {
    await this.#client.request(call, "release", [call, units, limit]);
  }

  value(call: string, property: keyof SemaphoreState): number {
    return requireSharedMemory(call, `(await semaphore.state()).${property}`);
  }

  async state(call: string): Promise<SemaphoreState> {
    return (await this.#client.request(call, "state")) as SemaphoreState;
  }
}

/** Returns the kind of a semaphore with a number of units. `name` is the name of its class. */
export function semaphoreKind(name: string, units: number): PrimitiveKind<SemaphoreBackend> {
  return {
    name,
    size: SEGMENT_BYTES,
    open: (memory) => new SharedSemaphore(memory),
    connect: (client) => new RemoteSemaphore(client),
    init: (backend) => (backend as SharedSemaphore).setUnits(units),
  };
}
