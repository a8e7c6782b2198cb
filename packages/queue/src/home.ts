/** A queue in the process that made it: the items, the calls made here, and the guests; see `protocol.ts`. */
import {
  type Carrier,
  type Channel,
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
import { Broker, type Getter, type Putter } from "./broker.ts";
import { closedHere, QueueEmptyError, QueueFullError, QueueShutDownError } from "./errors.ts";
import { Guest, type Household } from "./guest.ts";
import { type BlockOptions, isNow, isPatient, type Link, type QueueForm, remaining } from "./link.ts";
import type { Question } from "./protocol.ts";
import * as kinds from "./protocol.ts";
import { Ring } from "./ring.ts";
import { RingSide } from "./ring-side.ts";
import { type BlockSyncOptions, elsewhere, putSync, type RingPlace, takeSync } from "./ring-sync.ts";
import { type Joiner, type LostTasks, Tasks } from "./tasks.ts";

/** Who holds items and does not give them back when others wait is passed over after so many milliseconds. */
const RECALL_PATIENCE = 500;
/** Who has asked so often in a row is taken for the only consumer. */
const SOLE_AFTER = 3;

/** The home of a queue. */
export class HomeLink implements Link, Household {
  readonly home: number = host.pid;
  readonly maxSize: number;
  readonly isJoinable: boolean;
  readonly broker: Broker;
  readonly tasks: Tasks;
  readonly #guests = new Set<Guest>();
  /** Guests that have been asked for what they hold, with what ends the patience with each. */
  readonly #recalled = new Map<Guest, () => void>();
  #recallOver: Array<() => void> = [];
  /** Who asked for an item last, and how often in a row. */
  #lastAsking: unknown;
  #streak = 0;
  /** Producers that may not have heard of the shutdown. */
  readonly #unaware = new Set<Guest>();
  #shutDownOver: Array<() => void> = [];
  #invitation: Invitation | undefined;
  /** Tasks that were taken here and not reported as done. */
  #open = 0;
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
    this.isJoinable = lostTasks !== undefined;
    this.tasks = new Tasks(lostTasks ?? "throw");
    this.broker = new Broker(maxSize, this.tasks, () => this.#recall());
  }

  get keepsTasks(): boolean {
    return this.isJoinable && this.tasks.onLoss === "requeue";
  }

  isSole(asking: Getter | this): boolean {
    if (asking === this.#lastAsking) return ++this.#streak >= SOLE_AFTER;
    this.#lastAsking = asking;
    this.#streak = 0;
    return false;
  }

  put(call: string, item: unknown, options: BlockOptions): Promise<void> {
    const message = encodeMessage(item, "item");
    // Those that were put before and have no place yet come first.
    const ring = this.#ring?.isInUse === true ? this.#ring : undefined;
    if (ring !== undefined && this.maxSize === 0 && isPatient(options)) return ring.putSoon(message);
    return this.#put(call, item, message, ring, options);
  }

  async #put(
    call: string,
    item: unknown,
    { frame, commit }: EncodedMessage,
    ring: RingSide | undefined,
    options: BlockOptions,
  ): Promise<void> {
    const began = performance.now();
    if (ring !== undefined) {
      const result = ring.put(call, frame, options);
      const placed = typeof result === "string" ? result : await result;
      if (placed === "full") throw new QueueFullError(call, this.maxSize, item);
      if (placed === "accepted") return commit(undefined);
    }
    if (!(await this.#putHere(call, own(frame), remaining(options, began))))
      throw new QueueFullError(call, this.maxSize, item);
    commit(undefined);
  }

  take(): Frame | undefined {
    if (this.#ring?.isOpen === true) return this.#ring.take();
    this.isSole(this);
    const item = this.broker.tryLend();
    if (item === undefined) return undefined;
    this.#tookOne();
    return item.frame;
  }

  async get(call: string, options: BlockOptions): Promise<Frame> {
    const began = performance.now();
    if (this.#ring?.isOpen !== true) {
      const frame = await this.#getHere(call, options);
      if (frame !== "moved") return frame;
    }
    const frame = await (this.#ring as RingSide).get(call, remaining(options, began));
    if (frame !== "moved") return frame;
    return (await this.#getHere(call, remaining(options, began))) as Frame;
  }

  getSync(name: string, options: BlockSyncOptions): Frame {
    const side = this.#ring?.isOpen === true ? this.#ring : undefined;
    side?.flush();
    // Who wants to put something large asks this thread for a place, which hears nothing while it blocks.
    if (!isNow(options)) this.enlargeRing();
    if (side !== undefined) return takeSync(side.ring, { name, options, assertUsable: () => {} });
    const frame = this.take();
    if (frame !== undefined) return frame;
    if (this.broker.isOver) throw new QueueShutDownError(name);
    // Only this thread could put what it would wait for, or hear of it.
    throw isNow(options) ? new QueueEmptyError(name) : elsewhere(name);
  }

  putSync(name: string, item: unknown, options: BlockSyncOptions): void {
    const { frame, commit } = encodeMessage(item, "item");
    const side = this.#ring?.isInUse === true ? this.#ring : undefined;
    side?.flush();
    if (side?.isOpen === true) {
      if (side.ring.isLarge(frame)) this.enlargeRing();
      putSync(side.ring, frame, item, this.maxSize, { name, options, assertUsable: () => {} });
    } else if (this.broker.isShutDown) throw new QueueShutDownError(name);
    else if (side !== undefined || !this.broker.tryPut(own(frame)))
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
      return this.#shutDown(argument === true);
    }
    if (question !== "join") return this.#answer(question, undefined);
    let joiner!: Joiner;
    const joined = new Promise<void>((done, lost) => {
      joiner = { done, lost };
    });
    this.tasks.join(joiner);
    try {
      return await this.#wait(call, joined, options);
    } finally {
      this.tasks.withdraw(joiner);
    }
  }

  async flush(): Promise<void> {
    await this.#ring?.flushed();
  }

  invitation(): Invitation {
    if (this.#invitation === undefined) {
      this.#invitation = invite((channel, pid) => this.#accept(channel, pid), { many: true });
      this.#openRing();
    }
    return this.#invitation;
  }

  async form(): Promise<QueueForm> {
    return this.#ring?.isOpen === true ? "memory" : "home";
  }

  closeRing(): void {
    if (this.#ring === undefined || !this.#ring.isOpen) return;
    this.broker.moveIn(this.#ring.ring.close());
    if (this.#ring.ring.isShutDown) void this.#shutDown(false);
  }

  enlargeRing(): void {
    try {
      this.#ring?.ring.enlarge();
    } catch {
      this.closeRing(); // the system has not so much memory left
    }
  }

  /** Others go on using the queue. */
  close(): void {
    this.#isClosed = true;
    for (const end of [...this.#waiting]) end(closedHere());
    this.#ring?.flush();
    this.#ring?.ring.getters.lookSoon();
    this.#ring?.ring.putters.lookSoon();
  }

  recalled(): Promise<void> {
    if (this.#recalled.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#recallOver.push(resolve));
  }

  released(guest: Guest): void {
    this.#recalled.get(guest)?.();
    if (this.#recalled.delete(guest) && this.#recalled.size === 0)
      for (const resolve of this.#recallOver.splice(0)) resolve();
  }

  heard(guest: Guest): void {
    if (this.#unaware.delete(guest)) this.#sealIfHeard();
  }

  answer(guest: Guest, id: number, question: Question, argument: unknown): void {
    const failed = (error: unknown): void => guest.reply(kinds.FAILED, [id, error]);
    const done = (answer?: unknown): void => guest.reply(kinds.ANSWER, [id, answer]);
    if (question === "shutdown") return void this.#shutDown(argument === true).then(done);
    if (question === "join") {
      const over = (tell: (value: never) => void) => (value?: unknown) => {
        guest.joiners.delete(joiner);
        tell(value as never);
      };
      const joiner: Joiner = { done: over(done), lost: over(failed) };
      guest.joiners.add(joiner);
      return this.tasks.join(joiner);
    }
    try {
      done(this.#answer(question, guest));
    } catch (error) {
      failed(error);
    }
  }

  async #getHere(call: string, options: BlockOptions): Promise<Frame | "moved"> {
    if (isNow(options)) return this.#getNow(call);
    let getter!: Getter;
    const promise = new Promise<Frame | "moved">((resolve, reject) => {
      getter = {
        give: ({ frame }) => {
          this.#tookOne();
          resolve(frame);
        },
        end: () => reject(new QueueShutDownError(call)),
        moved: () => resolve("moved"),
      };
    });
    this.broker.get(getter);
    try {
      const frame = await this.#wait(call, promise, options);
      if (frame !== TIMED_OUT) return frame;
    } catch (error) {
      // Given in the same turn in which the wait ended: the item is here, and the call has succeeded.
      if (error instanceof QueueShutDownError || this.broker.withdrawGet(getter)) throw error;
      return await promise;
    }
    if (!this.broker.withdrawGet(getter)) return await promise;
    throw new QueueEmptyError(call);
  }

  async #getNow(call: string): Promise<Frame> {
    // What others hold is in the queue as well.
    this.#recall();
    await this.recalled();
    const frame = this.take();
    if (frame !== undefined) return frame;
    throw this.broker.isOver ? new QueueShutDownError(call) : new QueueEmptyError(call);
  }

  /** Puts an item into the broker; false if there was no room in time. */
  async #putHere(call: string, frame: Frame, options: BlockOptions): Promise<boolean> {
    if (this.broker.isShutDown) throw new QueueShutDownError(call);
    if (this.broker.tryPut(frame)) return true;
    if (isNow(options)) return false;
    let putter!: Putter;
    const began = performance.now();
    const promise = new Promise<"accepted" | "moved">((resolve, reject) => {
      putter = {
        frame,
        accepted: () => resolve("accepted"),
        refused: () => reject(new QueueShutDownError(call)),
        moved: () => resolve("moved"),
      };
    });
    this.broker.put(putter);
    try {
      const result = await this.#wait(call, promise, options);
      if (result === "accepted") return true;
      if (result === "moved") return this.#putMoved(call, frame, remaining(options, began));
      return this.broker.withdrawPut(putter) ? false : (await promise) === "accepted";
    } catch (error) {
      // Accepted in the same turn in which the wait ended: the item is in the queue, and the call has succeeded.
      if (error instanceof QueueShutDownError || this.broker.withdrawPut(putter)) throw error;
      return (await promise) === "accepted";
    }
  }

  async #putMoved(call: string, frame: Frame, options: BlockOptions): Promise<boolean> {
    const placed = await (this.#ring as RingSide).put(call, frame, options);
    return placed === "moved" ? this.#putHere(call, frame, options) : placed === "accepted";
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
    if (this.#waits === (change === 1 ? 1 : 0))
      for (const { channel } of this.#guests) change === 1 ? channel.ref() : channel.unref();
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
    if (this.isJoinable || this.broker.isShutDown || missingMemory() !== undefined) return;
    let ring: Ring;
    try {
      ring = Ring.create(this.maxSize);
    } catch {
      return; // the system has no memory left for it
    }
    const owner = {
      assertUsable: () => {
        if (this.#isClosed) throw closedHere();
      },
      leaveRing: () => this.closeRing(),
      enlarge: () => this.enlargeRing(),
      moved: async (messages: readonly EncodedMessage[]) => {
        await Promise.all(messages.map(({ frame }) => this.#putHere("put()", own(frame), {})));
        for (const { commit } of messages) commit(undefined);
      },
      waiting: (change: 1 | -1) => this.#keepAlive(change),
    };
    this.#ring = new RingSide(ring, owner);
    const frames = this.broker.moveOut();
    if (frames.some((frame) => ring.isLarge(frame) && ring.fits(frame))) this.enlargeRing();
    const rest = frames.findIndex((frame) => ring.put([frame]) !== "accepted");
    if (rest < 0) return;
    this.closeRing();
    this.broker.moveIn(frames.slice(rest));
  }

  #tookOne(): void {
    if (this.isJoinable) {
      this.tasks.taken(1);
      this.#open += 1;
    }
    this.broker.taken(1);
  }

  #accept(channel: Channel, pid: number): void {
    const guest = new Guest(this, channel, pid);
    this.#guests.add(guest);
    if (this.#waits > 0) channel.ref();
    channel.start({ message: (frame) => guest.take(frame), closed: () => this.#leave(guest) });
    guest.reply(kinds.WELCOME, this.#ring?.isOpen === true ? this.#ring.ring.memory.address() : null);
  }

  #leave(guest: Guest): void {
    this.#guests.delete(guest);
    for (const joiner of guest.joiners) this.tasks.withdraw(joiner);
    const { count, tasks } = guest.leave();
    this.heard(guest);
    if (!this.keepsTasks) return this.tasks.lost(guest.pid, count);
    this.tasks.returned(count);
    this.broker.handOn(tasks);
  }

  /** Asks those who hold items for them. */
  #recall(): void {
    for (const guest of this.#guests) {
      if (this.#recalled.has(guest) || !guest.recall()) continue;
      const passOver = (): void => {
        this.broker.release(guest);
        this.released(guest);
      };
      this.#recalled.set(guest, host.timer(passOver, RECALL_PATIENCE, false));
    }
  }

  #answer(question: Question, guest: Guest | undefined): unknown {
    switch (question) {
      case "size":
        return this.broker.size;
      case "full":
        return this.broker.isFull;
      case "taskDone":
        return this.#taskDone(guest);
    }
    throw new TypeError(`There is no question "${question}"`);
  }

  #taskDone(guest: Guest | undefined): void {
    if (!this.tasks.done()) throw new RangeError("taskDone() was called more often than items were put");
    // A task that was passed on may be reported by another than the one that took it.
    if (guest !== undefined && guest.open > 0) guest.taskDone();
    else if (this.#open > 0) this.#open -= 1;
    else [...this.#guests].find(({ open }) => open > 0)?.taskDone();
    this.broker.endIfOver();
  }

  async #shutDown(immediate: boolean): Promise<void> {
    const isFirst = !this.broker.isShutDown;
    this.broker.shutDown(immediate);
    if (immediate) this.#recall();
    if (isFirst) {
      for (const guest of this.#guests) {
        if (!guest.isProducer) continue;
        this.#unaware.add(guest);
        guest.reply(kinds.SHUT_DOWN, null);
      }
    }
    const over = new Promise<void>((resolve) => this.#shutDownOver.push(resolve));
    this.#sealIfHeard();
    await over;
  }

  #sealIfHeard(): void {
    if (!this.broker.isShutDown || this.#unaware.size > 0) return;
    this.broker.seal();
    for (const resolve of this.#shutDownOver.splice(0)) resolve();
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
