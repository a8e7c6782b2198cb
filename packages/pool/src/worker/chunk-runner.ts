/**
 * Runs the items of a chunk in a worker, in strides.
 *
 * A *stride* is the number of items between two readings of the clock. It doubles while it takes
 * less than a fraction of a millisecond, so that reading the clock costs little even if an item
 * takes nanoseconds.
 */

import type { AnyFunction } from "@multiproc/core";
import { MAX_BATCH_DELAY_MS } from "../protocol.ts";

/** A stride that takes less than this is doubled, in milliseconds. */
const SHORT_STRIDE_MS = 0.1;
const MAX_STRIDE_ITEMS = 4096;

/** A chunk of items, and the results that were not sent. */
export class ChunkRunner {
  readonly #fn: AnyFunction;
  readonly #items: readonly unknown[];
  readonly #isStar: boolean;
  /** Whether an item that throws gets a rejected result, as in `Promise.allSettled()`. */
  readonly isSettling: boolean;
  /** The index of the next item, or of the item whose promise is awaited. */
  #next: number;
  /** The index after its last item. */
  #end: number;
  #isWaiting = false;
  readonly #acksEachItem: boolean;
  /** Whether no results have been taken yet. */
  #isFirstTake = true;
  #stride = 1;
  #results: unknown[] = [];
  #failure: { readonly error: unknown } | undefined;
  /** When results were last taken. */
  #resultsSince: number = performance.now();

  /**
   * @param fn the function that is called for each item
   * @param items the items of the payload
   * @param range the items of this chunk: `[start, end)`
   * @param options `isStar`: items are lists of arguments. `isSettling`: an item that throws has a
   * result. `acksEachItem`: each result must be sent before the next item begins
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

  /**
   * Splits off half of the items that have not begun, for another worker. Keeps at least one.
   * @returns the new end
   */
  splitOff(): number {
    const remaining = this.#end - this.#next - (this.#isWaiting ? 1 : 0);
    this.#end -= this.#isWaiting ? Math.ceil(remaining / 2) : Math.floor(remaining / 2);
    return this.#end;
  }

  /**
   * Returns whether results must be sent now: the first ones, the last ones, or results that have
   * waited.
   */
  isDue(now: number): boolean {
    return this.isDone || this.#isFirstTake || this.#acksEachItem || now - this.#resultsSince >= MAX_BATCH_DELAY_MS;
  }

  /**
   * Runs a stride.
   *
   * @returns the promise of an item, which must be passed to {@link ChunkRunner.wait}
   * @throws the error of an item
   */
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

  /** Fails the chunk at its next item, because the result of an earlier item cannot be sent. */
  fail(error: unknown): void {
    this.#failure = { error };
  }

  /** Waits for the promise of an item, and stores its result. */
  async wait(pending: PromiseLike<unknown>): Promise<void> {
    try {
      this.#putValue(await pending);
    } catch (reason) {
      if (!this.isSettling || this.#failure !== undefined) throw reason;
      this.#put({ status: "rejected", reason });
    }
  }

  /**
   * Removes and returns the results since the last call, with the average duration of an item in
   * milliseconds.
   */
  take(now: number): { results: unknown[]; ms: number } {
    const results = this.#results;
    const ms = (now - this.#resultsSince) / Math.max(1, results.length);
    this.#results = [];
    this.#resultsSince = now;
    this.#isFirstTake = false;
    return { results, ms };
  }

  #runPlain(end: number): PromiseLike<unknown> | undefined {
    // The fields are read once: reading them for each item would take longer than a tiny item.
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

/** Returns whether a result is a promise. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return value !== null && typeof value === "object" && typeof (value as PromiseLike<unknown>).then === "function";
}
