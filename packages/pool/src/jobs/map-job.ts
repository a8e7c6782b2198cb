/** The calls of `map()` and `starmap()`. */

import { Messages } from "../functions/encoded-payload.ts";
import type { KnownFunction } from "../functions/function-table.ts";
import type { MapOptions } from "../options.ts";
import { CALL } from "../protocol.ts";
import type { Waiting } from "../scheduler/task.ts";
import { type Job, type JobEnds, taskFor, WorkTask, type WorkTraits } from "./job.ts";
import { Outcome, type Progress, progressOf } from "./result.ts";
import { ResultList } from "./result-list.ts";

/** As Python does: about so many chunks for each worker. */
const CHUNKS_PER_WORKER = 4;
/** Inputs that travel together without being asked to: beyond this, they would only keep others waiting. */
const MAX_CHUNK = 2048;
/** So much work makes a chunk, in milliseconds, as far as it is known how much that is. */
const CHUNK_MS = 20;
/** So many inputs that travel each by itself wait together. */
const SINGLES = 4096;

/** How many inputs of a map travel together: as the user says, or so many that each worker gets some chunks, and none takes long. */
export function chunkSizeFor(count: number, workers: number, fn: KnownFunction, options: MapOptions): number {
  const { chunkSize, settle, timeout } = options;
  // What runs beyond its time takes its task with it.
  if (settle === true && timeout !== undefined) return 1;
  if (chunkSize !== undefined) return chunkSize;
  const share = Math.ceil(count / (workers * CHUNKS_PER_WORKER));
  const { average } = fn.estimate;
  const timely = average > 0 ? Math.max(1, Math.floor(CHUNK_MS / average)) : MAX_CHUNK;
  return Math.min(share, timely, MAX_CHUNK);
}

/** How a map is done, beyond its tasks. */
export interface MapWays {
  /** Whether every input has an outcome of its own. */
  readonly isSettling: boolean;
  readonly onProgress: ((progress: Progress) => void) | undefined;
}

/** What a map is to do. */
export interface MapPlan {
  readonly fn: KnownFunction;
  readonly inputs: readonly unknown[];
  /** How many inputs travel together. */
  readonly chunkSize: number;
  /** Whether inputs are lists of arguments. */
  readonly isStar: boolean;
  readonly traits: WorkTraits;
}

/** Some inputs of it, of which the first has that index. */
interface SinglesPlan extends Omit<MapPlan, "chunkSize"> {
  readonly at: number;
}

/** A call for each of many inputs: some tasks, one list of results. */
export class MapJob extends Outcome<unknown[]> implements Job {
  readonly call: string;
  readonly #ends: JobEnds;
  readonly #ways: MapWays;
  #results: ResultList | undefined;
  #total = 0;
  #done = 0;
  #since: number = performance.now();

  constructor(call: string, ends: JobEnds, ways: MapWays) {
    super();
    this.call = call;
    this.#ends = ends;
    this.#ways = ways;
  }

  /** @param plan what is to be called, and with which inputs, of which so many make a task */
  begin(plan: MapPlan): void {
    if (!this.isPending) return; // cancelled while its inputs were read
    const { tasks, total } = this.#tasksFor(plan);
    this.#total = total;
    this.#results = new ResultList(total, plan.chunkSize);
    this.#since = performance.now();
    if (total === 0) this.#end();
    for (const task of tasks) if (this.isPending) this.#ends.office.submit(task);
  }

  result(task: WorkTask, value: unknown, at: number): void {
    if (!this.isPending) return;
    // In a chunk, the worker has said how each item ended.
    const isBare = this.#ways.isSettling && task.kind === CALL;
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
    if (!this.#ways.isSettling) return this.#fail(error, undefined, task);
    const end = task.at + task.items;
    // A worker that goes on with what follows, though nobody understands its answers, may not be joined in that by another.
    const to = task.state === "dropped" ? end : at + 1;
    for (let i = at; i < to; i++) this.#results?.put(i, { status: "rejected", reason: error });
    this.#advance(to - at);
    if (to < end && this.isPending) this.#goOn(task, to);
  }

  divided(): void {} // the parts are found by their job

  cancel(reason: unknown): void {
    this.#fail(reason, { reason });
  }

  override progress(): Progress {
    return progressOf(this.#done, this.#total, this.#since);
  }

  /** What comes after an item that took its task with it. */
  #goOn(task: WorkTask, from: number): void {
    const rest = task.again();
    task.handOver(rest, from - task.at);
    this.#ends.office.submit(rest);
  }

  /** Fails as a whole; what runs goes on unless there is a reason to stop it. */
  #fail(error: unknown, stop?: { readonly reason: unknown }, failed?: WorkTask): void {
    if (!this.isPending) return;
    this.reject(error);
    this.#ends.office.dropAll(this, stop, failed);
    this.#end();
  }

  #advance(count: number): void {
    this.#done += count;
    try {
      this.#ways.onProgress?.(this.progress());
    } catch (error) {
      return this.#fail(error);
    }
    if (this.#done === this.#total) this.#end();
  }

  #end(): void {
    if (this.isPending) this.resolve(this.#results?.all() ?? []);
    this.#results = undefined;
    this.#ends.over();
  }

  /** All that is sent is read now; of inputs that come to change the list meanwhile, what is there counts. */
  #tasksFor({ fn, inputs, chunkSize, isStar, traits }: MapPlan): { tasks: Waiting<WorkTask>[]; total: number } {
    const tasks: Waiting<WorkTask>[] = [];
    let total = 0;
    while (total < inputs.length) {
      const list = inputs.slice(total, total + (chunkSize === 1 ? SINGLES : chunkSize));
      if (chunkSize === 1) tasks.push(new Singles(this, { fn, inputs: list, at: total, isStar, traits }));
      else {
        const task = taskFor(this, fn, list, total, isStar, traits);
        task.isSettling = this.#ways.isSettling;
        tasks.push(task);
      }
      total += list.length;
    }
    return { tasks, total };
  }
}

/** Inputs that travel each by itself: their tasks are made when they are sent. */
class Singles implements Waiting<WorkTask> {
  readonly job: Job;
  readonly #plan: SinglesPlan;
  readonly #messages: Messages = new Messages();
  #next = 0;

  /** @throws {SendError} if one of them cannot be sent */
  constructor(job: Job, plan: SinglesPlan) {
    this.job = job;
    this.#plan = plan;
    const { fn, inputs, at, isStar } = plan;
    for (let i = 0; i < inputs.length; i++) {
      const input = inputs[i];
      fn.encodeInput(this.#messages, input, at + i, isStar);
    }
  }

  get left(): number {
    return this.#messages.count - this.#next;
  }

  get size(): number {
    return this.#messages.sizeOf(this.#next);
  }

  get expected(): number {
    return this.#plan.fn.estimate.average;
  }

  next(): WorkTask {
    const { fn, at, traits } = this.#plan;
    const index = this.#next++;
    return new WorkTask(this.job, fn, CALL, this.#messages.take(index), at + index, 1, traits);
  }

  clear(): void {
    this.#messages.clear();
    this.#next = 0;
  }
}
