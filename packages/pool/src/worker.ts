/** What a worker runs, in a process that is started with it or in a thread; see `protocol.ts`. */
import type { AnyFunction } from "@multiproc/core";
import {
  areLoaded,
  type Channel,
  childConfig,
  decodeMessage,
  dial,
  type EndpointAddress,
  type Frame,
  host,
  latestRefusal,
  loadModules,
} from "@multiproc/core/internal";
import { restoreContext } from "./async-context.ts";
import { RunningTask, running } from "./current-task.ts";
import * as protocol from "./protocol.ts";
import { ChunkRunner, isThenable } from "./worker/chunk-runner.ts";
import { FunctionCache, type LoadedFunction } from "./worker/function-cache.ts";
import { ResultWriter } from "./worker/result-writer.ts";

/** When messages that were taken are cut off the inbox, if it never is empty. */
const INBOX_COMPACT_COUNT = 256;

/** How often it is looked how much memory is taken, in milliseconds. */
const MEMORY_CHECK_INTERVAL_MS = 5;
/**
 * How long a chunk runs before it looks for messages, in milliseconds, and how much of its time may go there. A look that took long
 * on a busy machine must not put off the next for longer than others would wait for their share.
 */
const MIN_YIELD_INTERVAL_MS = 2;
const MAX_YIELD_TIME_RATIO = 0.03;
const MAX_YIELD_INTERVAL_MS = 100;

/** A task as it came. */
interface ReceivedTask {
  readonly frame: Frame;
  readonly kind: number;
  readonly ackMode: protocol.AckMode;
  readonly isSettling: boolean;
  /** The number of the function. */
  readonly functionId: number;
  /** The how-manieth task of this worker it is. */
  readonly sequence: number;
  /** What surrounds it. */
  readonly context: Frame | undefined;
  /** Which of its items are meant, if not all. */
  readonly range: readonly [number, number] | undefined;
}

/** Works for a pool until it needs no more. */
export async function work(address: EndpointAddress): Promise<void> {
  // Ctrl+C goes to the whole family; what becomes of the work is the parent's decision.
  host.onSignal("SIGINT", () => {});
  // Its children end with it, whatever ends it: tasks can have pools of their own.
  childConfig.mayHaveChildren = true;
  let channel: Channel;
  try {
    channel = await dial(address, "the pool", { shapes: "dictionary" });
  } catch {
    return; // the pool's process ended while this one started
  }
  await serve(channel);
}

/** Works for the pool at the other end of a channel until it needs no more. */
export async function serve(channel: Channel): Promise<void> {
  const worker = new Worker(channel);
  host.onExit(() => worker.finish());
  await worker.done;
}

class Worker {
  /** Settles when there is nothing left to do for ever. */
  readonly done: Promise<void>;
  readonly #channel: Channel;
  readonly #writer: ResultWriter;
  readonly #functions: FunctionCache = new FunctionCache();
  readonly #inbox: Frame[] = [];
  #isRunning = false;
  #isReady = false;
  #range: readonly [number, number] | undefined;
  #context: Frame | undefined;
  #finalizer: AnyFunction | undefined;
  #maxMemory: number | undefined;
  /** When it is to be looked next how much memory is taken. */
  #nextMemoryCheckAt = 0;
  /** The chunk that is running. */
  #chunk: ChunkRunner | undefined;
  /** When a chunk is to look for messages next. */
  #nextYieldAt = 0;
  /** Tasks that are to be shared as soon as they begin. */
  readonly #splitOnStart: Set<number> = new Set();
  /** How many tasks were begun, and how many are over. */
  #startedCount = 0;
  #doneCount = 0;
  /** Tasks that nobody wants and that have not begun, by their ordinal. */
  readonly #cancelled: Set<number> = new Set();
  /** Tasks that were given back. */
  readonly #recalled: Set<number> = new Set();
  #isSendScheduled = false;

