/**
 * The main loop of a worker: it receives tasks from the pool, runs them in order, and replies.
 *
 * The messages are explained in `protocol.ts`.
 */
import type { AnyFunction } from "@multiproc/core";
import {
  areLoaded,
  type Channel,
  decodeMessage,
  type Frame,
  host,
  latestRefusal,
  loadModules,
} from "@multiproc/core/internal";
import { restoreContext } from "../async-context.ts";
import { RunningTask, running } from "../current-task.ts";
import * as protocol from "../protocol.ts";
import { ChunkRunner, isThenable } from "./chunk-runner.ts";
import { FunctionCache, type LoadedFunction } from "./function-cache.ts";
import { ResultWriter } from "./result-writer.ts";

/** While the inbox does not run empty, handled messages are removed in steps of this many. */
const INBOX_COMPACT_COUNT = 256;

/** The least time between two checks of the memory limit. */
const MEMORY_CHECK_INTERVAL_MS = 5;

/**
 * A chunk runs at least this long before it yields to the event loop, to receive CANCEL and SPLIT.
 */
const MIN_YIELD_INTERVAL_MS = 2;
/**
 * Yielding may take at most this share of the time, so a slow event loop lengthens the interval.
 */
const MAX_YIELD_TIME_RATIO = 0.03;
/** The longest interval. It bounds how long an idle worker waits for work that it steals. */
const MAX_YIELD_INTERVAL_MS = 100;

/** A task as it was received. */
interface ReceivedTask {
  readonly frame: Frame;
  readonly kind: number;
  readonly ackMode: protocol.AckMode;
  readonly isSettling: boolean;
  readonly functionId: number;
  /** The number of tasks that this worker has received before it. */
  readonly sequence: number;
  /** The async context of its call. */
  readonly context: Frame | undefined;
  /** The items to run, `[start, end)`, if not all. */
  readonly range: readonly [number, number] | undefined;
}

/** The task loop of one worker. */
export class TaskLoop {
  /** Resolves when the worker has stopped. */
  readonly done: Promise<void>;
  readonly #channel: Channel;
  readonly #writer: ResultWriter;
  readonly #functions: FunctionCache = new FunctionCache();
  readonly #inbox: Frame[] = [];
  #isRunning = false;
  #isReady = false;
  /** The content of RANGE and the message CONTEXT, for the next task. */
  #range: readonly [number, number] | undefined;
  #context: Frame | undefined;
  #finalizer: AnyFunction | undefined;
  #maxMemoryBytes: number | undefined;
  /** The time of the next check of the memory limit. */
  #nextMemoryCheckAt = 0;
  /** The running chunk. */
  #chunk: ChunkRunner | undefined;
  /** When the running chunk yields to the event loop next. */
  #nextYieldAt = 0;
  /** Tasks, by sequence, that must be split as soon as they begin. */
  readonly #splitOnStart: Set<number> = new Set();
  /** The number of tasks that have begun, and of tasks that are done. */
  #startedCount = 0;
  #doneCount = 0;
  /** Cancelled tasks that have not begun, by sequence. */
  readonly #cancelled: Set<number> = new Set();
  /** Tasks that were given back to the pool, by sequence. */
  readonly #recalled: Set<number> = new Set();
  #isSendScheduled = false;

