/** A queue whose home is another process; see `protocol.ts`. */
import {
  type Channel,
  dial,
  encodeMessage,
  type Frame,
  flushNow,
  host,
  type Invitation,
  leaving,
  openChannels,
  singleton,
  TIMED_OUT,
  type WaitOptions,
  within,
} from "@multiproc/core/internal";
import { closedHere, homeGone, QueueEmptyError, QueueFullError, QueueShutDownError } from "./errors.ts";
import { Intake, type Waiter } from "./intake.ts";
import type { BlockOptions, Link } from "./link.ts";
import type { Question } from "./protocol.ts";
import * as kinds from "./protocol.ts";

/** What a put that has been answered came to. */
type PutOutcome = "accepted" | "full" | "withdrawn" | "refused";

interface Waiting<T> {
  resolve(value: T): void;
  reject(error: Error): void;
}

/** Where a queue's items are, as it is told to other processes. */
export interface QueueAddress {
  readonly invitation: Invitation;
  /** The process that keeps them. */
  readonly home: number;
  readonly maxSize: number;
}

/** A put that waits for the channel. */
interface Early {
  send(channel: Channel): void;
  fail(error: Error): void;
}

const SETTLED: Promise<void> = Promise.resolve();

/** A queue's link in a process that is not its home. */
export class RemoteLink implements Link {
  readonly maxSize: number;
  readonly home: number;
  readonly #address: QueueAddress;
  #opening: Promise<Channel> | undefined;
  /** The channel, once it is open. */
  #channel: Channel | undefined;
  /** The same, once it may be put on. */
  #outlet: Channel | undefined;
  readonly #early = new Set<Early>();
  readonly #intake: Intake = new Intake((report, atOnce) => this.#report(report, atOnce));
  #isClosed = false;
  #isShutDown = false;
  /** Whether the queue is shut down and will never have an item again. */
  #isOver = false;
  /** Settles when what has been put in this turn has left. */
  #leaving: Promise<void> | undefined;
  #puts = 0;
  readonly #putters = new Map<number, Waiting<PutOutcome>>();
  #number = 0;
  readonly #probes = new Map<number, () => void>();
  readonly #questions = new Map<number, Waiting<unknown>>();

  constructor(address: QueueAddress) {
    this.#address = address;
    this.maxSize = address.maxSize;
    this.home = address.home;
  }

