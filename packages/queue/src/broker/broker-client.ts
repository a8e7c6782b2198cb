/** What the calls of one process do while the items of its queue are with its home, another process; see `protocol.ts`. */
import {
  type Channel,
  type EncodedMessage,
  encodeMessage,
  type Frame,
  leaving,
  TIMED_OUT,
  type WaitOptions,
  within,
} from "@multiproc/core/internal";
import { type BlockOptions, isNow, remaining } from "../backend.ts";
import { homeGone, QueueEmptyError, QueueFullError, QueueShutDownError } from "../errors.ts";
import { Intake, type Waiter } from "./prefetch-buffer.ts";
import * as kinds from "./protocol.ts";

/** What a put that has been answered came to. */
type PutOutcome = "accepted" | "full" | "withdrawn" | "refused";

/** Puts an item that was encoded before. */
type Place = (call: string, item: unknown, message: EncodedMessage, options: BlockOptions) => Promise<void>;

/** What the process knows besides. */
export interface HomeOwner {
  readonly home: number;
  readonly maxSize: number;
  /** Whether the queue was closed in this process. */
  readonly isClosed: boolean;
  /** The channel, as soon as it is open. */
  reach(call: string): Promise<Channel>;
  /** A wait is over: the program need not stay alive for the channel if it was the last. */
  rest(): void;
}

/** A put that waits for the channel, or to be allowed. */
interface Early {
  send(place: Place): void;
  fail(error: Error): void;
}

interface Answer {
  resolve(outcome: PutOutcome): void;
  reject(error: Error): void;
}

const OUTCOMES: ReadonlyMap<number, PutOutcome> = new Map([
  [kinds.ACCEPTED, "accepted"],
  [kinds.FULL, "full"],
  [kinds.WITHDRAWN, "withdrawn"],
  [kinds.REFUSED, "refused"],
]);
const SETTLED: Promise<void> = Promise.resolve();

/** A process's side of a queue whose items are with the home. */
export class HomeSide {
  readonly #owner: HomeOwner;
  readonly #intake: Intake = new Intake((report, atOnce) => this.#report(report, atOnce));
  /** Where reports go. */
  #channel: Channel | undefined;
  /** The same, once it may be put on. */
  #outlet: Channel | undefined;
  readonly #early = new Set<Early>();
  #isShutDown = false;
  /** Whether the queue is shut down and will never have an item again. */
  #isOver = false;
  /** Settles when what has been put in this turn has left. */
  #leaving: Promise<void> | undefined;
  #puts = 0;
  readonly #answers = new Map<number, Answer>();
  #probe = 0;
  readonly #probes = new Map<number, () => void>();

  constructor(owner: HomeOwner) {
    this.#owner = owner;
  }

  /** How many here wait for the home. */
  get waiting(): number {
    return this.#intake.waiting + this.#early.size + this.#answers.size;
  }

  /** Whether something that was put is not on its way yet. */
  get isBehind(): boolean {
    return this.#early.size > 0;
  }

  /** The home has been reached. */
  open(channel: Channel): void {
    this.#channel = channel;
  }

