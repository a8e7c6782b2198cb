/** What a worker runs, in a process that is started with it or in a thread; see `protocol.ts`. */
import type { AnyFunction } from "@multiproc/core";
import {
  areLoaded,
  type Channel,
  decodeMessage,
  dial,
  type Frame,
  host,
  type Invitation,
  inherited,
  loadModules,
} from "@multiproc/core/internal";
import { restoreContext } from "./async-context.ts";
import { RunningTask, running } from "./current-task.ts";
import { type Piece, Repertoire } from "./functions/function-table.ts";
import * as protocol from "./protocol.ts";
import { Chunk, isThenable } from "./worker/chunk-runner.ts";
import { Answers } from "./worker/result-writer.ts";

/** When messages that were taken are cut off the inbox, if it never is empty. */
const CUT_AT = 256;

/** How often it is looked how much memory is taken, in milliseconds. */
const WEIGH_MS = 5;
/**
 * How long a chunk runs before it looks for messages, in milliseconds, and how much of its time may go there. A look that took long
 * on a busy machine must not put off the next for longer than others would wait for their share.
 */
const LISTEN_MS = 2;
const LISTEN_SHARE = 0.03;
const LISTEN_AT_LEAST_MS = 100;

/** A task as it came. */
interface Order {
  readonly frame: Frame;
  readonly kind: number;
  readonly care: protocol.Care;
  readonly isSettling: boolean;
  /** The number of the function. */
  readonly fn: number;
  /** The how-manieth task of this worker it is. */
  readonly ordinal: number;
  /** What surrounds it. */
  readonly context: Frame | undefined;
  /** Which of its items are meant, if not all. */
  readonly range: readonly [number, number] | undefined;
}