  constructor(channel: Channel) {
    this.#channel = channel;
    this.#writer = new ResultWriter(channel);
    this.done = new Promise((resolve) => {
      channel.start({ message: (frame) => this.#receive(frame, resolve), closed: () => resolve() });
    });
  }

  /**
   * Sends the last replies when the process ends. If a module ended it after a refused start, the
   * running task fails with that refusal.
   */
  finish(): void {
    const chunk = this.#chunk;
    this.#chunk = undefined;
    const refusal = latestRefusal();
    if (refusal !== undefined) return this.#failWith(refusal, chunk);
    try {
      if (chunk !== undefined) this.#writer.sendResults(chunk, performance.now());
    } catch {} // a result that cannot be sent is lost with the process
    this.#writer.flush();
  }

  /** Fails the running task, or the initialization, with a refusal. */
  #failWith(refusal: Error, chunk: ChunkRunner | undefined): void {
    if (!this.#isReady) this.#writer.sendError(protocol.INIT_FAILED, refusal);
    else if (chunk !== undefined) this.#writer.sendChunkFailure(chunk, refusal);
    else if (this.#startedCount > this.#doneCount) this.#writer.sendFailure(refusal, 0);
    this.#writer.flush();
  }

  #receive(frame: Frame, stop: () => void): void {
    if (frame.kind === protocol.CANCEL) return this.#cancel(frame);
    if (frame.kind === protocol.RECALL) return this.#recall(decodeMessage(frame) as number[]);
    if (frame.kind === protocol.SPLIT) return this.#split(decodeMessage(frame) as number);
    this.#inbox.push(frame);
    if (this.#isRunning) return;
    this.#isRunning = true;
    // Messages of the same batch arrive before the microtask runs.
    queueMicrotask(() => void this.#runInbox().then((isDone) => isDone && stop()));
  }

  /** Handles all messages in the inbox. @returns whether the worker was stopped */
  async #runInbox(): Promise<boolean> {
    const inbox = this.#inbox;
    for (let at = 0; at < inbox.length; ) {
      const frame = inbox[at++] as Frame;
      if (at === INBOX_COMPACT_COUNT) {
        inbox.splice(0, INBOX_COMPACT_COUNT);
        at = 0;
      }
      if (frame.kind === protocol.STOP) {
        this.#writer.flush();
        await this.#finalizer?.();
        this.#channel.end();
        return true;
      }
      const pending = this.#handle(frame);
      if (pending !== undefined) await pending;
      if (this.#maxMemoryBytes !== undefined) this.#checkMemory(this.#maxMemoryBytes);
      const flushed = this.#writer.flushedUnlessBatching();
      if (flushed !== undefined) await flushed;
    }
    inbox.length = 0;
    this.#isRunning = false;
    this.#writer.flush();
    return false;
  }

  #handle(frame: Frame): Promise<void> | undefined {
    if (frame.kind >= protocol.CALL) return this.#begin(frame);
    if (frame.kind === protocol.INIT) return this.#initialize(frame);
    if (frame.kind === protocol.RANGE) this.#range = decodeMessage(frame) as [number, number];
    else if (frame.kind === protocol.CONTEXT) this.#context = frame;
    else {
      this.#writer.endBatch(); // the pool records the duration of a batch for one function
      this.#functions.handle(frame);
    }
    return undefined;
  }

  async #initialize(frame: Frame): Promise<void> {
    const writer = this.#writer;
    try {
      await loadModules(frame.modules);
      const { initializer, initArgs, finalizer, maxMemoryBytes } = decodeMessage(frame) as protocol.Init;
      await initializer?.(...initArgs);
      this.#finalizer = finalizer;
      this.#maxMemoryBytes = maxMemoryBytes;
      this.#isReady = true;
      writer.send(protocol.READY);
    } catch (error) {
      writer.sendError(protocol.INIT_FAILED, error);
    }
    writer.flush();
  }

  /** Reports, once, that this process is over its memory limit. */
  #checkMemory(maxBytes: number): void {
    const now = performance.now();
    if (now < this.#nextMemoryCheckAt) return;
    const isTooLarge = host.memoryUsed() > maxBytes;
    this.#nextMemoryCheckAt = isTooLarge ? Number.POSITIVE_INFINITY : now + MEMORY_CHECK_INTERVAL_MS;
    if (isTooLarge) this.#writer.send(protocol.OVER_MEMORY);
  }

  /** Begins a task. @returns a promise if the task does not end at once */
  #begin(frame: Frame): Promise<void> | undefined {
    const functionId = this.#functions.currentId;
    const sequence = this.#startedCount++;
    const received = {
      frame,
      ...protocol.readTaskKind(frame.kind),
      functionId,
      sequence,
      range: this.#range,
      context: this.#context,
    };
    this.#range = this.#context = undefined;
    if (this.#recalled.delete(received.sequence)) {
      this.#doneCount++;
      return undefined;
    }
    const isBatchedCall = received.ackMode === "batched" && received.kind === protocol.CALL;
    return isBatchedCall ? this.#load(received) : this.#acknowledgeStart(received);
  }

  /** Sends BEGIN, and flushes it before the task runs. */
  async #acknowledgeStart(received: ReceivedTask): Promise<void> {
    this.#writer.send(protocol.BEGIN);
    this.#writer.flush();
    await this.#writer.flushed();
    await this.#load(received);
  }

