/** The calls of `map()` and `starmap()`. */

import { PayloadList } from "../functions/encoded-payload.ts";
import type { KnownFunction } from "../functions/function-table.ts";
import type { MapOptions, Progress } from "../options.ts";
import { CALL } from "../protocol.ts";
import type { TaskSource } from "../scheduler/task.ts";
import { type Job, type JobServices, taskFor, WorkTask, type WorkTraits } from "./job.ts";
import { Deferred, progressOf } from "./result.ts";
import { ResultList } from "./result-list.ts";

/** As Python does: about so many chunks for each worker. */
const CHUNKS_PER_WORKER = 4;
/** Inputs that travel together without being asked to: beyond this, they would only keep others waiting. */
const MAX_CHUNK_ITEMS = 2048;
/** So much work makes a chunk, in milliseconds, as far as it is known how much that is. */
const TARGET_CHUNK_MS = 20;
/** So many inputs that travel each by itself wait together. */
const UNCHUNKED_GROUP_ITEMS = 4096;

/** How many inputs of a map travel together: as the user says, or so many that each worker gets some chunks, and none takes long. */
export function chunkSizeFor(count: number, workers: number, fn: KnownFunction, options: MapOptions): number {
  const { chunkSize, settle, timeout } = options;
  // What runs beyond its time takes its task with it.
  if (settle === true && timeout !== undefined) return 1;
  if (chunkSize !== undefined) return chunkSize;
  const evenSize = Math.ceil(count / (workers * CHUNKS_PER_WORKER));
  const { averageMs } = fn.estimate;
  const timedSize = averageMs > 0 ? Math.max(1, Math.floor(TARGET_CHUNK_MS / averageMs)) : MAX_CHUNK_ITEMS;
  return Math.min(evenSize, timedSize, MAX_CHUNK_ITEMS);
}

/** How a map is done, beyond its tasks. */
export interface MapSettings {
  /** Whether every input has an outcome of its own. */
  readonly isSettling: boolean;
  readonly onProgress: ((progress: Progress) => void) | undefined;
}

/** What a map is to do. */
export interface MapSpec {
  readonly fn: KnownFunction;
  readonly inputs: readonly unknown[];
  /** How many inputs travel together. */
  readonly chunkSize: number;
  /** Whether inputs are lists of arguments. */
  readonly isStar: boolean;
  readonly traits: WorkTraits;
}

/** Some inputs of it, of which the first has that index. */
interface UnchunkedSpec extends Omit<MapSpec, "chunkSize"> {
  readonly firstIndex: number;
}

/** A call for each of many inputs: some tasks, one list of results. */
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

  /** @param plan what is to be called, and with which inputs, of which so many make a task */
  begin(spec: MapSpec): void {
    if (!this.isPending) return; // cancelled while its inputs were read
    const { tasks, total } = this.#tasksFor(spec);
    this.#total = total;
    this.#results = new ResultList(total, spec.chunkSize);
    this.#startedAt = performance.now();
    if (total === 0) this.#finish();
    for (const task of tasks) if (this.isPending) this.#services.dispatcher.submit(task);
  }

  result(task: WorkTask, value: unknown, at: number): void {
    if (!this.isPending) return;
    // In a chunk, the worker has said how each item ended.
    const isBare = this.#settings.isSettling && task.kind === CALL;
    this.#results?.put(at, isBare ? { status: "fulfilled", value } : value);
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
    // A worker that goes on with what follows, though nobody understands its answers, may not be joined in that by another.
    const to = task.state === "cancelled" ? end : at + 1;
    for (let i = at; i < to; i++) this.#results?.put(i, { status: "rejected", reason: error });
    this.#advance(to - at);
    if (to < end && this.isPending) this.#continueAfter(task, to);
  }

  split(): void {} // the parts are found by their job

  cancel(reason: unknown): void {
    this.#fail(reason, { reason });
  }

  override progress(): Progress {
    return progressOf(this.#doneCount, this.#total, this.#startedAt);
  }

  /** What comes after an item that took its task with it. */
  #continueAfter(task: WorkTask, from: number): void {
    const rest = task.cloneForRest();
    task.splitInto(rest, from - task.firstIndex);
    this.#services.dispatcher.submit(rest);
  }

  /** Fails as a whole; what runs goes on unless there is a reason to stop it. */
  #fail(error: unknown, stop?: { readonly reason: unknown }, failed?: WorkTask): void {
    if (!this.isPending) return;
    this.reject(error);
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

  /** All that is sent is read now; of inputs that come to change the list meanwhile, what is there counts. */
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

/** Inputs that travel each by itself: their tasks are made when they are sent. */
class UnchunkedInputs implements TaskSource<WorkTask> {
  readonly job: Job;
  readonly #spec: UnchunkedSpec;
  readonly #payloads: PayloadList = new PayloadList();
  #nextIndex = 0;

  /** @throws {SendError} if one of them cannot be sent */
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