  constructor(channel: Channel) {
    this.#channel = channel;
    this.#writer = new ResultWriter(channel);
    this.done = new Promise((resolve) => {
      channel.start({ message: (frame) => this.#receive(frame, resolve), closed: () => resolve() });
    });
  }

  /** The process ends: what has been answered is said. A module may end it after a refused start. */
  finish(): void {
    const chunk = this.#chunk;
    this.#chunk = undefined;
    const refusal = latestRefusal();
    if (refusal !== undefined) return this.#failWith(refusal, chunk);
    try {
      if (chunk !== undefined) this.#writer.sendResults(chunk, performance.now());
    } catch {} // one of them cannot be sent, and is lost with the process
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
    // What came with this message is there when the work begins.
    queueMicrotask(() => void this.#runInbox().then((isDone) => isDone && stop()));
  }

  /** Does all that is there to do; answers whether that was the last. */
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
      if (this.#maxMemory !== undefined) this.#checkMemory(this.#maxMemory);
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
      this.#writer.endBatch(); // what is said together is of one function
      this.#functions.handle(frame);
    }
    return undefined;
  }

  async #initialize(frame: Frame): Promise<void> {
    const writer = this.#writer;
    try {
      await loadModules(frame.modules);
      const { initializer, initArgs, finalizer, maxMemory } = decodeMessage(frame) as protocol.Init;
      await initializer?.(...initArgs);
      this.#finalizer = finalizer;
      this.#maxMemory = maxMemory;
      this.#isReady = true;
      writer.send(protocol.READY);
    } catch (error) {
      writer.sendError(protocol.INIT_FAILED, error);
    }
    writer.flush();
  }

  /** Says, once, that this process has grown too large for more tasks. */
  #checkMemory(limit: number): void {
    const now = performance.now();
    if (now < this.#nextMemoryCheckAt) return;
    const isTooLarge = host.memoryUsed() > limit;
    this.#nextMemoryCheckAt = isTooLarge ? Number.POSITIVE_INFINITY : now + MEMORY_CHECK_INTERVAL_MS;
    if (isTooLarge) this.#writer.send(protocol.OVER_MEMORY);
  }

  /** Begins a task; most are over at once. */
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

  /** Says that a task begins, before anything of it is done. */
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

  /** What the function's module loads may be what the values are made of: classes, and those of errors. */
  async #prepare(received: ReceivedTask): Promise<void> {
    void this.#writer.flushed();
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
    void this.#writer.flushed();
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
          chunk.take(0); // what has not left by now never will
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

  /** Lets messages arrive: a chunk of functions that wait for nothing would go on to its end without. */
  async #yieldToLoop(startedAt: number): Promise<void> {
    await new Promise<void>((resolve) => host.afterIo(resolve));
    const now = performance.now();
    this.#nextYieldAt =
      now + Math.min(MAX_YIELD_INTERVAL_MS, Math.max(MIN_YIELD_INTERVAL_MS, (now - startedAt) / MAX_YIELD_TIME_RATIO));
  }

  /** Sends the results of a chunk whose items wait for something; quick promises settle before that. */
  #scheduleSend(chunk: ChunkRunner): void {
    if (this.#isSendScheduled) return;
    this.#isSendScheduled = true;
    host.afterIo(() => {
      this.#isSendScheduled = false;
      if (chunk.isDone) return;
      try {
        this.#writer.sendResults(chunk, performance.now());
      } catch (error) {
        chunk.fail(error); // one of them cannot be sent
      }
    });
  }

  #fail(error: unknown, ms: number): undefined {
    this.#taskDone();
    this.#writer.sendFailure(error, ms);
    return undefined;
  }

  /** Nobody wants what is left of the task. */
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

  /** Leaves some of a chunk to workers that have nothing to do. */
  #split(sequence: number): void {
    if (sequence < this.#doneCount) return;
    if (running.task?.sequence !== sequence || this.#chunk === undefined) return void this.#splitOnStart.add(sequence);
    this.#writer.send(protocol.SPLIT_AT, this.#chunk.splitOff());
    this.#writer.flush();
  }

  /** Gives tasks back that wait behind one that takes long. */
  #recall(sequences: readonly number[]): void {
    const returned = sequences.filter((ordinal) => ordinal >= this.#startedCount);
    for (const ordinal of returned) this.#recalled.add(ordinal);
    this.#writer.send(protocol.RETURNED, returned);
    this.#writer.flush();
  }

  #cancel(frame: Frame): void {
    // What the reason names may not be loaded, and is not worth waiting for.
    const [sequence, reason] = (areLoaded(frame.modules) ? decodeMessage(frame) : []) as [number?, unknown?];
    if (sequence === undefined || sequence < this.#doneCount) return;
    if (running.task?.sequence === sequence) running.task.cancel(reason);
    else this.#cancelled.add(sequence);
  }
}