  async put(call: string, item: unknown, options: BlockOptions): Promise<void> {
    const channel = this.#outlet;
    if (channel === undefined) return this.#putEarly(call, item, options);
    if (channel.closed) throw homeGone(this.home);
    if (this.#isShutDown) throw new QueueShutDownError(call);
    channel.send(this.#putKind(options), item, "item");
    return this.maxSize === 0 ? this.#left(channel) : this.#answered(call, channel, item, options);
  }

  take(): Frame | undefined {
    return this.#intake.take();
  }

  async get(call: string, options: BlockOptions): Promise<Frame> {
    const channel = this.#channel ?? (await this.#open(call, options));
    if (channel === TIMED_OUT) throw new QueueEmptyError(call);
    if (channel.closed) throw homeGone(this.home);
    if (this.#isOver) throw new QueueShutDownError(call);
    let waiter!: Waiter;
    const promise = new Promise<Frame>((give, end) => {
      waiter = { give, end };
    });
    this.#intake.wait(waiter);
    channel.ref();
    try {
      if (isNow(options)) await this.#probe(channel, promise);
      else if ((await within(promise, call, options)) !== TIMED_OUT) return await promise;
    } catch (error) {
      if (!this.#intake.withdraw(waiter)) return await promise;
      throw error;
    } finally {
      this.#rest();
    }
    // Given in the same turn in which the wait ended: the item is here, and the call has succeeded.
    if (!this.#intake.withdraw(waiter)) return await promise;
    throw this.#isOver ? new QueueShutDownError(call) : new QueueEmptyError(call);
  }

  async ask(call: string, question: Question, argument: unknown, options: WaitOptions): Promise<unknown> {
    const channel = this.#channel ?? (await this.#open(call, options));
    if (channel === TIMED_OUT) return TIMED_OUT;
    if (channel.closed) throw homeGone(this.home);
    this.#intake.report(false);
    const id = ++this.#number;
    const answer = this.#waitFor(this.#questions, id, channel);
    channel.send(kinds.ASK, [id, question, argument]);
    try {
      return await within(answer, call, options);
    } finally {
      this.#questions.delete(id);
      this.#rest();
    }
  }

  async flush(): Promise<void> {
    if (this.#early.size > 0)
      await new Promise<void>((resolve) => this.#early.add({ send: () => resolve(), fail: () => resolve() }));
    await this.#channel?.flushed();
  }

  invitation(): Invitation {
    return this.#address.invitation;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const channel = this.#channel;
    if (channel !== undefined && !channel.closed) {
      this.#intake.report(false);
      channel.end();
    }
    this.#end(closedHere());
  }

  /** The channel, as soon as it is open; what was put before leaves first. */
  async #open(call: string, options: WaitOptions): Promise<Channel | typeof TIMED_OUT> {
    this.#opening ??= this.#dial();
    try {
      return await within(this.#opening, call, options);
    } catch (error) {
      if (options.signal?.aborted && error === options.signal.reason) throw error;
      throw this.#isClosed ? closedHere() : homeGone(this.home, error);
    }
  }

  async #dial(): Promise<Channel> {
    const channel = await dial(this.#address.invitation, `the queue's home, process ${this.home}`);
    if (this.#isClosed) {
      channel.destroy();
      throw closedHere();
    }
    channel.start({ message: (frame) => this.#take(channel, frame), closed: (reason) => this.#lost(reason) });
    this.#channel = channel;
    this.#keepReports(channel);
    return channel;
  }

  async #putEarly(call: string, item: unknown, options: BlockOptions): Promise<void> {
    // Encoded at the call, so that it is refused at the call, and later changes do not matter.
    const { frame, commit } = encodeMessage(item, "item");
    let early!: Early;
    const sent = new Promise<{ over: Promise<void> }>((resolve, fail) => {
      const send = (channel: Channel): void => {
        channel.forward(this.#putKind(options), frame);
        commit(undefined);
        const isUnbounded = this.maxSize === 0;
        resolve({ over: isUnbounded ? this.#left(channel) : this.#answered(call, channel, item, options) });
      };
      early = {
        send,
        fail: (error) => fail(error instanceof QueueShutDownError ? new QueueShutDownError(call) : error),
      };
    });
    this.#early.add(early);
    if (this.#early.size === 1) this.#getReady(call);
    try {
      const result = await within(sent, call, options);
      if (result !== TIMED_OUT) return await result.over;
    } finally {
      this.#early.delete(early);
      this.#rest();
    }
    throw new QueueFullError(call, this.maxSize, item);
  }

  /** Opens the way for those who put. */
  #getReady(call: string): void {
    const opening = this.#channel === undefined ? this.#open(call, {}) : Promise.resolve(this.#channel);
    opening.then(
      (channel) => {
        if (channel === TIMED_OUT) return;
        channel.ref();
        if (this.maxSize > 0) this.#ready(channel);
        else if (!channel.closed) channel.send(kinds.PRODUCE, null);
      },
      (error) => this.#failEarly(error),
    );
  }

  #ready(channel: Channel): void {
    this.#outlet = channel;
    for (const early of this.#early) early.send(channel);
    this.#early.clear();
  }

  #failEarly(error: Error): void {
    for (const early of this.#early) early.fail(error);
    this.#early.clear();
  }

  #putKind(options: BlockOptions): number {
    return this.maxSize > 0 && isNow(options) ? kinds.PUT_NOW : kinds.PUT;
  }

  /** Settles when the system has what has been put; all that is put in one turn leaves together. */
  #left(channel: Channel): Promise<void> {
    if (this.#leaving === undefined) {
      this.#leaving = SETTLED.then(async () => {
        this.#leaving = undefined;
        await channel.flushed();
        if (channel.closed && !this.#isClosed) throw homeGone(this.home);
      });
      leaving.wait(this.#leaving);
    }
    return this.#leaving;
  }

  /** Settles when the home has answered the put that was just sent. */
  async #answered(call: string, channel: Channel, item: unknown, options: BlockOptions): Promise<void> {
    const id = ++this.#puts;
    const outcome = this.#waitFor(this.#putters, id, channel);
    leaving.wait(outcome);
    const answer = await this.#answerWithin(call, outcome, id, channel, isNow(options) ? {} : options);
    this.#rest();
    if (answer === "refused") throw new QueueShutDownError(call);
    if (answer !== "accepted") throw new QueueFullError(call, this.maxSize, item);
  }

  async #answerWithin(
    call: string,
    outcome: Promise<PutOutcome>,
    id: number,
    channel: Channel,
    options: WaitOptions,
  ): Promise<PutOutcome> {
    try {
      const answer = await within(outcome, call, options);
      if (answer !== TIMED_OUT) return answer;
    } catch (error) {
      if (options.signal?.aborted !== true || channel.closed) throw error;
      channel.send(kinds.WITHDRAW, id);
      if ((await outcome) === "accepted") return "accepted";
      throw error;
    }
    // The home says which came first: the room, or the end of the wait.
    if (!channel.closed) channel.send(kinds.WITHDRAW, id);
    return outcome;
  }

  /** Settles when the home has sent all that it could. */
  async #probe(channel: Channel, item: Promise<unknown>): Promise<void> {
    this.#intake.report(false);
    const id = ++this.#number;
    const probed = new Promise<void>((resolve) => this.#probes.set(id, resolve));
    channel.send(kinds.PROBE, id);
    await Promise.race([item, probed]);
    this.#probes.delete(id);
  }

  #take(channel: Channel, frame: Frame): void {
    switch (frame.kind) {
      case kinds.ITEM:
        return this.#intake.push(frame);
      case kinds.RECALL:
        return this.#intake.recall();
      case kinds.RETURNED:
        return this.#intake.returned();
      case kinds.ACCEPTED:
        return this.#settle(channel, frame, "accepted");
      case kinds.FULL:
        return this.#settle(channel, frame, "full");
      case kinds.WITHDRAWN:
        return this.#settle(channel, frame, "withdrawn");
      case kinds.REFUSED:
        return this.#settle(channel, frame, "refused");
      case kinds.PROBED:
        return this.#probes.get(channel.decode(frame) as number)?.();
      case kinds.PRODUCING:
        if (channel.decode(frame) === true) this.#shutDown();
        return this.#ready(channel);
      case kinds.SHUT_DOWN:
        this.#shutDown();
        return channel.send(kinds.HEARD, null);
      case kinds.OVER:
        this.#isOver = true;
        return this.#intake.end(new QueueShutDownError("get()"));
      case kinds.ANSWER: {
        const [id, answer] = channel.decode(frame) as [number, unknown];
        return this.#questions.get(id)?.resolve(answer);
      }
      case kinds.FAILED: {
        const [id, error] = channel.decode(frame) as [number, Error];
        return this.#questions.get(id)?.reject(error);
      }
    }
  }

  #settle(channel: Channel, frame: Frame, outcome: PutOutcome): void {
    const id = channel.decode(frame) as number;
    this.#putters.get(id)?.resolve(outcome);
    this.#putters.delete(id);
  }

  #shutDown(): void {
    this.#isShutDown = true;
    this.#failEarly(new QueueShutDownError("put()"));
  }

  #report(report: kinds.Report, atOnce: boolean): void {
    const channel = this.#channel;
    if (channel === undefined || channel.closed || this.#isClosed) return;
    channel.send(kinds.REPORT, report);
    if (atOnce) channel.flush();
  }

  /** What was taken is reported before this process ends. */
  #keepReports(channel: Channel): void {
    const reports = {
      flush: () => {
        this.#intake.report(true);
      },
      flushed: () => {
        this.#intake.report(true);
        return channel.flushed();
      },
    };
    openChannels.add(reports);
    channel.onEnd(() => openChannels.delete(reports));
    singleton("reports at exit", () => host.onExit(flushNow));
  }

  #waitFor<T>(waiters: Map<number, Waiting<T>>, id: number, channel: Channel): Promise<T> {
    channel.ref();
    return new Promise((resolve, reject) => waiters.set(id, { resolve, reject }));
  }

  /** The program need not stay alive for a channel on which nobody waits. */
  #rest(): void {
    if (this.#intake.waiting + this.#early.size + this.#putters.size + this.#questions.size === 0)
      this.#channel?.unref();
  }

  #lost(cause: Error | undefined): void {
    this.#end(this.#isClosed ? closedHere() : homeGone(this.home, cause));
  }

  #end(error: Error): void {
    this.#failEarly(error);
    this.#intake.end(error);
    for (const waiters of [this.#putters, this.#questions]) {
      for (const { reject } of waiters.values()) reject(error);
      waiters.clear();
    }
  }
}

/** Whether the caller does not wait. */
function isNow(options: BlockOptions): boolean {
  return options.block === false || options.timeout === 0;
}
