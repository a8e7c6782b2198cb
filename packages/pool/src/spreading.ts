/** How many inputs become tasks, and their results one stream again. */

/** Inputs of a map: all at once, or as they come. */
export type Inputs<T> = Iterable<T> | AsyncIterable<T>;

/** How far a map is. */
export interface Progress {
  /** How many inputs are done. */
  readonly done: number;
  /** How many there are. */
  readonly total: number;
}

/** Runs inputs as one task. */
export interface TaskRunner<K extends { readonly done: Promise<unknown> }> {
  run(inputs: readonly unknown[]): K;
  giveUp(task: K, reason: unknown): void;
}

interface MapOptions {
  readonly workers: number;
  readonly chunkSize?: number | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

interface StreamOptions {
  readonly chunkSize: number;
  readonly bufferSize: number;
  readonly isOrdered: boolean;
  /** What an error of a task is thrown as. */
  readonly continued: (error: unknown) => unknown;
}

/** All results in the order of the inputs; inputs that are there at the call are sent, or refused, at the call. */
export function mapped<T, K extends { readonly done: Promise<unknown> }>(
  inputs: Inputs<T>,
  options: MapOptions,
  runner: TaskRunner<K>,
): { results: Promise<unknown[]>; giveUp: (reason: unknown) => void } {
  const tasks: K[] = [];
  let givenUp: { reason: unknown } | undefined;
  const giveUp = (reason: unknown): void => {
    givenUp ??= { reason };
    for (const task of tasks) runner.giveUp(task, reason);
  };
  const begin = (list: readonly T[]): Promise<unknown[]> => {
    if (givenUp !== undefined) return Promise.reject(givenUp.reason);
    for (const chunk of chunksOf(list, options)) tasks.push(runner.run(chunk));
    return gathered(tasks, list.length, options, giveUp);
  };
  const results =
    Symbol.iterator in Object(inputs)
      ? begin([...(inputs as Iterable<T>)])
      : readAll(inputs as AsyncIterable<T>).then(begin);
  return { results, giveUp };
}

/** As Python does: about four chunks for each worker. */
function chunksOf<T>(list: readonly T[], { workers, chunkSize }: MapOptions): T[][] {
  const size = chunkSize ?? Math.max(1, Math.ceil(list.length / (workers * 4)));
  const chunks: T[][] = [];
  for (let at = 0; at < list.length; at += size) chunks.push(list.slice(at, at + size));
  return chunks;
}

async function readAll<T>(inputs: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const input of inputs) list.push(input);
  return list;
}

async function gathered<K extends { readonly done: Promise<unknown> }>(
  tasks: readonly K[],
  total: number,
  { onProgress }: MapOptions,
  giveUp: (reason: unknown) => void,
): Promise<unknown[]> {
  let done = 0;
  const parts = tasks.map(async (task) => {
    const results = (await task.done) as unknown[];
    done += results.length;
    onProgress?.({ done, total });
    return results;
  });
  try {
    const all: unknown[] = [];
    for (const results of await Promise.all(parts)) for (const result of results) all.push(result);
    return all;
  } catch (error) {
    giveUp(error); // the first error is the map's: nobody waits for the rest
    throw error;
  }
}

/** Results one by one; inputs are read as results are taken. */
export async function* streamed<T, K extends { readonly done: Promise<unknown> }>(
  inputs: Inputs<T>,
  { chunkSize, bufferSize, isOrdered, continued }: StreamOptions,
  runner: TaskRunner<K>,
): AsyncGenerator<unknown, void, undefined> {
  const input = new ChunkReader(inputs, chunkSize);
  const under = new Map<K, Promise<K>>();
  let inFlight = 0;
  let reading: Promise<void> | undefined;
  const read = async (): Promise<void> => {
    const chunk = await input.next();
    reading = undefined;
    if (chunk.length === 0) return;
    const task = runner.run(chunk);
    inFlight += chunk.length;
    under.set(
      task,
      task.done.then(
        () => task,
        () => task,
      ),
    );
  };
  try {
    while (true) {
      if (!input.isOver && inFlight + chunkSize <= Math.max(bufferSize, chunkSize)) reading ??= read();
      const first = isOrdered ? under.values().next().value : Promise.race(under.values());
      if (reading !== undefined) {
        // Whichever comes first: another input, or a result.
        await (under.size === 0 ? reading : Promise.race([reading, first]));
        if (reading === undefined) continue;
      }
      if (under.size === 0) break;
      const task = (await first) as K;
      under.delete(task);
      const results = (await task.done.catch((error) => {
        throw continued(error);
      })) as unknown[];
      for (const result of results) {
        inFlight -= 1;
        yield result;
      }
    }
    if (input.error !== undefined) throw input.error.reason;
  } finally {
    for (const task of under.keys())
      runner.giveUp(task, new DOMException("The loop over the results was left", "AbortError"));
    await input.close();
  }
}

/** Cuts inputs into chunks. An error of theirs is kept until what came before it has been used. */
class ChunkReader<T> {
  isOver = false;
  error: { readonly reason: unknown } | undefined;
  readonly #size: number;
  readonly #iterator: Iterator<T> | AsyncIterator<T>;

  constructor(inputs: Inputs<T>, size: number) {
    this.#size = size;
    this.#iterator =
      Symbol.asyncIterator in Object(inputs)
        ? (inputs as AsyncIterable<T>)[Symbol.asyncIterator]()
        : (inputs as Iterable<T>)[Symbol.iterator]();
  }

  async next(): Promise<T[]> {
    const chunk: T[] = [];
    try {
      while (chunk.length < this.#size) {
        const { done, value } = await this.#iterator.next();
        if (done === true) {
          this.isOver = true;
          break;
        }
        chunk.push(value);
      }
    } catch (reason) {
      this.isOver = true;
      this.error = { reason };
    }
    return chunk;
  }

  async close(): Promise<void> {
    if (this.isOver) return;
    this.isOver = true;
    await this.#iterator.return?.();
  }
}
