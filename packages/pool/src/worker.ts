/** What a worker process runs; it is started, never imported. See `protocol.ts`. */
import {
  areLoaded,
  type Channel,
  decodeMessage,
  dial,
  type Frame,
  host,
  type Invitation,
  loadModules,
} from "@multiproc/core/internal";
import { Answers } from "./answers.ts";
import { Chunk, isThenable } from "./chunk.ts";
import { RunningTask, running } from "./current-task.ts";
import { type Piece, Repertoire } from "./functions.ts";
import type { Care } from "./ledger.ts";
import * as protocol from "./protocol.ts";

/** When messages that were taken are cut off the inbox, if it never is empty. */
const CUT_AT = 256;

/** A task as it came. */
interface Order {
  readonly frame: Frame;
  readonly kind: number;
  readonly care: Care;
  /** The number of the function. */
  readonly fn: number;
  /** The how-manieth task of this worker it is. */
  readonly ordinal: number;
  /** How many of its items another worker has done. */
  readonly skip: number;
}

/** Works for a pool until it needs no more. */
export async function work(invitation: Invitation): Promise<void> {
  // Ctrl+C goes to the whole family; what becomes of the work is the parent's decision.
  host.onSignal("SIGINT", () => {});
  let channel: Channel;
  try {
    channel = await dial(invitation, "the pool", { shapes: "dictionary" });
  } catch {
    return; // the pool's process ended while this one started
  }
  host.onExit(() => channel.flush());
  await new Worker(channel).done;
}

class Worker {
  /** Settles when there is nothing left to do for ever. */
  readonly done: Promise<void>;
  readonly #channel: Channel;
  readonly #answers: Answers;
  readonly #repertoire: Repertoire = new Repertoire();
  readonly #inbox: Frame[] = [];
  #isAwake = false;
  #skip = 0;
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

  #receive(frame: Frame, stop: () => void): void {
    if (frame.kind === protocol.DROP) return this.#drop(frame);
    if (frame.kind === protocol.RECALL) return this.#recall(decodeMessage(frame) as number[]);
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
        this.#channel.end();
        return true;
      }
      const pending = this.#take(frame);
      if (pending !== undefined) await pending;
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
    if (frame.kind === protocol.SKIP) this.#skip = decodeMessage(frame) as number;
    else this.#repertoire.take(frame);
    return undefined;
  }

  async #initialize(frame: Frame): Promise<void> {
    const answers = this.#answers;
    try {
      await loadModules(frame.modules);
      const [initializer, args] = decodeMessage(frame) as [Piece["fn"] | undefined, unknown[]];
      await initializer?.(...args);
      answers.say(protocol.READY);
    } catch (error) {
      answers.error(protocol.REFUSED, error);
    }
    answers.flush();
  }

  /** Begins a task; most are over at once. */
  #begin(frame: Frame): Promise<void> | undefined {
    const fn = this.#repertoire.named;
    const order = { frame, ...protocol.readTaskKind(frame.kind), fn, ordinal: this.#begun++, skip: this.#skip };
    this.#skip = 0;
    if (this.#recalled.delete(order.ordinal)) {
      this.#over++;
      return undefined;
    }
    return order.care === "careful" ? this.#announce(order) : this.#load(order);
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
    if (piece !== undefined && areLoaded(order.frame.modules)) return this.#read(piece, order);
    return this.#prepare(order);
  }

  /** What the function's module loads may be what the values are made of: classes, and those of errors. */
  async #prepare(order: Order): Promise<void> {
    try {
      const piece = this.#repertoire.get(order.fn) ?? (await this.#repertoire.find(order.fn));
      await loadModules(order.frame.modules);
      await this.#read(piece, order);
    } catch (error) {
      this.#fail(error, 0);
    }
  }

  #read(piece: Piece, order: Order): Promise<void> | undefined {
    let values: unknown[];
    try {
      values = decodeMessage(order.frame) as unknown[];
    } catch (error) {
      return this.#fail(error, 0);
    }
    return this.#perform(piece, values, order);
  }

  #perform({ name, fn }: Piece, values: unknown[], order: Order): Promise<void> | undefined {
    const task = new RunningTask(name, order.ordinal);
    if (this.#dropped.delete(order.ordinal)) return this.#leave();
    running.task = task;
    if (order.kind === protocol.CALL) return this.#call(fn, values, order.care === "loose");
    return this.#runChunk(new Chunk(fn, values, order.skip, order.kind === protocol.STAR_CHUNK), task);
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
    try {
      while (!chunk.isDone) {
        if (task.isDropped) {
          chunk.take(0); // what has not left by now never will
          return this.#leave();
        }
        const pending = chunk.run();
        if (pending !== undefined) {
          this.#sendSoon(chunk);
          chunk.settle(await pending);
        }
        const now = performance.now();
        if (!chunk.isDone && chunk.age(now) < protocol.HOLD_MS) continue;
        if (chunk.isDone) this.#end();
        this.#answers.results(chunk, now);
        await this.#answers.left();
      }
    } catch (error) {
      if (running.task === task) this.#end();
      this.#answers.chunkFailure(chunk, error);
    }
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
    this.#over++;
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