  put(call: string, item: unknown, options: BlockOptions): Promise<void> {
    const channel = this.#outlet;
    if (channel === undefined) return this.#putEarly(call, item, encodeMessage(item, "item"), options);
    if (this.#isShutDown) throw new QueueShutDownError(call);
    channel.send(this.#putKind(options), item, "item");
    return this.#owner.maxSize === 0 ? this.#left(channel) : this.#answered(call, channel, item, options);
  }

  /** Puts an item that was encoded at the call; it has its place in the order when this returns. */
  async putEncoded(call: string, item: unknown, message: EncodedMessage, options: BlockOptions): Promise<void> {
    const channel = this.#outlet;
    if (channel === undefined) return this.#putEarly(call, item, message, options);
    if (this.#isShutDown) throw new QueueShutDownError(call);
    channel.forward(this.#putKind(options), message.frame);
    message.commit(undefined);
    return this.#owner.maxSize === 0 ? this.#left(channel) : this.#answered(call, channel, item, options);
  }

  /** Puts elsewhere what was put before it was known where to. */
  sendEarly(place: Place): void {
    const early = [...this.#early];
    this.#early.clear();
    for (const { send } of early) send(place);
  }

  /** Settles when what was put before it was known where to is on its way. */
  async sentEarly(): Promise<void> {
    if (this.#early.size > 0)
      await new Promise<void>((resolve) => this.#early.add({ send: () => resolve(), fail: () => resolve() }));
  }

  /** The next item, if it has come already. */
  take(): Frame | undefined {
    return this.#intake.take();
  }

  async get(call: string, channel: Channel, options: BlockOptions): Promise<Frame> {
    if (this.#isOver) throw new QueueShutDownError(call);
    const found = this.#intake.take();
    if (found !== undefined) return found;
    let waiter!: Waiter;
    const promise = new Promise<Frame>((give, end) => {
      waiter = { give, end };
    });
    this.#intake.wait(waiter);
    channel.ref();
    try {
      if (isNow(options)) await this.#probed(channel, promise);
      else if ((await within(promise, call, options)) !== TIMED_OUT) return await promise;
    } catch (error) {
      if (!this.#intake.withdraw(waiter)) return await promise;
      throw error;
    } finally {
      this.#owner.rest();
    }
    // Given in the same turn in which the wait ended: the item is here, and the call has succeeded.
    if (!this.#intake.withdraw(waiter)) return await promise;
    throw this.#isOver ? new QueueShutDownError(call) : new QueueEmptyError(call);
  }

  /** Reports what was taken and has not been reported; with `atOnce`, the system has it when this returns. */
  report(atOnce: boolean): void {
    this.#intake.report(atOnce);
  }

  /** Hears what the home says of items. */
  hear(channel: Channel, frame: Frame): void {
    switch (frame.kind) {
      case kinds.ITEM:
        return this.#intake.push(frame);
      case kinds.RECALL:
        return this.#intake.recall();
      case kinds.RETURNED:
        return this.#intake.returned();
      case kinds.PROBED:
        return this.#probes.get(channel.decode(frame) as number)?.();
      case kinds.PRODUCING:
        if (channel.decode(frame) === true) this.#shutDown();
        return this.#ready(channel);
      case kinds.SHUT_DOWN:
        this.#shutDown();
        return void channel.send(kinds.HEARD, null);
      case kinds.OVER:
        this.#isOver = true;
        return this.#intake.end(new QueueShutDownError("get()"));
    }
    const outcome = OUTCOMES.get(frame.kind);
    if (outcome === undefined) return;
    const id = channel.decode(frame) as number;
    this.#answers.get(id)?.resolve(outcome);
    this.#answers.delete(id);
  }

  /** Nothing will be heard any more. */
  end(error: Error): void {
    this.#channel = undefined;
    this.#failEarly(error);
    this.#intake.end(error);
    for (const { reject } of this.#answers.values()) reject(error);
    this.#answers.clear();
  }

  /** Puts what was encoded at the call, as soon as there is a way. */
  async #putEarly(call: string, item: unknown, message: EncodedMessage, options: BlockOptions): Promise<void> {
    let early!: Early;
    const began = performance.now();
    const sent = new Promise<{ over: Promise<void> }>((resolve, fail) => {
      early = {
        send: (place) => resolve({ over: place(call, item, message, remaining(options, began)) }),
        fail: (error) => fail(error instanceof QueueShutDownError ? new QueueShutDownError(call) : error),
      };
    });
    this.#early.add(early);
    if (this.#early.size === 1) this.#getReady(call);
    let result: { over: Promise<void> } | typeof TIMED_OUT;
    try {
      result = await within(sent, call, options);
    } catch (error) {
      // Sent in the same turn in which the wait ended: from there on its answer tells.
      if (this.#early.delete(early)) throw error;
      result = await sent;
    } finally {
      this.#owner.rest();
    }
    if (result !== TIMED_OUT) return result.over;
    if (!this.#early.delete(early)) return (await sent).over;
    throw new QueueFullError(call, this.#owner.maxSize, item);
  }

  /** Opens the way for those who put. */
  #getReady(call: string): void {
    const opening = this.#channel === undefined ? this.#owner.reach(call) : Promise.resolve(this.#channel);
    opening.then(
      (channel) => {
        // Those for the ring are in it by now.
        if (this.#early.size === 0) return;
        channel.ref();
        if (this.#owner.maxSize > 0) this.#ready(channel);
        else if (!channel.closed) channel.send(kinds.PRODUCE, null);
      },
      (error) => this.#failEarly(error),
    );
  }

  #ready(channel: Channel): void {
    this.#outlet = channel;
    this.sendEarly((call, item, message, options) => this.putEncoded(call, item, message, options));
  }

  #failEarly(error: Error): void {
    for (const early of this.#early) early.fail(error);
    this.#early.clear();
  }

  #putKind(options: BlockOptions): number {
    return this.#owner.maxSize > 0 && isNow(options) ? kinds.PUT_NOW : kinds.PUT;
  }

  /** Settles when the system has what has been put; all that is put in one turn leaves together. */
  #left(channel: Channel): Promise<void> {
    if (this.#leaving === undefined) {
      this.#leaving = SETTLED.then(async () => {
        this.#leaving = undefined;
        await channel.flushed();
        if (channel.closed && !this.#owner.isClosed) throw homeGone(this.#owner.home);
      });
      leaving.wait(this.#leaving);
    }
    return this.#leaving;
  }

  /** Settles when the home has answered the put that was just sent. */
  async #answered(call: string, channel: Channel, item: unknown, options: BlockOptions): Promise<void> {
    const id = ++this.#puts;
    channel.ref();
    const outcome = new Promise<PutOutcome>((resolve, reject) => this.#answers.set(id, { resolve, reject }));
    leaving.wait(outcome);
    const answer = await this.#answerWithin(call, outcome, id, channel, isNow(options) ? {} : options);
    this.#owner.rest();
    if (answer === "refused") throw new QueueShutDownError(call);
    if (answer !== "accepted") throw new QueueFullError(call, this.#owner.maxSize, item);
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
  async #probed(channel: Channel, item: Promise<unknown>): Promise<void> {
    this.#intake.report(false);
    const id = ++this.#probe;
    const probed = new Promise<void>((resolve) => this.#probes.set(id, resolve));
    channel.send(kinds.PROBE, id);
    await Promise.race([item, probed]);
    this.#probes.delete(id);
  }

  #shutDown(): void {
    this.#isShutDown = true;
    this.#failEarly(new QueueShutDownError("put()"));
  }

  #report(report: kinds.Report, atOnce: boolean): void {
    const channel = this.#channel;
    if (channel === undefined || channel.closed) return;
    channel.send(kinds.REPORT, report);
    if (atOnce) channel.flush();
  }
}
