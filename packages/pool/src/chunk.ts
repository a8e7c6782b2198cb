/** The items of a chunk in a worker. */

import type { AnyFunction } from "@multiproc/core";

/** As long as a stride takes less than this, in milliseconds, the next is twice as long: looking at the clock costs time too. */
const SHORT_STRIDE = 0.1;
const LONGEST_STRIDE = 4096;

/** Calls a function with item after item, as many in a stride as take no more than a fraction of a millisecond. */
export class Chunk {
  readonly #fn: AnyFunction;
  readonly #items: readonly unknown[];
  readonly #isStar: boolean;
  #next: number;
  #stride = 1;
  #results: unknown[] = [];
  #failure: { readonly error: unknown } | undefined;
  /** When the results that have not been taken began to come. */
  #since: number = performance.now();

  /**
   * @param fn what is called
   * @param items what it is called with
   * @param start how many items another worker has done
   * @param isStar whether the items are lists of arguments
   */
  constructor(fn: AnyFunction, items: readonly unknown[], start: number, isStar: boolean) {
    this.#fn = fn;
    this.#items = items;
    this.#next = start;
    this.#isStar = isStar;
  }

  get isDone(): boolean {
    return this.#next >= this.#items.length;
  }

  /** How long results have been waiting to be taken, in milliseconds, at a time. */
  age(now: number): number {
    return now - this.#since;
  }

  /** Runs a stride; answers what is to be waited for, if an item's result is a promise. Throws what an item throws. */
  run(): PromiseLike<unknown> | undefined {
    const end = Math.min(this.#items.length, this.#next + this.#stride);
    const from = performance.now();
    const pending = this.#isStar ? this.#runStar(end) : this.#runPlain(end);
    if (pending === undefined && performance.now() - from < SHORT_STRIDE) {
      this.#stride = Math.min(LONGEST_STRIDE, this.#stride * 2);
    } else this.#stride = Math.max(1, this.#stride >> 2);
    return pending;
  }

  /** Has the next item fail with an error that came too late for its own. */
  fail(error: unknown): void {
    this.#failure = { error };
  }

  /** Takes the result of an item that was waited for. */
  settle(result: unknown): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    this.#next++;
    this.#results.push(result);
  }

  /** Takes the results that came since the last time, with how long each took on average. */
  take(now: number): { results: unknown[]; ms: number } {
    const results = this.#results;
    const ms = (now - this.#since) / Math.max(1, results.length);
    this.#results = [];
    this.#since = now;
    return { results, ms };
  }

  #runPlain(end: number): PromiseLike<unknown> | undefined {
    const fn = this.#fn;
    while (this.#next < end) {
      const result = fn(this.#items[this.#next]);
      if (isThenable(result)) return result;
      this.settle(result);
    }
    return undefined;
  }

  #runStar(end: number): PromiseLike<unknown> | undefined {
    const fn = this.#fn;
    while (this.#next < end) {
      const result = fn(...(this.#items[this.#next] as unknown[]));
      if (isThenable(result)) return result;
      this.settle(result);
    }
    return undefined;
  }
}

/** Whether a result is to be waited for. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return value !== null && typeof value === "object" && typeof (value as PromiseLike<unknown>).then === "function";
}
