/** Another process that holds a queue, as the queue's home sees it; see `protocol.ts`. */

import type { Channel, Frame } from "@multiproc/core/internal";
import { Fifo } from "@multiproc/core/internal";
import type { Getter, Item, Putter } from "./broker.ts";
import type { Household } from "./broker-server.ts";
import type { Question, Report } from "./protocol.ts";
import * as kinds from "./protocol.ts";
import type { Joiner } from "./unfinished-tasks.ts";

/** So many bytes may be on their way to a consumer that does not wait for them. */
const MAX_AHEAD = 1024 * 1024;

/** A channel to another process that holds the queue. */
export class Guest implements Getter {
  readonly channel: Channel;
  readonly pid: number;
  /** Whether it may put into an unbounded queue. */
  isProducer = false;
  /** Those in it who wait until all tasks are done. */
  readonly joiners: Set<Joiner> = new Set();
  readonly #home: Household;
  #puts = 0;
  readonly #putters = new Map<number, Putter>();
  /** Items that were sent and are neither taken nor given back. */
  readonly #lent = new Fifo<Item>();
  #lentBytes = 0;
  /** How many items were ever sent. */
  #sent = 0;
  /** How many of those that are lent were sent without being wanted at that moment: it holds them. */
  #ahead = 0;
  #mayHold = false;
  #isRecalled = false;
  #room = 0;
  /** How often this stands among those who wait. */
  #waiting = 0;
  #isToppingUp = false;
  /** Tasks taken and not reported as done: their number, and where they may have to be handed on, themselves. */
  #open = 0;
  readonly #openTasks = new Fifo<Item>();

  constructor(home: Household, channel: Channel, pid: number) {
    this.#home = home;
    this.channel = channel;
    this.pid = pid;
  }

  /** How many tasks it has taken and not reported as done. */
  get open(): number {
    return this.#open;
  }

