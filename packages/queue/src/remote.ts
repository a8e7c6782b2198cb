/** A queue whose home is another process; see `protocol.ts`. */
import { CapabilityError } from "@multiproc/core";
import {
  type Channel,
  dial,
  type EncodedMessage,
  encodeMessage,
  type Frame,
  flushNow,
  host,
  type Invitation,
  isGone,
  leaving,
  Memory,
  type MemoryAddress,
  missingMemory,
  openChannels,
  singleton,
  TIMED_OUT,
  type WaitOptions,
  within,
} from "@multiproc/core/internal";
import { closedHere, homeGone, QueueEmptyError, QueueFullError, QueueShutDownError } from "./errors.ts";
import { Intake, type Waiter } from "./intake.ts";
import { type BlockOptions, isNow, isPatient, type Link, type QueueForm, remaining } from "./link.ts";
import type { Question } from "./protocol.ts";
import * as kinds from "./protocol.ts";
import { Ring } from "./ring.ts";
import { RingSide } from "./ring-side.ts";
import { type BlockSyncOptions, elsewhere, putSync, type RingPlace, takeSync } from "./ring-sync.ts";

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
  /** Where they are while they are in memory, for calls that cannot wait to be told. */
  readonly ring?: RingPlace | undefined;
}

/** A put that waits for the channel. */
interface Early {
  send(channel: Channel): void;
  fail(error: Error): void;
}

