/** A queue in the process that made it: what the calls that are made here do. What others ask of it is in `household.ts`. */
import {
  type Carrier,
  type EncodedMessage,
  encodeMessage,
  Frame,
  host,
  type Invitation,
  invite,
  missingMemory,
  ownLife,
  Stay,
  TIMED_OUT,
  type WaitOptions,
  within,
} from "@multiproc/core/internal";
import { type BlockOptions, isNow, isPatient, type Link, type QueueForm, remaining } from "./backend.ts";
import type { Getter, Putter } from "./broker/broker.ts";
import { Household } from "./broker/broker-server.ts";
import type { Question } from "./broker/protocol.ts";
import type { Joiner, LostTasks } from "./broker/unfinished-tasks.ts";
import { closedHere, QueueEmptyError, QueueFullError, QueueShutDownError } from "./errors.ts";
import { type BlockSyncOptions, elsewhere, putSync, type RingPlace, takeSync } from "./ring/blocking.ts";
import { Ring } from "./ring/mpmc-ring.ts";
import { RingSide } from "./ring/ring-client.ts";

/** The link to a queue in its home. */
export class HomeLink implements Link {
  readonly home: number = host.pid;
  readonly maxSize: number;
  readonly #household: Household;
  #invitation: Invitation | undefined;
  /** Where the items are while they are in a ring. */
  #ring: RingSide | undefined;
  #isClosed = false;
  #waits = 0;
  /** How many that live were handed the queue, whether they have come yet or not. */
  #bearers = 0;
  readonly #stay = new Stay();
  /** Those who wait here, by what ends their wait when the queue is closed. */
  readonly #waiting = new Set<(error: Error) => void>();

  /** @param lostTasks what becomes of lost tasks, if the items are tasks */
  constructor(maxSize: number, lostTasks?: LostTasks) {
    if (!Number.isInteger(maxSize) || maxSize < 0)
      throw new RangeError(`Queue takes a maximum size of 0 or more items, not ${String(maxSize)}`);
    this.maxSize = maxSize;
    this.#household = new Household(maxSize, lostTasks);
  }

  put(call: string, item: unknown, options: BlockOptions): Promise<void> {
    const message = encodeMessage(item, "item");
    // Those that were put before and have no place yet come first.
    const ring = this.#ring?.isInUse === true ? this.#ring : undefined;
    if (ring === undefined) return this.#putHere(call, item, message, options);
    return this.maxSize === 0 && isPatient(options) ? ring.putSoon(message) : ring.put(call, item, message, options);
  }

