/** Inputs of maps: read to their end, or as results are taken. */

import type { Inputs } from "../options.ts";

/** Refuses what cannot be read. */
export function checkInputs(call: string, inputs: unknown): void {
  if (isSync(inputs) || isAsync(inputs)) return;
  throw new TypeError(`${call} takes an iterable, not ${inputs === null ? "null" : typeof inputs}`);
}

/** Refuses inputs of `starmap()` that are no lists of arguments. */
export function checkArgumentLists(list: readonly unknown[]): void {
  const at = list.findIndex((args) => !Array.isArray(args));
  if (at >= 0) throw new TypeError(`starmap() takes lists of arguments, and inputs[${at}] is ${typeof list[at]}`);
}

/** Reads inputs to their end: at once, if they are there; an array is its own list. `isWanted` ends it early. */
export function readAll(
  inputs: Inputs<unknown>,
  shouldContinue: () => boolean,
): readonly unknown[] | Promise<readonly unknown[]> {
  if (Array.isArray(inputs) && inputs[Symbol.iterator] === Array.prototype[Symbol.iterator]) return inputs;
  return isSync(inputs) ? [...inputs] : readAllAsync(inputs, shouldContinue);
}

/** What a reader asks, and tells. */
export interface ReaderHandlers {
  /** Whether so many more inputs may be read. */
  hasRoom(count: number): boolean;
  /** How many inputs make a chunk. */
  chunkSize(): number;
  /** A chunk, and the index of its first input. */
  chunk(items: unknown[], at: number): void;
  /** There are no more inputs. */
  done(): void;
  /** The inputs failed. */
  failed(error: unknown): void;
}

/** Reads inputs in chunks, as long as there is room. */
export class InputReader {
  /** Whether inputs come one by one, and each in its own time. */
  readonly isAsync: boolean;
  /** How many inputs have been read. */
  readCount = 0;
  /** Whether no more will be. */
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

  /** Reads as long as there is room for a whole chunk. */
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

  /** Closes the inputs; one that is being read is not waited for, it may never come. */
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