  #load(received: ReceivedTask): Promise<void> | undefined {
    const loaded = this.#functions.get(received.functionId);
    const isReady = received.context === undefined && areLoaded(received.frame.modules);
    if (loaded !== undefined && isReady) return this.#decode(loaded, received);
    return this.#prepare(received);
  }

  /**
   * Loads the function first: its module may register classes of the arguments. Then runs the task.
   */
  async #prepare(received: ReceivedTask): Promise<void> {
    void this.#writer.flushed(); // loading may take long, and must not hold results back
    try {
      const loaded = this.#functions.get(received.functionId) ?? (await this.#functions.load(received.functionId));
      await loadModules(received.frame.modules);
      if (received.context === undefined) return await this.#decode(loaded, received);
      const context = await restoreContext(received.context);
      await this.#decode({ name: loaded.name, fn: context.wrap(loaded.fn) }, received, context.trace);
    } catch (error) {
      this.#fail(error, 0);
    }
  }

  #decode(loaded: LoadedFunction, received: ReceivedTask, trace?: string): Promise<void> | undefined {
    let values: unknown[];
    try {
      values = decodeMessage(received.frame) as unknown[];
    } catch (error) {
      return this.#fail(error, 0);
    }
    return this.#execute(loaded, values, received, trace);
  }

  #execute(
    { name, fn }: LoadedFunction,
    values: unknown[],
    received: ReceivedTask,
    trace?: string,
  ): Promise<void> | undefined {
    const task = new RunningTask(name, received.sequence, trace);
    if (this.#cancelled.delete(received.sequence)) return this.#acknowledgeCancel();
    running.task = task;
    if (received.kind === protocol.CALL) return this.#call(fn, values, received.ackMode === "batched");
    const { range, isSettling, kind, ackMode } = received;
    const options = { isStar: kind === protocol.STAR_CHUNK, isSettling, acksEachItem: ackMode === "sync" };
    const chunk = new ChunkRunner(fn, values, range, options);
    return this.#runChunk(chunk, task);
  }

  #call(fn: LoadedFunction["fn"], args: unknown[], mayBatch: boolean): Promise<void> | undefined {
    const startedAt = performance.now();
    let result: unknown;
    try {
      result = fn(...args);
      if (isThenable(result)) return this.#await(result, startedAt);
    } catch (error) {
      return this.#fail(error, performance.now() - startedAt);
    }
    this.#taskDone();
    this.#writer.sendResult(result, performance.now(), startedAt, mayBatch);
    return undefined;
  }

  async #await(pending: PromiseLike<unknown>, startedAt: number): Promise<void> {
    void this.#writer.flushed(); // the task may take long, and must not hold results back
    try {
      const result = await pending;
      this.#taskDone();
      this.#writer.sendResult(result, performance.now(), startedAt, false);
    } catch (error) {
      this.#fail(error, performance.now() - startedAt);
    }
  }

  async #runChunk(chunk: ChunkRunner, task: RunningTask): Promise<void> {
    this.#chunk = chunk;
    this.#nextYieldAt = performance.now() + MIN_YIELD_INTERVAL_MS;
    if (this.#splitOnStart.delete(task.sequence)) this.#split(task.sequence);
    try {
      while (!chunk.isDone) {
        if (task.isCancelled) {
          chunk.take(0); // results that were not sent are dropped
          return this.#acknowledgeCancel();
        }
        const pending = chunk.run();
        if (pending !== undefined) {
          this.#scheduleSend(chunk);
          await chunk.wait(pending);
        }
        const now = performance.now();
        if (!chunk.isDue(now)) continue;
        if (chunk.isDone) this.#taskDone();
        this.#writer.sendResults(chunk, now);
        await this.#writer.flushed();
        if (!chunk.isDone && now >= this.#nextYieldAt) await this.#yieldToLoop(now);
      }
    } catch (error) {
      if (running.task === task) this.#taskDone();
      this.#writer.sendChunkFailure(chunk, error);
    }
  }

  /**
   * Yields to the event loop, so that messages arrive while a chunk of synchronous functions runs.
   */
  async #yieldToLoop(startedAt: number): Promise<void> {
    await new Promise<void>((resolve) => host.afterIo(resolve));
    const now = performance.now();
    this.#nextYieldAt =
      now + Math.min(MAX_YIELD_INTERVAL_MS, Math.max(MIN_YIELD_INTERVAL_MS, (now - startedAt) / MAX_YIELD_TIME_RATIO));
  }

  /**
   * While an item waits, sends the results so far after the next I/O. Items that settle in
   * microtasks are done before that, and their results are sent too.
   */
  #scheduleSend(chunk: ChunkRunner): void {
    if (this.#isSendScheduled) return;
    this.#isSendScheduled = true;
    host.afterIo(() => {
      this.#isSendScheduled = false;
      if (chunk.isDone) return;
      try {
        this.#writer.sendResults(chunk, performance.now());
      } catch (error) {
        chunk.fail(error); // a result cannot be sent
      }
    });
  }

  #fail(error: unknown, ms: number): undefined {
    this.#taskDone();
    this.#writer.sendFailure(error, ms);
    return undefined;
  }

  /** Ends a cancelled task. */
  #acknowledgeCancel(): undefined {
    this.#taskDone();
    this.#writer.send(protocol.CANCELLED);
    return undefined;
  }

  #taskDone(): void {
    running.task = undefined;
    this.#chunk = undefined;
    this.#doneCount++;
  }

  /** Splits a chunk, so that an idle worker can steal the rest. */
  #split(sequence: number): void {
    if (sequence < this.#doneCount) return;
    if (running.task?.sequence !== sequence || this.#chunk === undefined) return void this.#splitOnStart.add(sequence);
    this.#writer.send(protocol.SPLIT_AT, this.#chunk.splitOff());
    this.#writer.flush();
  }

  /** Gives back tasks that wait behind a slow one. */
  #recall(sequences: readonly number[]): void {
    const returned = sequences.filter((sequence) => sequence >= this.#startedCount);
    for (const sequence of returned) this.#recalled.add(sequence);
    this.#writer.send(protocol.RETURNED, returned);
    this.#writer.flush();
  }

  #cancel(frame: Frame): void {
    // A reason whose class is not loaded is ignored: loading it would delay the cancellation.
    const [sequence, reason] = (areLoaded(frame.modules) ? decodeMessage(frame) : []) as [number?, unknown?];
    if (sequence === undefined || sequence < this.#doneCount) return;
    if (running.task?.sequence === sequence) running.task.cancel(reason);
    else this.#cancelled.add(sequence);
  }
}
