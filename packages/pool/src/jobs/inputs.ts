/**
 * The inputs of a map: `readAll()` reads them to their end for `map()`, and `InputReader` reads
 * them in chunks for `imap()`, as back-pressure allows.
 */
import { describeValue } from "@multiproc/core/internal";

import type { Inputs } from "../options.ts";

/** Checks the arguments of `apply()`. */
export function checkArguments(args: unknown): void {
  if (Array.isArray(args)) return;
  throw new TypeError(
    `apply() takes the arguments as an array, such as apply(fn, [value]), not ${describeValue(args)}`,
  );
}

/** Checks that the inputs of a map are iterable. */
export function checkInputs(call: string, inputs: unknown): void {
  if (isSync(inputs) || isAsync(inputs)) return;
  throw new TypeError(`${call} takes an iterable of inputs, such as an array, not ${describeValue(inputs)}`);
}

/** Checks that the inputs of `starmap()` are lists of arguments. */
export function checkArgumentLists(list: readonly unknown[]): void {
  const at = list.findIndex((args) => !Array.isArray(args));
  if (at < 0) return;
  throw new TypeError(
    `starmap() takes a list of arguments for each call, but inputs[${at}] is ${describeValue(list[at])}: ` +
      "use map() for a function of one argument",
  );
}

/**
 * Reads inputs to their end: synchronously if they are iterable. An array is returned unchanged.
 *
 * @param shouldContinue returns false to stop reading async inputs early
 */
export function readAll(
  inputs: Inputs<unknown>,
  shouldContinue: () => boolean,
): readonly unknown[] | Promise<readonly unknown[]> {
  if (Array.isArray(inputs) && inputs[Symbol.iterator] === Array.prototype[Symbol.iterator]) return inputs;
  return isSync(inputs) ? [...inputs] : readAllAsync(inputs, shouldContinue);
}

/** The decisions that a reader asks for, and the events that it reports. */
export interface ReaderHandlers {
  /** Returns whether `count` more inputs may be read. */
  hasRoom(count: number): boolean;
  /** Returns the number of inputs in the next chunk. */
  chunkSize(): number;
  /** Receives a chunk, and the index of its first input. */
  chunk(items: unknown[], at: number): void;
  /** Called at the end of the inputs. */
  done(): void;
  /** Called when the iterator has thrown. */
  failed(error: unknown): void;
}

/** Reads inputs in chunks while there is room for a whole chunk. */
export class InputReader {
  /** Whether the inputs are async: they are then read one at a time. */
  readonly isAsync: boolean;
  readCount = 0;
  /** Whether the inputs have ended, failed or been closed. */
  isDone = false;
  readonly #handlers: ReaderHandlers;
  readonly #iterator: Iterator<unknown> | AsyncIterator<unknown>;
  #chunk: unknown[] = [];
  #isReading = false;

  constructor(inputs: Inputs<unknown>, handlers: ReaderHandlers) {
    this.#handlers = handlers;
    this.isAsync = isAsync(inputs);
    this.#iterator = isAsync(inputs) ? inputs[Symbol.asyncIterator]() : inputs[Symbol.iterator]();
  }

  /** Prefetches inputs while there is room for a whole chunk. */
  readAhead(): void {
    const handlers = this.#handlers;
    while (!this.isDone && !this.#isReading && handlers.hasRoom(handlers.chunkSize() - this.#chunk.length)) {
      if (this.isAsync) return void this.#readAsync();
      try {
        this.#put((this.#iterator as Iterator<unknown>).next());
      } catch (error) {
        this.#failed(error);
      }
    }
  }

  /** Closes the iterator. An input that is being read is not awaited, since it may never arrive. */
  async close(): Promise<void> {
    if (this.isDone) return;
    this.isDone = true;
    this.#chunk = [];
    const closing = this.#iterator.return?.();
    if (!this.#isReading) await closing;
    else Promise.resolve(closing).catch(() => {});
  }

  async #readAsync(): Promise<void> {
    this.#isReading = true;
    try {
      const step = await this.#iterator.next();
      this.#isReading = false;
      if (!this.isDone) this.#put(step);
    } catch (error) {
      this.#isReading = false;
      this.#failed(error);
    }
    this.readAhead();
  }

  #put(step: IteratorResult<unknown>): void {
    if (step.done === true) {
      this.isDone = true;
      this.#emitChunk();
      this.#handlers.done();
      return;
    }
    this.#chunk.push(step.value);
    this.readCount++;
    if (this.#chunk.length >= this.#handlers.chunkSize()) this.#emitChunk();
  }

  #failed(error: unknown): void {
    if (this.isDone) return;
    this.isDone = true;
    this.#emitChunk();
    this.#handlers.failed(error);
  }

  #emitChunk(): void {
    const items = this.#chunk;
    if (items.length === 0) return;
    this.#chunk = [];
    this.#handlers.chunk(items, this.readCount - items.length);
  }
}

async function readAllAsync(inputs: AsyncIterable<unknown>, shouldContinue: () => boolean): Promise<unknown[]> {
  const list: unknown[] = [];
  for await (const input of inputs) {
    if (!shouldContinue()) break;
    list.push(input);
  }
  return list;
}

function isSync(inputs: unknown): inputs is Iterable<unknown> {
  return Symbol.iterator in Object(inputs);
}

function isAsync(inputs: unknown): inputs is AsyncIterable<unknown> {
  return Symbol.asyncIterator in Object(inputs);
}
