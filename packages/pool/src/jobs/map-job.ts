/**
 * The job of `map()` and `starmap()`: a call for each of many inputs, one list of results.
 *
 * The inputs are batched into chunks, each of which is one task. With a chunk size of 1, tasks are
 * created only when they are sent.
 */

import { PayloadList } from "../functions/encoded-payload.ts";
import type { KnownFunction } from "../functions/function-table.ts";
import type { MapOptions, Progress } from "../options.ts";
import { CALL } from "../protocol.ts";
import type { TaskSource } from "../scheduler/task.ts";
import { type Job, type JobServices, taskFor, WorkTask, type WorkTraits } from "./job.ts";
import { Deferred, progressOf } from "./result.ts";
import { ResultList } from "./result-list.ts";

/** Chunks for each worker, as in Python. */
const CHUNKS_PER_WORKER = 4;
/**
 * The largest chunk, unless the user sets the size. A larger chunk would not be faster, and would
 * report its results later.
 */
const MAX_CHUNK_ITEMS = 2048;
/** The work in a chunk, in milliseconds, once the duration of an item is known. */
const TARGET_CHUNK_MS = 20;
/** With a chunk size of 1, the number of inputs in one source of tasks. */
const UNCHUNKED_GROUP_ITEMS = 4096;

/**
 * Returns the chunk size of a map. Unless the user sets it, each worker gets several chunks, and no
 * chunk takes long.
 */
export function chunkSizeFor(count: number, workers: number, fn: KnownFunction, options: MapOptions): number {
  const { chunkSize, settle, timeout } = options;
  // A timeout fails a whole task. Only an input that is a task of its own fails alone.
  if (settle === true && timeout !== undefined) return 1;
  if (chunkSize !== undefined) return chunkSize;
  const evenSize = Math.ceil(count / (workers * CHUNKS_PER_WORKER));
  const { averageMs } = fn.estimate;
  const timedSize = averageMs > 0 ? Math.max(1, Math.floor(TARGET_CHUNK_MS / averageMs)) : MAX_CHUNK_ITEMS;
  return Math.min(evenSize, timedSize, MAX_CHUNK_ITEMS);
}

/** Options of a map that its tasks do not need. */
export interface MapSettings {
  /** Whether every input settles on its own, as in `Promise.allSettled()`. */
  readonly isSettling: boolean;
  readonly onProgress: ((progress: Progress) => void) | undefined;
}

/** The work of a map. */
export interface MapSpec {
  readonly fn: KnownFunction;
  readonly inputs: readonly unknown[];
  readonly chunkSize: number;
  /** Whether inputs are lists of arguments. */
  readonly isStar: boolean;
  readonly traits: WorkTraits;
}

/** Inputs of a map with a chunk size of 1. */
interface UnchunkedSpec extends Omit<MapSpec, "chunkSize"> {
  readonly firstIndex: number;
}

/** A call of `map()` or `starmap()`. */
export class MapJob extends Deferred<unknown[]> implements Job {
  readonly call: string;
  readonly #services: JobServices;
  readonly #settings: MapSettings;
  #results: ResultList | undefined;
  #total = 0;
  #doneCount = 0;
  #startedAt: number = performance.now();

  constructor(call: string, services: JobServices, settings: MapSettings) {
    super();
    this.call = call;
    this.#services = services;
    this.#settings = settings;
  }

  /** Serializes all inputs and submits the tasks. @throws {SendError} if an input cannot be sent */
  begin(spec: MapSpec): void {
    if (!this.isPending) return; // cancelled while its inputs were read
    const { tasks, total } = this.#tasksFor(spec);
    this.#total = total;
    this.#results = new ResultList(total, spec.chunkSize);
    this.#startedAt = performance.now();
    if (total === 0) this.#finish();
    for (const task of tasks) if (this.isPending) this.#services.dispatcher.submit(task);
  }

  /** Begins when the inputs are there. A mistake in them rejects the map. */
  beginWith(
    inputs: readonly unknown[] | Promise<readonly unknown[]>,
    specFor: (inputs: readonly unknown[]) => MapSpec,
  ): void {
    const begin = (list: readonly unknown[]): void => {
      try {
        this.begin(specFor(list));
      } catch (error) {
        this.refuse(error);
      }
    };
    if (inputs instanceof Promise) inputs.then(begin, (error) => this.refuse(error));
    else begin(inputs);
  }

  result(task: WorkTask, value: unknown, at: number): void {
    if (!this.isPending) return;
    // The worker makes the settled results of a chunk. A single input is a plain call, so its
    // settled result is made here.
    const needsSettling = this.#settings.isSettling && task.kind === CALL;
    this.#results?.put(at, needsSettling ? { status: "fulfilled", value } : value);
    this.#advance(1);
  }

