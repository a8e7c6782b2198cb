/** A queue whose home is another process: the way to it, and where the items are. See `protocol.ts`. */
import { CapabilityError } from "@multiproc/core";
import {
  type Channel,
  dial,
  encodeMessage,
  type Frame,
  flushNow,
  host,
  type Invitation,
  isGone,
  Memory,
  type MemoryAddress,
  missingMemory,
  openChannels,
  singleton,
  TIMED_OUT,
  type WaitOptions,
  within,
} from "@multiproc/core/internal";
import { type BlockOptions, isPatient, type Link, type QueueForm, remaining } from "./backend.ts";
import { HomeSide } from "./broker/broker-client.ts";
import type { Question } from "./broker/protocol.ts";
import * as kinds from "./broker/protocol.ts";
import { closedHere, homeGone, QueueEmptyError } from "./errors.ts";
import { type BlockSyncOptions, elsewhere, putSync, type RingPlace, takeSync } from "./ring/blocking.ts";
import { Ring } from "./ring/mpmc-ring.ts";
import { RingSide } from "./ring/ring-client.ts";

interface Waiting {
  resolve(value: unknown): void;
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

/** The number of the question that is not asked: what the home says first. */
const WELCOME = 0;

/** A queue's link in a process that is not its home. */
export class RemoteLink implements Link {
  readonly maxSize: number;
  readonly home: number;
  readonly #address: QueueAddress;
  #opening: Promise<Channel> | undefined;
  /** The channel, once it is open. */
  #channel: Channel | undefined;
  /** What is done while the items are with the home. */
  readonly #homeSide: HomeSide;
  /** What is done while they are in a ring. */
  #ring: RingSide | undefined;
  /** The same memory, opened by a call that blocks before the channel was there. */
  #ringAhead: Ring | undefined;
  #isRingLeft = false;
  #ringWaits = 0;
  /** Why the queue can be used no longer. */
  #over: Error | undefined;
  #isClosed = false;
  #number = 0;
  readonly #questions = new Map<number, Waiting>();

