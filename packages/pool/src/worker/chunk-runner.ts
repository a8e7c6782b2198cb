/** The items of a chunk in a worker. */

import type { AnyFunction } from "@multiproc/core";
import { MAX_BATCH_DELAY_MS } from "../protocol.ts";

/** As long as a stride takes less than this, in milliseconds, the next is twice as long: looking at the clock costs time too. */
const SHORT_STRIDE_MS = 0.1;
const MAX_STRIDE_ITEMS = 4096;

/** Calls a function with item after item, as many in a stride as take no more than a fraction of a millisecond. */
export class ChunkRunner {
  readonly #fn: AnyFunction;
  readonly #items: readonly unknown[];
  readonly #isStar: boolean;
  /** Whether an item that throws is an answer like others. */
  readonly isSettling: boolean;
  #next: number;
  /** Before this item it ends. */
  #end: number;
  #isWaiting = false;
  readonly #acksEachItem: boolean;
  /** Whether no results have been taken. */
  #isFirstTake = true;
  #stride = 1;
  #results: unknown[] = [];
  #failure: { readonly error: unknown } | undefined;
  /** When the results that have not been taken began to come. */
  #resultsSince: number = performance.now();

  /**
   * @param fn what is called
   * @param items what it is called with
   * @param range its items: from one index to before another
   * @param how whether the items are lists of arguments, whether one that throws is an answer like others, and whether each
   * result is to be taken before the next item is begun
   */
  constructor(
    fn: AnyFunction,
    items: readonly unknown[],
    [start, end]: readonly [number, number] = [0, items.length],
    options: { readonly isStar?: boolean; readonly isSettling?: boolean; readonly acksEachItem?: boolean } = {},
  ) {
    this.#fn = fn;
    this.#items = items;
    this.#next = start;
    this.#end = end;
    this.#isStar = options.isStar ?? false;
    this.isSettling = options.isSettling ?? false;
    this.#acksEachItem = options.acksEachItem ?? false;
  }

  get isDone(): boolean {
    return this.#next >= this.#end;
  }

  /** Gives up half of the items that have not begun; answers where it ends now. One at least is left. */
  splitOff(): number {
    const remaining = this.#end - this.#next - (this.#isWaiting ? 1 : 0);
    this.#end -= this.#isWaiting ? Math.ceil(remaining / 2) : Math.floor(remaining / 2);
    return this.#end;
  }

  /** Whether there are results that are to be taken now: the first ones, the last ones, or those that have waited. */
  isDue(now: number): boolean {
    return this.isDone || this.#isFirstTake || this.#acksEachItem || now - this.#resultsSince >= MAX_BATCH_DELAY_MS;
  }

  /** Runs a stride; answers what is to be waited for, if an item's result is a promise. Throws what an item throws. */
  run(): PromiseLike<unknown> | undefined {
    const end = Math.min(this.#end, this.#next + this.#stride);
    const startedAt = performance.now();
    if (this.#failure !== undefined) throw this.#failure.error;
    const pending = this.isSettling ? this.#runSettling(end) : this.#isStar ? this.#runStar(end) : this.#runPlain(end);
    this.#isWaiting = pending !== undefined;
    if (this.#acksEachItem || this.#isFirstTake) {
      this.#stride = 1;
    } else if (pending === undefined && performance.now() - startedAt < SHORT_STRIDE_MS) {
      this.#stride = Math.min(MAX_STRIDE_ITEMS, this.#stride * 2);
    } else this.#stride = Math.max(1, this.#stride >> 2);
    return pending;
  }

  /** Has the next item fail with an error that came too late for its own. */
  fail(error: unknown): void {
    this.#failure = { error };
  }

  /** Waits for the result of an item, and takes it. */
  async wait(pending: PromiseLike<unknown>): Promise<void> {
    try {
      this.#putValue(await pending);
    } catch (reason) {
      if (!this.isSettling || this.#failure !== undefined) throw reason;
      this.#put({ status: "rejected", reason });
    }
  }

  /** Takes the results that came since the last time, with how long each took on average. */
  take(now: number): { results: unknown[]; ms: number } {
    const results = this.#results;
    const ms = (now - this.#resultsSince) / Math.max(1, results.length);
    this.#results = [];
    this.#resultsSince = now;
    this.#isFirstTake = false;
    return { results, ms };
  }

  #runPlain(end: number): PromiseLike<unknown> | undefined {
    // Nothing is looked up that stays the same: an item may take less than that.
    const [fn, items, results] = [this.#fn, this.#items, this.#results];
    let next = this.#next;
    try {
      for (; next < end; next++) {
        const result = fn(items[next]);
        if (isThenable(result)) return result;
        results.push(result);
      }
    } finally {
      this.#next = next;
    }
    return undefined;
  }

  #runStar(end: number): PromiseLike<unknown> | undefined {
    const fn = this.#fn;
    while (this.#next < end) {
      const result = fn(...(this.#items[this.#next] as unknown[]));
      if (isThenable(result)) return result;
      this.#put(result);
    }
    return undefined;
  }

  #runSettling(end: number): PromiseLike<unknown> | undefined {
    while (this.#next < end) {
      const item = this.#items[this.#next];
      try {
        const result = this.#isStar ? this.#fn(...(item as unknown[])) : this.#fn(item);
        if (isThenable(result)) return result;
        this.#putValue(result);
      } catch (reason) {
        this.#put({ status: "rejected", reason });
      }
    }
    return undefined;
  }

  #putValue(value: unknown): void {
    this.#put(this.isSettling ? { status: "fulfilled", value } : value);
  }

  #put(result: unknown): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    this.#isWaiting = false;
    this.#next++;
    this.#results.push(result);
  }
}

/** Whether a result is to be waited for. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return value !== null && typeof value === "object" && typeof (value as PromiseLike<unknown>).then === "function";
}