  take(frame: Frame): void {
    if (frame.kind === kinds.ENLARGE) return this.#home.enlargeRing();
    this.#home.closeRing();
    const value = (): unknown => this.channel.decode(frame);
    switch (frame.kind) {
      case kinds.PUT:
        return this.#takePut(frame);
      case kinds.PUT_NOW:
        return this.#takePutNow(frame);
      case kinds.WITHDRAW:
        return this.#withdraw(value() as number);
      case kinds.PRODUCE:
        this.isProducer = true;
        return this.reply(kinds.PRODUCING, this.#home.broker.isShutDown);
      case kinds.HEARD:
        return this.#home.heard(this);
      case kinds.REPORT:
        return this.#takeReport(value() as Report);
      case kinds.PROBE:
        return void this.#probe(value() as number);
      case kinds.ASK: {
        const [id, question, argument] = value() as [number, Question, unknown];
        return this.#home.answer(this, id, question, argument);
      }
    }
  }

  give(item: Item): void {
    this.#waiting -= 1;
    this.#send(item);
    // Those that come in the same turn can go along.
    if (this.#isToppingUp || !this.#mayHold || this.#room <= this.#sent) return;
    this.#isToppingUp = true;
    queueMicrotask(() => {
      this.#isToppingUp = false;
      if (!this.channel.closed) this.#topUp();
    });
  }

  end(): void {
    if (this.#waiting === 0) return;
    this.#waiting = 0;
    this.reply(kinds.OVER, null);
  }

  moved(): void {} // a ring is made before the first guest comes

  /** Asks for what it holds; false if that is nothing. */
  recall(): boolean {
    if (this.#ahead === 0 || this.#isRecalled) return false;
    this.#isRecalled = true;
    this.#mayHold = false;
    this.reply(kinds.RECALL, null);
    return true;
  }

  /** One of its tasks is done. */
  taskDone(): void {
    this.#open -= 1;
    this.#openTasks.shift();
  }

  reply(kind: number, value: unknown): void {
    if (!this.channel.closed) this.channel.send(kind, value);
  }

  /** The process is gone, or has closed the queue. Returns the tasks that it had taken and not done. */
  leave(): { readonly count: number; readonly tasks: readonly Item[] } {
    const { broker } = this.#home;
    // A put that had no room is not the queue's yet: its caller is gone, and nobody was told that it succeeded.
    for (const putter of this.#putters.values()) broker.withdrawPut(putter);
    while (this.#waiting > 0) this.#stopWaiting();
    broker.restore(this.#lent.clear());
    this.#holds(0);
    return { count: this.#open, tasks: this.#openTasks.clear() };
  }

  #takePut(frame: Frame): void {
    const id = ++this.#puts;
    const { broker } = this.#home;
    if (broker.maxSize === 0) return void broker.tryPut(frame);
    const over = (kind: number) => (): void => {
      this.#putters.delete(id);
      this.reply(kind, id);
    };
    const putter: Putter = { frame, accepted: over(kinds.ACCEPTED), refused: over(kinds.REFUSED), moved() {} };
    this.#putters.set(id, putter);
    broker.put(putter);
  }

  #takePutNow(frame: Frame): void {
    const id = ++this.#puts;
    const { broker } = this.#home;
    if (broker.isShutDown) return this.reply(kinds.REFUSED, id);
    this.reply(broker.tryPut(frame) ? kinds.ACCEPTED : kinds.FULL, id);
  }

  #withdraw(id: number): void {
    const putter = this.#putters.get(id);
    if (putter === undefined || !this.#home.broker.withdrawPut(putter)) return;
    this.#putters.delete(id);
    this.reply(kinds.WITHDRAWN, id);
  }

  #takeReport([taken, returned, wanted, room]: Report): void {
    const { broker } = this.#home;
    this.#room = room;
    if (taken > 0) {
      for (let i = 0; i < taken; i++) this.#noteTaken(this.#noLongerLent());
      broker.taken(taken);
    }
    if (returned === 1) this.#takeBack();
    else if (this.#ahead > 0 && this.#lent.size < this.#ahead) this.#holds(this.#lent.size);
    // It drops what comes before it has answered; its answer tells again what it wants.
    if (this.#isRecalled) return;
    const more = wanted - this.#sent - this.#waiting;
    if (more > 0) this.#mayHold = this.#home.isSole(this);
    for (let i = 0; i < more; i++) {
      this.#waiting += 1;
      broker.get(this);
    }
    for (let i = 0; i > more && this.#waiting > 0; i--) this.#stopWaiting();
    this.#topUp();
  }

  #takeBack(): void {
    const items = this.#lent.clear();
    this.#lentBytes = 0;
    this.#isRecalled = false;
    // What was sent in the meantime comes back as well: the consumer drops all before this.
    this.reply(kinds.RETURNED, null);
    this.#home.broker.restore(items);
    this.#holds(0);
  }

  #noLongerLent(): Item {
    const item = this.#lent.shift();
    if (item === undefined) throw new RangeError("A consumer reported more items than it got");
    this.#lentBytes -= item.frame.size;
    return item;
  }

  #holds(count: number): void {
    this.#ahead = count;
    if (count > 0) return this.#mayHold ? this.#home.broker.hold(this) : undefined;
    this.#home.broker.release(this);
    this.#home.released(this);
  }

  #noteTaken(item: Item): void {
    if (!this.#home.isJoinable) return;
    this.#open += 1;
    this.#home.tasks.taken(1);
    if (this.#home.keepsTasks) this.#openTasks.push(item);
  }

  #topUp(): void {
    if (!this.#mayHold) return;
    while (this.#sent < this.#room && this.#lentBytes < MAX_AHEAD) {
      const item = this.#home.broker.tryLend(this);
      if (item === undefined) return;
      this.#holds(this.#ahead + 1);
      this.#send(item);
    }
  }

  #send(item: Item): void {
    this.#sent += 1;
    this.#lent.push(item);
    this.#lentBytes += item.frame.size;
    this.channel.forward(kinds.ITEM, item.frame);
  }

  #stopWaiting(): void {
    this.#waiting -= 1;
    this.#home.broker.withdrawGet(this);
  }

  async #probe(id: number): Promise<void> {
    // What others have not taken is in the queue as well.
    if (this.#waiting > 0) await this.#home.recalled();
    this.reply(kinds.PROBED, id);
  }
}