  constructor(address: QueueAddress) {
    this.#address = address;
    this.maxSize = address.maxSize;
    this.home = address.home;
    this.#homeSide = new HomeSide(this);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  put(call: string, item: unknown, options: BlockOptions): Promise<void> {
    if (this.#over !== undefined) throw this.#over;
    const ring = this.#ringInUse;
    if (ring === undefined) return this.#homeSide.put(call, item, options);
    const message = encodeMessage(item, "item");
    return this.maxSize === 0 && isPatient(options) ? ring.putSoon(message) : ring.put(call, item, message, options);
  }

  take(): Frame | undefined {
    if (this.#over !== undefined) throw this.#over;
    return this.#ring?.isOpen === true ? this.#ring.take() : this.#homeSide.take();
  }

  async get(call: string, options: BlockOptions): Promise<Frame> {
    const channel = this.#channel ?? (await this.#open(call, options));
    if (channel === TIMED_OUT) throw new QueueEmptyError(call);
    const began = performance.now();
    if (this.#ring?.isOpen === true) {
      const frame = await this.#ring.get(call, options);
      if (frame !== "moved") return frame;
    }
    if (this.#over !== undefined) throw this.#over;
    return this.#homeSide.get(call, channel, remaining(options, began));
  }

  getSync(name: string, options: BlockSyncOptions): Frame {
    return takeSync(this.#ringNow(name), { name, options, assertUsable: (isSlow) => this.#assertUsable(name, isSlow) });
  }

  putSync(name: string, item: unknown, options: BlockSyncOptions): void {
    const { frame, commit } = encodeMessage(item, "item");
    const ring = this.#ringNow(name);
    if (this.#homeSide.isBehind || this.#ringInUse?.isBehind === true)
      throw new CapabilityError(`${name} would overtake items that were put before: await those puts first`);
    const assertUsable = (isSlow: boolean): void => this.#assertUsable(name, isSlow);
    if (ring.isLarge(frame) && !ring.isEnlarged) this.#enlargeNow(name);
    putSync(ring, frame, item, this.maxSize, { name, options, assertUsable });
    commit(undefined);
  }

  get ringPlace(): RingPlace | undefined {
    return this.#address.ring;
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
    this.#homeSide.report(false);
    const id = ++this.#number;
    const answer = this.#answer(id, channel);
    channel.send(kinds.ASK, [id, question, argument]);
    try {
      return await within(answer, call, options);
    } finally {
      this.#questions.delete(id);
      this.rest();
    }
  }

  async form(): Promise<QueueForm> {
    if (this.#channel === undefined) await this.reach("form()");
    if (this.#over !== undefined) throw this.#over;
    return this.#ring?.isOpen === true ? "memory" : "home";
  }

  async flush(): Promise<void> {
    await this.#homeSide.sentEarly();
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
      this.#homeSide.report(false);
      channel.end();
    }
    this.#end(closedHere());
  }

  /** The channel, as soon as it is open. */
  reach(call: string): Promise<Channel> {
    return this.#open(call, {}) as Promise<Channel>;
  }

  /** The program need not stay alive for a channel on which nobody waits. */
  rest(): void {
    if (this.#homeSide.waiting + this.#ringWaits + this.#questions.size === 0) this.#channel?.unref();
  }

  /** Those that were put into the ring before and have no place yet come first, also when it is closed. */
  get #ringInUse(): RingSide | undefined {
    return this.#ring?.isInUse === true ? this.#ring : undefined;
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
    const welcome = this.#answer(WELCOME, channel);
    channel.start({ message: (frame) => this.#hear(channel, frame), closed: (reason) => this.#lost(reason) });
    const address = (await welcome) as MemoryAddress | null;
    this.#questions.delete(WELCOME);
    this.#channel = channel;
    this.#homeSide.open(channel);
    if (address !== null) this.#enterRing(channel, address);
    const ring = this.#ringInUse;
    // Before anybody else can put.
    if (ring !== undefined)
      this.#homeSide.sendEarly((call, item, message, options) => ring.put(call, item, message, options));
    this.#keepReports(channel);
    this.rest();
    return channel;
  }

  #enterRing(channel: Channel, address: MemoryAddress): void {
    const leaveRing = (): void => {
      if (!this.#isRingLeft && !channel.closed) channel.send(kinds.CLOSE_RING, null);
      this.#isRingLeft = true;
    };
    try {
      this.#ring = new RingSide(Ring.of(Memory.attach(address)), {
        maxSize: this.maxSize,
        assertUsable: () => {
          if (this.#over !== undefined) throw this.#over;
        },
        leaveRing,
        enlarge: () => {
          if (!channel.closed) channel.send(kinds.ENLARGE, null);
        },
        moved: (call, item, message, options) => this.#homeSide.putEncoded(call, item, message, options),
        waiting: (change) => {
          this.#ringWaits += change;
          if (this.#ringWaits === 0) this.rest();
          else channel.ref();
        },
      });
    } catch {
      leaveRing(); // this process may not, or cannot, map memory
    }
  }

  #hear(channel: Channel, frame: Frame): void {
    switch (frame.kind) {
      case kinds.WELCOME:
        return this.#questions.get(WELCOME)?.resolve(channel.decode(frame));
      case kinds.ANSWER: {
        const [id, answer] = channel.decode(frame) as [number, unknown];
        return this.#questions.get(id)?.resolve(answer);
      }
      case kinds.FAILED: {
        const [id, error] = channel.decode(frame) as [number, Error];
        return this.#questions.get(id)?.reject(error);
      }
      default:
        return this.#homeSide.hear(channel, frame);
    }
  }

  #answer(id: number, channel: Channel): Promise<unknown> {
    channel.ref();
    return new Promise((resolve, reject) => this.#questions.set(id, { resolve, reject }));
  }

  /** What was taken is reported before this process ends. */
  #keepReports(channel: Channel): void {
    const flush = (): void => {
      this.#ring?.flush();
      this.#homeSide.report(true);
    };
    const flushed = (): Promise<void> => {
      flush();
      return channel.flushed();
    };
    const reports = { flush, flushed };
    openChannels.add(reports);
    channel.onEnd(() => openChannels.delete(reports));
    singleton("reports at exit", () => host.onExit(flushNow));
  }

  #lost(cause: Error | undefined): void {
    this.#end(this.#isClosed ? closedHere() : homeGone(this.home, cause));
  }

  #end(error: Error): void {
    this.#over = error;
    this.#ring?.ring.getters.lookSoon();
    this.#ring?.ring.putters.lookSoon();
    this.#homeSide.end(error);
    for (const { reject } of this.#questions.values()) reject(error);
    this.#questions.clear();
  }
}