/** Works for a pool until it needs no more. */
export async function work(invitation: Invitation): Promise<void> {
  // Ctrl+C goes to the whole family; what becomes of the work is the parent's decision.
  host.onSignal("SIGINT", () => {});
  // Its children end with it, whatever ends it: tasks can have pools of their own.
  inherited.mayHaveChildren = true;
  let channel: Channel;
  try {
    channel = await dial(invitation, "the pool", { shapes: "dictionary" });
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
  readonly #answers: Answers;
  readonly #repertoire: Repertoire = new Repertoire();
  readonly #inbox: Frame[] = [];
  #isAwake = false;
  #range: readonly [number, number] | undefined;
  #context: Frame | undefined;
  #finalizer: AnyFunction | undefined;
  #maxMemory: number | undefined;
  /** When it is to be looked next how much memory is taken. */
  #weighAt = 0;
  /** The chunk that is running. */
  #chunk: Chunk | undefined;
  /** When a chunk is to look for messages next. */
  #listenAt = 0;
  /** Tasks that are to be shared as soon as they begin. */
  readonly #toShare: Set<number> = new Set();
  /** How many tasks were begun, and how many are over. */
  #begun = 0;
  #over = 0;
  /** Tasks that nobody wants and that have not begun, by their ordinal. */
  readonly #dropped: Set<number> = new Set();
  /** Tasks that were given back. */
  readonly #recalled: Set<number> = new Set();
  #isSendPlanned = false;

  constructor(channel: Channel) {
    this.#channel = channel;
    this.#answers = new Answers(channel);
    this.done = new Promise((resolve) => {
      channel.start({ message: (frame) => this.#receive(frame, resolve), closed: () => resolve() });
    });
  }

  /** The process ends: what has been answered is said. */
  finish(): void {
    const chunk = this.#chunk;
    this.#chunk = undefined;
    try {
      if (chunk !== undefined) this.#answers.results(chunk, performance.now());
    } catch {} // one of them cannot be sent, and is lost with the process
    this.#answers.flush();
  }

  #receive(frame: Frame, stop: () => void): void {
    if (frame.kind === protocol.DROP) return this.#drop(frame);
    if (frame.kind === protocol.RECALL) return this.#recall(decodeMessage(frame) as number[]);
    if (frame.kind === protocol.SHARE) return this.#share(decodeMessage(frame) as number);
    this.#inbox.push(frame);
    if (this.#isAwake) return;
    this.#isAwake = true;
    // What came with this message is there when the work begins.
    queueMicrotask(() => void this.#workOff().then((isOver) => isOver && stop()));
  }

  /** Does all that is there to do; answers whether that was the last. */
  async #workOff(): Promise<boolean> {
    const inbox = this.#inbox;
    for (let at = 0; at < inbox.length; ) {
      const frame = inbox[at++] as Frame;
      if (at === CUT_AT) {
        inbox.splice(0, CUT_AT);
        at = 0;
      }
      if (frame.kind === protocol.STOP) {
        this.#answers.flush();
        await this.#finalizer?.();
        this.#channel.end();
        return true;
      }
      const pending = this.#take(frame);
      if (pending !== undefined) await pending;
      if (this.#maxMemory !== undefined) this.#weigh(this.#maxMemory);
      const leaving = this.#answers.leftSoFar();
      if (leaving !== undefined) await leaving;
    }
    inbox.length = 0;
    this.#isAwake = false;
    this.#answers.flush();
    return false;
  }

  #take(frame: Frame): Promise<void> | undefined {
    if (frame.kind >= protocol.CALL) return this.#begin(frame);
    if (frame.kind === protocol.INIT) return this.#initialize(frame);
    if (frame.kind === protocol.RANGE) this.#range = decodeMessage(frame) as [number, number];
    else if (frame.kind === protocol.CONTEXT) this.#context = frame;
    else {
      this.#answers.cut(); // what is said together is of one function
      this.#repertoire.take(frame);
    }
    return undefined;
  }

  async #initialize(frame: Frame): Promise<void> {
    const answers = this.#answers;
    try {
      await loadModules(frame.modules);
      const { initializer, initArgs, finalizer, maxMemory } = decodeMessage(frame) as protocol.Init;
      await initializer?.(...initArgs);
      this.#finalizer = finalizer;
      this.#maxMemory = maxMemory;
      answers.say(protocol.READY);
    } catch (error) {
      answers.error(protocol.REFUSED, error);
    }
    answers.flush();
  }

  /** Says, once, that this process has grown too large for more tasks. */
  #weigh(limit: number): void {
    const now = performance.now();
    if (now < this.#weighAt) return;
    const isTooLarge = host.memoryUsed() > limit;
    this.#weighAt = isTooLarge ? Number.POSITIVE_INFINITY : now + WEIGH_MS;
    if (isTooLarge) this.#answers.say(protocol.SPENT);
  }

  /** Begins a task; most are over at once. */
  #begin(frame: Frame): Promise<void> | undefined {
    const fn = this.#repertoire.named;
    const ordinal = this.#begun++;
    const order = {
      frame,
      ...protocol.readTaskKind(frame.kind),
      fn,
      ordinal,
      range: this.#range,
      context: this.#context,
    };
    this.#range = this.#context = undefined;
    if (this.#recalled.delete(order.ordinal)) {
      this.#over++;
      return undefined;
    }
    const isQuiet = order.care === "loose" && order.kind === protocol.CALL;
    return isQuiet ? this.#load(order) : this.#announce(order);
  }

  /** Says that a task begins, before anything of it is done. */
  async #announce(order: Order): Promise<void> {
    this.#answers.say(protocol.BEGIN);
    this.#answers.flush();
    await this.#answers.left();
    await this.#load(order);
  }

  #load(order: Order): Promise<void> | undefined {
    const piece = this.#repertoire.get(order.fn);
    const isReady = order.context === undefined && areLoaded(order.frame.modules);
    if (piece !== undefined && isReady) return this.#read(piece, order);
    return this.#prepare(order);
  }

  /** What the function's module loads may be what the values are made of: classes, and those of errors. */
  async #prepare(order: Order): Promise<void> {
    void this.#answers.left();
    try {
      const piece = this.#repertoire.get(order.fn) ?? (await this.#repertoire.find(order.fn));
      await loadModules(order.frame.modules);
      if (order.context === undefined) return await this.#read(piece, order);
      const context = await restoreContext(order.context);
      await this.#read({ name: piece.name, fn: context.around(piece.fn) }, order, context.trace);
    } catch (error) {
      this.#fail(error, 0);
    }
  }

  #read(piece: Piece, order: Order, trace?: string): Promise<void> | undefined {
    let values: unknown[];
    try {
      values = decodeMessage(order.frame) as unknown[];
    } catch (error) {
      return this.#fail(error, 0);
    }
    return this.#perform(piece, values, order, trace);
  }

  #perform({ name, fn }: Piece, values: unknown[], order: Order, trace?: string): Promise<void> | undefined {
    const task = new RunningTask(name, order.ordinal, trace);
    if (this.#dropped.delete(order.ordinal)) return this.#leave();
    running.task = task;
    if (order.kind === protocol.CALL) return this.#call(fn, values, order.care === "loose");
    const { range, isSettling, kind, care } = order;
    const how = { isStar: kind === protocol.STAR_CHUNK, isSettling, isCareful: care === "careful" };
    const chunk = new Chunk(fn, values, range, how);
    return this.#runChunk(chunk, task);
  }

  #call(fn: Piece["fn"], args: unknown[], mayHold: boolean): Promise<void> | undefined {
    const from = performance.now();
    let result: unknown;
    try {
      result = fn(...args);
      if (isThenable(result)) return this.#await(result, from);
    } catch (error) {
      return this.#fail(error, performance.now() - from);
    }
    this.#end();
    this.#answers.result(result, performance.now(), from, mayHold);
    return undefined;
  }

  async #await(pending: PromiseLike<unknown>, from: number): Promise<void> {
    void this.#answers.left();
    try {
      const result = await pending;
      this.#end();
      this.#answers.result(result, performance.now(), from, false);
    } catch (error) {
      this.#fail(error, performance.now() - from);
    }
  }

  async #runChunk(chunk: Chunk, task: RunningTask): Promise<void> {
    this.#chunk = chunk;
    this.#listenAt = performance.now() + LISTEN_MS;
    if (this.#toShare.delete(task.ordinal)) this.#share(task.ordinal);
    try {
      while (!chunk.isDone) {
        if (task.isDropped) {
          chunk.take(0); // what has not left by now never will
          return this.#leave();
        }
        const pending = chunk.run();
        if (pending !== undefined) {
          this.#sendSoon(chunk);
          await chunk.wait(pending);
        }
        const now = performance.now();
        if (!chunk.isDue(now)) continue;
        if (chunk.isDone) this.#end();
        this.#answers.results(chunk, now);
        await this.#answers.left();
        if (!chunk.isDone && now >= this.#listenAt) await this.#listen(now);
      }
    } catch (error) {
      if (running.task === task) this.#end();
      this.#answers.chunkFailure(chunk, error);
    }
  }

  /** Lets messages arrive: a chunk of functions that wait for nothing would go on to its end without. */
  async #listen(from: number): Promise<void> {
    await new Promise<void>((resolve) => host.immediate(resolve));
    const now = performance.now();
    this.#listenAt = now + Math.min(LISTEN_AT_LEAST_MS, Math.max(LISTEN_MS, (now - from) / LISTEN_SHARE));
  }

  /** Sends the results of a chunk whose items wait for something; quick promises settle before that. */
  #sendSoon(chunk: Chunk): void {
    if (this.#isSendPlanned) return;
    this.#isSendPlanned = true;
    host.immediate(() => {
      this.#isSendPlanned = false;
      if (chunk.isDone) return;
      try {
        this.#answers.results(chunk, performance.now());
      } catch (error) {
        chunk.fail(error); // one of them cannot be sent
      }
    });
  }

  #fail(error: unknown, ms: number): undefined {
    this.#end();
    this.#answers.failure(error, ms);
    return undefined;
  }

  /** Nobody wants what is left of the task. */
  #leave(): undefined {
    this.#end();
    this.#answers.say(protocol.DROPPED);
    return undefined;
  }

  #end(): void {
    running.task = undefined;
    this.#chunk = undefined;
    this.#over++;
  }

  /** Leaves some of a chunk to workers that have nothing to do. */
  #share(ordinal: number): void {
    if (ordinal < this.#over) return;
    if (running.task?.ordinal !== ordinal || this.#chunk === undefined) return void this.#toShare.add(ordinal);
    this.#answers.say(protocol.SHARED, this.#chunk.share());
    this.#answers.flush();
  }

  /** Gives tasks back that wait behind one that takes long. */
  #recall(ordinals: readonly number[]): void {
    const returned = ordinals.filter((ordinal) => ordinal >= this.#begun);
    for (const ordinal of returned) this.#recalled.add(ordinal);
    this.#answers.say(protocol.RETURNED, returned);
    this.#answers.flush();
  }

  #drop(frame: Frame): void {
    // What the reason names may not be loaded, and is not worth waiting for.
    const [ordinal, reason] = (areLoaded(frame.modules) ? decodeMessage(frame) : []) as [number?, unknown?];
    if (ordinal === undefined || ordinal < this.#over) return;
    if (running.task?.ordinal === ordinal) running.task.drop(reason);
    else this.#dropped.add(ordinal);
  }
}
