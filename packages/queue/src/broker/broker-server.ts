/** What a queue's home is to its guests, the other processes that hold the queue; see `protocol.ts`. */
import { type Channel, patience } from "@multiproc/core/internal";
import type { Ring } from "../ring/mpmc-ring.ts";
import { Broker } from "./broker.ts";
import { Guest } from "./client-session.ts";
import type { Question } from "./protocol.ts";
import * as kinds from "./protocol.ts";
import { type Joiner, type LostTasks, Tasks } from "./unfinished-tasks.ts";

/** Who holds items and does not give them back when others wait is passed over after so many milliseconds. */
const RECALL_PATIENCE = 500;
/** Who has asked so often in a row is taken for the only consumer. */
const SOLE_AFTER = 3;

/** The items of a queue, and all that have a part in them. */
export class Household {
  readonly broker: Broker;
  readonly tasks: Tasks;
  readonly isJoinable: boolean;
  /** Where the items are until it is closed. */
  ring: Ring | undefined;
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
  /** Tasks that were taken here and not reported as done. */
  #open = 0;
  #keepsAlive = false;

  /** @param lostTasks what becomes of lost tasks, if the items are tasks */
  constructor(maxSize: number, lostTasks?: LostTasks) {
    this.isJoinable = lostTasks !== undefined;
    this.tasks = new Tasks(lostTasks ?? "throw");
    this.broker = new Broker(maxSize, this.tasks, () => this.recall());
  }

  /** Whether the tasks that guests have taken must be kept until they are done. */
  get keepsTasks(): boolean {
    return this.isJoinable && this.tasks.onLoss === "requeue";
  }

  /** The ring, while the items are in it. */
  get openRing(): Ring | undefined {
    return this.ring?.isClosed === false ? this.ring : undefined;
  }

  /** A process comes that holds the queue. */
  accept(channel: Channel, pid: number): void {
    const guest = new Guest(this, channel, pid);
    this.#guests.add(guest);
    if (this.#keepsAlive) channel.ref();
    channel.start({ message: (frame) => guest.take(frame), closed: () => this.#leave(guest) });
    guest.reply(kinds.WELCOME, this.openRing?.memory.address() ?? null);
  }

  /** Whether guests keep the program alive: they do while somebody here waits, since they may end the wait. */
  keepAlive(isNeeded: boolean): void {
    this.#keepsAlive = isNeeded;
    for (const { channel } of this.#guests) isNeeded ? channel.ref() : channel.unref();
  }

  /** Whoever sends something else than for room does not find the items in a ring. */
  closeRing(): void {
    const ring = this.openRing;
    if (ring === undefined) return;
    this.broker.moveIn(ring.close());
    if (ring.isShutDown) void this.shutDown(false);
  }

  /** Makes a place for large items in the ring. */
  enlargeRing(): void {
    try {
      this.ring?.enlarge();
    } catch {
      this.closeRing(); // the system has not so much memory left
    }
  }

  /** Notes who wants an item, and tells whether it is the only one that does. */
  isSole(asking: object): boolean {
    if (asking === this.#lastAsking) return ++this.#streak >= SOLE_AFTER;
    this.#lastAsking = asking;
    this.#streak = 0;
    return false;
  }

  /** Somebody here has taken an item. */
  tookOne(): void {
    if (this.isJoinable) {
      this.tasks.taken(1);
      this.#open += 1;
    }
    this.broker.taken(1);
  }

  /** Asks those who hold items for them. */
  recall(): void {
    for (const guest of this.#guests) {
      if (this.#recalled.has(guest) || !guest.recall()) continue;
      const passOver = (): void => {
        this.broker.release(guest);
        this.released(guest);
      };
      this.#recalled.set(guest, patience(passOver, RECALL_PATIENCE));
    }
  }

  /** Settles when those who hold items have given them back, or do not answer. */
  recalled(): Promise<void> {
    if (this.#recalled.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#recallOver.push(resolve));
  }

  /** A guest holds no items any more. */
  released(guest: Guest): void {
    this.#recalled.get(guest)?.();
    if (this.#recalled.delete(guest) && this.#recalled.size === 0)
      for (const resolve of this.#recallOver.splice(0)) resolve();
  }

  /** Answers what a guest asks. */
  answer(guest: Guest, id: number, question: Question, argument: unknown): void {
    const failed = (error: unknown): void => guest.reply(kinds.FAILED, [id, error]);
    const done = (answer?: unknown): void => guest.reply(kinds.ANSWER, [id, answer]);
    if (question === "shutdown") return void this.shutDown(argument === true).then(done);
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
      done(this.tell(question, guest));
    } catch (error) {
      failed(error);
    }
  }

  /** What a question without a wait comes to, asked by a guest or here. */
  tell(question: Question, guest?: Guest): unknown {
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

  /** Refuses puts; settles when no guest puts any more. */
  async shutDown(immediate: boolean): Promise<void> {
    const isFirst = !this.broker.isShutDown;
    this.broker.shutDown(immediate);
    if (immediate) this.recall();
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

  /** A guest knows that nothing can be put any more. */
  heard(guest: Guest): void {
    if (this.#unaware.delete(guest)) this.#sealIfHeard();
  }

  #sealIfHeard(): void {
    if (!this.broker.isShutDown || this.#unaware.size > 0) return;
    this.broker.seal();
    for (const resolve of this.#shutDownOver.splice(0)) resolve();
  }

  #taskDone(guest: Guest | undefined): void {
    if (!this.tasks.done()) throw new RangeError("taskDone() was called more often than items were put");
    // A task that was passed on may be reported by another than the one that took it.
    if (guest !== undefined && guest.open > 0) guest.taskDone();
    else if (this.#open > 0) this.#open -= 1;
    else [...this.#guests].find(({ open }) => open > 0)?.taskDone();
    this.broker.endIfOver();
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
}