  take(): Frame | undefined {
    if (this.#ring?.isOpen === true) return this.#ring.take();
    this.#household.isSole(this);
    const item = this.#household.broker.tryLend();
    if (item === undefined) return undefined;
    this.#household.tookOne();
    return item.frame;
  }

  async get(call: string, options: BlockOptions): Promise<Frame> {
    return this.#ring?.isOpen === true ? this.#getFromRing(call, options) : this.#getHere(call, options);
  }

  getSync(name: string, options: BlockSyncOptions): Frame {
    const side = this.#ring?.isOpen === true ? this.#ring : undefined;
    side?.flush();
    // Who wants to put something large asks this thread for a place, which hears nothing while it blocks.
    if (!isNow(options)) this.#household.enlargeRing();
    if (side !== undefined) return takeSync(side.ring, { name, options, assertUsable: () => {} });
    const frame = this.take();
    if (frame !== undefined) return frame;
    if (this.#household.broker.isOver) throw new QueueShutDownError(name);
    // Only this thread could put what it would wait for, or hear of it.
    throw isNow(options) ? new QueueEmptyError(name) : elsewhere(name);
  }

  putSync(name: string, item: unknown, options: BlockSyncOptions): void {
    const { frame, commit } = encodeMessage(item, "item");
    const side = this.#ring?.isInUse === true ? this.#ring : undefined;
    side?.flush();
    if (side?.isOpen === true) {
      if (side.ring.isLarge(frame)) this.#household.enlargeRing();
      putSync(side.ring, frame, item, this.maxSize, { name, options, assertUsable: () => {} });
    } else if (this.#household.broker.isShutDown) throw new QueueShutDownError(name);
    else if (side !== undefined || !this.#household.broker.tryPut(own(frame)))
      throw isNow(options) ? new QueueFullError(name, this.maxSize, item) : elsewhere(name);
    commit(undefined);
  }

  get ringPlace(): RingPlace | undefined {
    return this.#ring?.isOpen === true ? { memory: this.#ring.ring.memory.address(), home: ownLife().id } : undefined;
  }

  async ask(call: string, question: Question, argument: unknown, options: WaitOptions): Promise<unknown> {
    this.#ring?.flush();
    const ring = this.#ring?.isOpen === true ? this.#ring.ring : undefined;
    if (question === "size" && ring !== undefined) return ring.size;
    if (question === "full" && ring !== undefined) return ring.isFull;
    if (question === "shutdown") {
      if (ring?.shutDown(argument === true) === true) return;
      return this.#household.shutDown(argument === true);
    }
    if (question !== "join") return this.#household.tell(question);
    let joiner!: Joiner;
    const joined = new Promise<void>((done, lost) => {
      joiner = { done, lost };
    });
    this.#household.tasks.join(joiner);
    try {
      return await this.#wait(call, joined, options);
    } finally {
      this.#household.tasks.withdraw(joiner);
    }
  }

  async flush(): Promise<void> {
    await this.#ring?.flushed();
  }

  invitation(): Invitation {
    if (this.#invitation === undefined) {
      this.#invitation = invite((channel, pid) => this.#household.accept(channel, pid), { many: true });
      this.#openRing();
    }
    return this.#invitation;
  }

  async form(): Promise<QueueForm> {
    return this.#ring?.isOpen === true ? "memory" : "home";
  }

  /** Others go on using the queue. */
  close(): void {
    this.#isClosed = true;
    for (const end of [...this.#waiting]) end(closedHere());
    this.#ring?.flush();
    this.#ring?.ring.getters.lookSoon();
    this.#ring?.ring.putters.lookSoon();
  }

  async #getFromRing(call: string, options: BlockOptions): Promise<Frame> {
    const began = performance.now();
    const frame = await (this.#ring as RingSide).get(call, options);
    return frame === "moved" ? this.#getHere(call, remaining(options, began)) : frame;
  }

  async #getHere(call: string, options: BlockOptions): Promise<Frame> {
    if (isNow(options)) return this.#getNow(call);
    let getter!: Getter;
    const began = performance.now();
    const promise = new Promise<Frame>((resolve, reject) => {
      getter = {
        give: ({ frame }) => {
          this.#household.tookOne();
          resolve(frame);
        },
        end: () => reject(new QueueShutDownError(call)),
        moved: () => resolve(this.#getFromRing(call, remaining(options, began))),
      };
    });
    this.#household.broker.get(getter);
    try {
      const frame = await this.#wait(call, promise, options);
      if (frame !== TIMED_OUT) return frame;
    } catch (error) {
      // Given in the same turn in which the wait ended: the item is here, and the call has succeeded.
      if (error instanceof QueueShutDownError || this.#household.broker.withdrawGet(getter)) throw error;
      return await promise;
    }
    if (!this.#household.broker.withdrawGet(getter)) return await promise;
    throw new QueueEmptyError(call);
  }

  async #getNow(call: string): Promise<Frame> {
    // What others hold is in the queue as well.
    this.#household.recall();
    await this.#household.recalled();
    const frame = this.take();
    if (frame !== undefined) return frame;
    throw this.#household.broker.isOver ? new QueueShutDownError(call) : new QueueEmptyError(call);
  }

  /** Puts an item into the broker. */
  async #putHere(call: string, item: unknown, message: EncodedMessage, options: BlockOptions): Promise<void> {
    const { broker } = this.#household;
    if (broker.isShutDown) throw new QueueShutDownError(call);
    const frame = own(message.frame);
    if (broker.tryPut(frame)) return message.commit(undefined);
    if (isNow(options)) throw new QueueFullError(call, this.maxSize, item);
    let putter!: Putter;
    const began = performance.now();
    const promise = new Promise<void>((resolve, reject) => {
      putter = {
        frame,
        accepted: () => resolve(message.commit(undefined)),
        refused: () => reject(new QueueShutDownError(call)),
        moved: () => {
          const { commit } = message;
          resolve((this.#ring as RingSide).put(call, item, { frame, commit }, remaining(options, began)));
        },
      };
    });
    broker.put(putter);
    try {
      if ((await this.#wait(call, promise, options)) !== TIMED_OUT) return;
    } catch (error) {
      // Accepted in the same turn in which the wait ended: the item is in the queue, and the call has succeeded.
      if (error instanceof QueueShutDownError || broker.withdrawPut(putter)) throw error;
      return await promise;
    }
    if (!broker.withdrawPut(putter)) return await promise;
    throw new QueueFullError(call, this.maxSize, item);
  }

  /** Waits for what others do. */
  async #wait<T>(call: string, promise: Promise<T>, options: WaitOptions): Promise<T | typeof TIMED_OUT> {
    let end!: (error: Error) => void;
    const ended = new Promise<never>((_, reject) => {
      end = reject;
    });
    this.#waiting.add(end);
    this.#keepAlive(1);
    try {
      return await within(Promise.race([promise, ended]), call, options);
    } finally {
      this.#waiting.delete(end);
      this.#keepAlive(-1);
    }
  }

  /** While somebody here waits, those who may end the wait keep the program alive. */
  #keepAlive(change: 1 | -1): void {
    this.#waits += change;
    if (this.#waits === (change === 1 ? 1 : 0)) this.#household.keepAlive(change === 1);
    this.#stayForBearers();
  }

  handedOn(carrier: Carrier | undefined): void {
    if (carrier === undefined) return;
    this.#bearers += 1;
    carrier.onEnd(() => {
      this.#bearers -= 1;
      this.#stayForBearers();
    });
    this.#stayForBearers();
  }

  /** A daemonic child that has not come yet has nothing else that would keep the program alive. */
  #stayForBearers(): void {
    this.#stay.isNeeded = this.#waits > 0 && this.#bearers > 0;
  }

  /** Moves the items into a ring, before the first guest comes: where there is one, and if they fit. */
  #openRing(): void {
    const household = this.#household;
    if (household.isJoinable || household.broker.isShutDown || missingMemory() !== undefined) return;
    let ring: Ring;
    try {
      ring = Ring.create(this.maxSize);
    } catch {
      return; // the system has no memory left for it
    }
    household.ring = ring;
    this.#ring = new RingSide(ring, {
      maxSize: this.maxSize,
      assertUsable: () => {
        if (this.#isClosed) throw closedHere();
      },
      leaveRing: () => household.closeRing(),
      enlarge: () => household.enlargeRing(),
      moved: (call, item, message, options) => this.#putHere(call, item, message, options),
      waiting: (change) => this.#keepAlive(change),
    });
    const frames = household.broker.moveOut();
    if (frames.some((frame) => ring.isLarge(frame) && ring.fits(frame))) household.enlargeRing();
    const rest = frames.findIndex((frame) => ring.put([frame]) !== "accepted");
    if (rest < 0) return household.broker.tellMoved();
    household.closeRing();
    household.broker.moveIn(frames.slice(rest));
  }
}

/** Large parts are the caller's memory, which may change while the item waits. */
function own(frame: Frame): Frame {
  if (frame.parts.length === 0) return frame;
  const { kind, bytes, start, end, parts, modules } = frame;
  return new Frame(
    kind,
    bytes,
    start,
    end,
    parts.map((part) => part.slice()),
    modules,
  );
}