/** The number of the question that is not asked: what the home says first. */
const WELCOME = 0;
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
  /** Where the items are while they are in a ring. */
  #ring: RingSide | undefined;
  /** The same memory, opened by a call that blocks before the channel was there. */
  #ringAhead: Ring | undefined;
  #isRingLeft = false;
  #ringWaits = 0;
  /** Why the queue can be used no longer. */
  #over: Error | undefined;
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

  put(call: string, item: unknown, options: BlockOptions): Promise<void> {
    if (this.#over !== undefined) throw this.#over;
    const ring = this.#ringInUse;
    if (ring !== undefined) {
      const message = encodeMessage(item, "item");
      if (this.maxSize === 0 && isPatient(options)) return ring.putSoon(message);
      return this.#putInRing(ring, call, item, message, options);
    }
    const channel = this.#outlet;
    if (channel === undefined) return this.#putEarly(call, item, encodeMessage(item, "item"), options);
    if (this.#isShutDown) throw new QueueShutDownError(call);
    channel.send(this.#putKind(options), item, "item");
    return this.maxSize === 0 ? this.#left(channel) : this.#answered(call, channel, item, options);
  }

  take(): Frame | undefined {
    if (this.#over !== undefined) throw this.#over;
    return this.#ring?.isOpen === true ? this.#ring.take() : this.#intake.take();
  }

  async get(call: string, options: BlockOptions): Promise<Frame> {
    const channel = this.#channel ?? (await this.#open(call, options));
    if (channel === TIMED_OUT) throw new QueueEmptyError(call);
    const began = performance.now();
    if (this.#ring?.isOpen === true) {
      const frame = await this.#ring.get(call, options);
      if (frame !== "moved") return frame;
    }
    return this.#getFromHome(call, channel, remaining(options, began));
  }

  getSync(name: string, options: BlockSyncOptions): Frame {
    return takeSync(this.#ringNow(name), { name, options, assertUsable: (isSlow) => this.#assertUsable(name, isSlow) });
  }

  putSync(name: string, item: unknown, options: BlockSyncOptions): void {
    const { frame, commit } = encodeMessage(item, "item");
    const ring = this.#ringNow(name);
    if (this.#early.size > 0 || this.#ringInUse?.isBehind === true)
      throw new CapabilityError(`${name} would overtake items that were put before: await those puts first`);
    const assertUsable = (isSlow: boolean): void => this.#assertUsable(name, isSlow);
    if (ring.isLarge(frame) && !ring.isEnlarged) this.#enlargeNow(name);
    putSync(ring, frame, item, this.maxSize, { name, options, assertUsable });
    commit(undefined);
  }

  get ringPlace(): RingPlace | undefined {
    return this.#address.ring;
  }

  /** The ring, also before the home has been reached. */
  #ringNow(name: string): Ring {
    if (this.#over !== undefined) throw this.#over;
    this.#ring?.flush();
    if (this.#ring !== undefined) return this.#ring.ring;
    const place = this.#address.ring;
    if (place === undefined || this.#channel !== undefined || missingMemory() !== undefined) throw elsewhere(name);
    try {
      this.#ringAhead ??= Ring.of(Memory.attach(place.memory));
    } catch (cause) {
      throw homeGone(this.home, cause);
    }
    return this.#ringAhead;
  }

  #assertUsable(name: string, isSlow: boolean): void {
    if (this.#over !== undefined) throw this.#over;
    // Its channel cannot be heard while the thread blocks.
    if (isSlow && this.#address.ring !== undefined && isGone(this.#address.ring.home)) throw homeGone(this.home, name);
  }

  /** Asks the home for a place for large items, without waiting for it. */
  #enlargeNow(name: string): void {
    if (this.#channel === undefined)
      throw new CapabilityError(
        `${name} cannot put an item with large parts before the queue was reached: await queue.form() once before`,
      );
    this.#channel.send(kinds.ENLARGE, null);
    this.#channel.flush();
  }

  /** Those that were put into the ring before and have no place yet come first, also when it is closed. */
  get #ringInUse(): RingSide | undefined {
    return this.#ring?.isInUse === true ? this.#ring : undefined;
  }

  async ask(call: string, question: Question, argument: unknown, options: WaitOptions): Promise<unknown> {
    this.#ring?.flush();
    const channel = this.#channel ?? (await this.#open(call, options));
    if (channel === TIMED_OUT) return TIMED_OUT;
    if (this.#over !== undefined) throw this.#over;
    if (this.#ring?.isOpen === true) {
      const { ring } = this.#ring;
      if (question === "size") return ring.size;
      if (question === "full") return ring.isFull;
      if (question === "shutdown" && ring.shutDown(argument === true)) return;
    }
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

  async form(): Promise<QueueForm> {
    if (this.#channel === undefined) await this.#open("form()", {});
    if (this.#over !== undefined) throw this.#over;
    return this.#ring?.isOpen === true ? "memory" : "home";
  }

  async flush(): Promise<void> {
    if (this.#early.size > 0)
      await new Promise<void>((resolve) => this.#early.add({ send: () => resolve(), fail: () => resolve() }));
    await this.#ring?.flushed();
    await this.#channel?.flushed();
  }

  handedOn(): void {}

  invitation(): Invitation {
    return this.#address.invitation;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#ring?.flush();
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
    const welcome = this.#waitFor(this.#questions, WELCOME, channel);
    channel.start({ message: (frame) => this.#take(channel, frame), closed: (reason) => this.#lost(reason) });
    const address = (await welcome) as MemoryAddress | null;
    this.#questions.delete(WELCOME);
    this.#channel = channel;
    if (address !== null) this.#enterRing(channel, address);
    if (this.#ringInUse !== undefined) this.#sendEarly(channel); // before anybody else can put
    this.#keepReports(channel);
    this.#rest();
    return channel;
  }

  #enterRing(channel: Channel, address: MemoryAddress): void {
    const leaveRing = (): void => {
      if (!this.#isRingLeft && !channel.closed) channel.send(kinds.CLOSE_RING, null);
      this.#isRingLeft = true;
    };
    try {
      this.#ring = new RingSide(Ring.of(Memory.attach(address)), {
        assertUsable: () => {
          if (this.#over !== undefined) throw this.#over;
        },
        leaveRing,
        enlarge: () => {
          if (!channel.closed) channel.send(kinds.ENLARGE, null);
        },
        moved: (messages) => this.#putMoved(messages),
        waiting: (change) => {
          this.#ringWaits += change;
          if (this.#ringWaits === 0) this.#rest();
          else channel.ref();
        },
      });
    } catch {
      leaveRing(); // this process may not, or cannot, map memory
    }
  }

  async #putInRing(
    side: RingSide,
    call: string,
    item: unknown,
    encoded: EncodedMessage,
    options: BlockOptions,
  ): Promise<void> {
    const began = performance.now();
    const result = side.put(call, encoded.frame, options);
    const placed = typeof result === "string" ? result : await result;
    if (placed === "full") throw new QueueFullError(call, this.maxSize, item);
    if (placed === "accepted") return encoded.commit(undefined);
    return this.#putAtHome(call, item, encoded, remaining(options, began));
  }

  async #putMoved(messages: readonly EncodedMessage[]): Promise<void> {
    await Promise.all(messages.map((message) => this.#putAtHome("put()", undefined, message, {})));
  }

  async #putAtHome(call: string, item: unknown, encoded: EncodedMessage, options: BlockOptions): Promise<void> {
    if (this.#outlet === undefined) return this.#putEarly(call, item, encoded, options);
    if (this.#isShutDown) throw new QueueShutDownError(call);
    return this.#forward(this.#outlet, call, item, encoded, options);
  }

  async #getFromHome(call: string, channel: Channel, options: BlockOptions): Promise<Frame> {
    if (this.#over !== undefined) throw this.#over;
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

  /** Puts what was encoded at the call, as soon as there is a way. */
  async #putEarly(call: string, item: unknown, encoded: EncodedMessage, options: BlockOptions): Promise<void> {
    let early!: Early;
    const began = performance.now();
    const sent = new Promise<{ over: Promise<void> }>((resolve, fail) => {
      const send = (channel: Channel): void => {
        const left = remaining(options, began);
        const ring = this.#ringInUse;
        const over =
          ring !== undefined
            ? this.#putInRing(ring, call, item, encoded, left)
            : this.#forward(channel, call, item, encoded, left);
        resolve({ over });
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

  #forward(
    channel: Channel,
    call: string,
    item: unknown,
    { frame, commit }: EncodedMessage,
    options: BlockOptions,
  ): Promise<void> {
    channel.forward(this.#putKind(options), frame);
    commit(undefined);
    return this.maxSize === 0 ? this.#left(channel) : this.#answered(call, channel, item, options);
  }

  /** Opens the way for those who put. */
  #getReady(call: string): void {
    const opening = this.#channel === undefined ? this.#open(call, {}) : Promise.resolve(this.#channel);
    opening.then(
      (channel) => {
        // Those for the ring are in it by now.
        if (channel === TIMED_OUT || this.#early.size === 0) return;
        channel.ref();
        if (this.maxSize > 0) this.#ready(channel);
        else if (!channel.closed) channel.send(kinds.PRODUCE, null);
      },
      (error) => this.#failEarly(error),
    );
  }

  #ready(channel: Channel): void {
    this.#outlet = channel;
    this.#sendEarly(channel);
  }

  #sendEarly(channel: Channel): void {
    const early = [...this.#early];
    this.#early.clear();
    for (const { send } of early) send(channel);
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
      case kinds.WELCOME:
        return this.#questions.get(WELCOME)?.resolve(channel.decode(frame));
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
        this.#ring?.flush();
        this.#intake.report(true);
      },
      flushed: () => {
        this.#ring?.flush();
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
    const { waiting } = this.#intake;
    if (waiting + this.#ringWaits + this.#early.size + this.#putters.size + this.#questions.size === 0)
      this.#channel?.unref();
  }

  #lost(cause: Error | undefined): void {
    this.#end(this.#isClosed ? closedHere() : homeGone(this.home, cause));
  }

  #end(error: Error): void {
    this.#over = error;
    this.#ring?.ring.getters.lookSoon();
    this.#ring?.ring.putters.lookSoon();
    this.#failEarly(error);
    this.#intake.end(error);
    for (const waiters of [this.#putters, this.#questions]) {
      for (const { reject } of waiters.values()) reject(error);
      waiters.clear();
    }
  }
}