  results(_: WorkTask, values: unknown[], at: number): void {
    if (!this.isPending) return;
    this.#results?.putAll(at, values);
    this.#advance(values.length);
  }

  failed(task: WorkTask, error: unknown, at: number): void {
    if (!this.isPending) return;
    if (!this.#settings.isSettling) return this.#fail(error, undefined, task);
    const end = task.firstIndex + task.itemCount;
    // A cancelled task fails as a whole. Its worker still runs the rest, because only the pool
    // knows that a result could not be decoded. Another worker must not run it too.
    const to = task.state === "cancelled" ? end : at + 1;
    for (let i = at; i < to; i++) this.#results?.put(i, { status: "rejected", reason: error });
    this.#advance(to - at);
    if (to < end && this.isPending) this.#continueAfter(task, to);
  }

  split(): void {} // cancelJob() finds the parts by their job

  cancel(reason: unknown): void {
    this.#fail(reason, { reason });
  }

  /** Fails for a mistake of the caller, such as an input that cannot be sent. */
  refuse(error: unknown): void {
    if (!this.isPending) return;
    this.rejectMistake(error);
    this.#end({ reason: error });
  }

  override progress(): Progress {
    return progressOf(this.#doneCount, this.#total, this.#startedAt);
  }

  /** Submits the items after a failed item that ended their task. */
  #continueAfter(task: WorkTask, from: number): void {
    const rest = task.cloneForRest();
    task.splitInto(rest, from - task.firstIndex);
    this.#services.dispatcher.submit(rest);
  }

  /** Fails the whole map. Running tasks continue, unless `stop` is given. */
  #fail(error: unknown, stop?: { readonly reason: unknown }, failed?: WorkTask): void {
    if (!this.isPending) return;
    this.reject(error);
    this.#end(stop, failed);
  }

  #end(stop: { readonly reason: unknown } | undefined, failed?: WorkTask): void {
    this.#services.dispatcher.cancelJob(this, stop, failed);
    this.#finish();
  }

  #advance(count: number): void {
    this.#doneCount += count;
    try {
      this.#settings.onProgress?.(this.progress());
    } catch (error) {
      return this.#fail(error);
    }
    if (this.#doneCount === this.#total) this.#finish();
  }

  #finish(): void {
    if (this.isPending) this.resolve(this.#results?.all() ?? []);
    this.#results = undefined;
    this.#services.done();
  }

  /**
   * Serializes all inputs now. A getter may change the list while it is read, so its length is read
   * again.
   */
  #tasksFor({ fn, inputs, chunkSize, isStar, traits }: MapSpec): { tasks: TaskSource<WorkTask>[]; total: number } {
    const tasks: TaskSource<WorkTask>[] = [];
    let total = 0;
    while (total < inputs.length) {
      const list = inputs.slice(total, total + (chunkSize === 1 ? UNCHUNKED_GROUP_ITEMS : chunkSize));
      if (chunkSize === 1)
        tasks.push(new UnchunkedInputs(this, { fn, inputs: list, firstIndex: total, isStar, traits }));
      else {
        const task = taskFor(this, fn, list, total, isStar, traits);
        task.isSettling = this.#settings.isSettling;
        tasks.push(task);
      }
      total += list.length;
    }
    return { tasks, total };
  }
}

/** Serialized inputs, one task each. A task is created when it is sent, which saves memory. */
class UnchunkedInputs implements TaskSource<WorkTask> {
  readonly job: Job;
  readonly #spec: UnchunkedSpec;
  readonly #payloads: PayloadList = new PayloadList();
  #nextIndex = 0;

  /** @throws {SendError} if an input cannot be sent */
  constructor(job: Job, spec: UnchunkedSpec) {
    this.job = job;
    this.#spec = spec;
    const { fn, inputs, firstIndex, isStar } = spec;
    for (let i = 0; i < inputs.length; i++) {
      const input = inputs[i];
      fn.encodeInput(this.#payloads, input, firstIndex + i, isStar);
    }
  }

  get remaining(): number {
    return this.#payloads.count - this.#nextIndex;
  }

  get size(): number {
    return this.#payloads.sizeOf(this.#nextIndex);
  }

  get expectedMs(): number {
    return this.#spec.fn.estimate.averageMs;
  }

  take(): WorkTask {
    const { fn, firstIndex, traits } = this.#spec;
    const index = this.#nextIndex++;
    return new WorkTask(this.job, fn, CALL, this.#payloads.take(index), firstIndex + index, 1, traits);
  }

  clear(): void {
    this.#payloads.clear();
    this.#nextIndex = 0;
  }
}
