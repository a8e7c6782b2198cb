/**
 * The state of one client in the owner process: its waits, credit, unacked items and unfinished
 * tasks; see `protocol.ts`. `BrokerServer` creates a session for each channel.
 */
import { type Channel, Fifo, type Frame } from "@multiproc/core/internal";
import type { Question } from "../backend.ts";
import type { Broker, Getter, Item, Putter } from "./broker.ts";
import type { Ack } from "./protocol.ts";
import * as kinds from "./protocol.ts";
import type { Joiner, UnfinishedTasks } from "./unfinished-tasks.ts";

/** Bytes that may be in flight to a consumer when the broker prefetches for it. */
const MAX_PREFETCHED_BYTES = 1024 * 1024;

/** The services of the server that a session uses. */
export interface BrokerServices {
  readonly broker: Broker;
  readonly tasks: UnfinishedTasks;
  readonly isJoinable: boolean;
  readonly keepsTasks: boolean;
  addLargeArea(): void;
  closeRing(): void;
  checkSoleConsumer(consumer: object): boolean;
  recallsSettled(): Promise<void>;
  prefetchReturned(session: ClientSession): void;
  shutdownAcknowledged(session: ClientSession): void;
  answer(session: ClientSession, id: number, question: Question, argument: unknown): void;
}

/** The session of one client; see the header of this file. */
export class ClientSession implements Getter {
  readonly channel: Channel;
  readonly pid: number;
  /** Whether the client has registered as a producer of an unbounded queue. */
  isProducer = false;
  /** The waiting calls of `join()` in the client. */
  readonly joiners: Set<Joiner> = new Set();
  readonly #server: BrokerServices;
  #lastPutId = 0;
  readonly #putters = new Map<number, Putter>();
  /** Items that were sent, and neither acknowledged nor returned. */
  readonly #unacked = new Fifo<Item>();
  #unackedBytes = 0;
  /** Items that were ever sent. */
  #sentCount = 0;
  /** Unacked items that were sent on credit, without a wait for them. */
  #prefetchedCount = 0;
  #mayPrefetch = false;
  #isRecalled = false;
  #credit = 0;
  /** How often this session waits in the broker: once for each waiting call of the client. */
  #waitingCount = 0;
  #isPrefetchScheduled = false;
  /** Tasks that the client took and did not finish. */
  #unfinishedCount = 0;
  /** Copies of these tasks, if they would be requeued. */
  readonly #unfinishedTasks = new Fifo<Item>();

  constructor(server: BrokerServices, channel: Channel, pid: number) {
    this.#server = server;
    this.channel = channel;
    this.pid = pid;
  }

  /** Tasks that the client took and did not finish. */
  get unfinishedCount(): number {
    return this.#unfinishedCount;
  }

  receive(frame: Frame): void {
    if (frame.kind === kinds.ADD_LARGE_AREA) return this.#server.addLargeArea();
    this.#server.closeRing();
    const value = (): unknown => this.channel.decode(frame);
    switch (frame.kind) {
      case kinds.PUT:
        return this.#receivePut(frame);
      case kinds.PUT_NOW:
        return this.#receivePutNow(frame);
      case kinds.WITHDRAW:
        return this.#withdrawPut(value() as number);
      case kinds.REGISTER_PRODUCER:
        this.isProducer = true;
        return this.reply(kinds.REGISTERED, this.#server.broker.isShutDown);
      case kinds.SHUTDOWN_ACK:
        return this.#server.shutdownAcknowledged(this);
      case kinds.ACK:
        return this.#receiveAck(value() as Ack);
      case kinds.PROBE:
        return void this.#probe(value() as number);
      case kinds.ASK: {
        const [id, question, argument] = value() as [number, Question, unknown];
        return this.#server.answer(this, id, question, argument);
      }
    }
  }

  deliver(item: Item): void {
    this.#waitingCount -= 1;
    this.#send(item);
    // Items that arrive until the microtask runs are prefetched together with the others.
    if (this.#isPrefetchScheduled || !this.#mayPrefetch || this.#credit <= this.#sentCount) return;
    this.#isPrefetchScheduled = true;
    queueMicrotask(() => {
      this.#isPrefetchScheduled = false;
      if (!this.channel.closed) this.#sendPrefetch();
    });
  }

  end(): void {
    if (this.#waitingCount === 0) return;
    this.#waitingCount = 0;
    this.reply(kinds.END, null);
  }

  moved(): void {} // items move into a ring only before the first client connects

  /**
   * Asks the client for its prefetched items. Returns false if it has none, or was asked before.
   */
  recall(): boolean {
    if (this.#prefetchedCount === 0 || this.#isRecalled) return false;
    this.#isRecalled = true;
    this.#mayPrefetch = false;
    this.reply(kinds.RECALL, null);
    return true;
  }

  /** Finishes the task that the client took first. */
  taskDone(): void {
    this.#unfinishedCount -= 1;
    this.#unfinishedTasks.shift();
  }

  reply(kind: number, value: unknown): void {
    if (!this.channel.closed) this.channel.send(kind, value);
  }

  /**
   * Ends the session, because the client has ended or closed the queue. Returns its unfinished
   * tasks.
   */
  disconnected(): { readonly count: number; readonly tasks: readonly Item[] } {
    const { broker } = this.#server;
    // A put that waits for space does not belong to the queue yet, and its `put()` has not
    // resolved.
    for (const putter of this.#putters.values()) broker.withdrawPut(putter);
    while (this.#waitingCount > 0) this.#stopWaiting();
    broker.requeueUnacked(this.#unacked.clear());
    this.#setPrefetched(0);
    return { count: this.#unfinishedCount, tasks: this.#unfinishedTasks.clear() };
  }

  #receivePut(frame: Frame): void {
    const id = ++this.#lastPutId;
    const { broker } = this.#server;
    if (broker.maxSize === 0) return void broker.tryPut(frame);
    const settle = (kind: number) => (): void => {
      this.#putters.delete(id);
      this.reply(kind, id);
    };
    const putter: Putter = { frame, accepted: settle(kinds.ACCEPTED), refused: settle(kinds.REFUSED), moved() {} };
    this.#putters.set(id, putter);
    broker.put(putter);
  }

  #receivePutNow(frame: Frame): void {
    const id = ++this.#lastPutId;
    const { broker } = this.#server;
    if (broker.isShutDown) return this.reply(kinds.REFUSED, id);
    this.reply(broker.tryPut(frame) ? kinds.ACCEPTED : kinds.FULL, id);
  }

  #withdrawPut(id: number): void {
    const putter = this.#putters.get(id);
    if (putter === undefined || !this.#server.broker.withdrawPut(putter)) return;
    this.#putters.delete(id);
    this.reply(kinds.WITHDRAWN, id);
  }

  #receiveAck([taken, returned, demand, credit]: Ack): void {
    const { broker } = this.#server;
    this.#credit = credit;
    if (taken > 0) {
      for (let i = 0; i < taken; i++) this.#recordTaken(this.#shiftUnacked());
      broker.acknowledge(taken);
    }
    if (returned === 1) this.#requeueReturned();
    else if (this.#prefetchedCount > 0 && this.#unacked.size < this.#prefetchedCount)
      this.#setPrefetched(this.#unacked.size);
    // The client would drop items that are sent now. Its answer to RECALL carries the demand again.
    if (this.#isRecalled) return;
    const demandChange = demand - this.#sentCount - this.#waitingCount;
    if (demandChange > 0) this.#mayPrefetch = this.#server.checkSoleConsumer(this);
    for (let i = 0; i < demandChange; i++) {
      this.#waitingCount += 1;
      broker.get(this);
    }
    for (let i = 0; i > demandChange && this.#waitingCount > 0; i--) this.#stopWaiting();
    this.#sendPrefetch();
  }

  #requeueReturned(): void {
    const items = this.#unacked.clear();
    this.#unackedBytes = 0;
    this.#isRecalled = false;
    // Items that were sent after the client sent this ACK return as well. The client drops all items
    // that arrive before RETURNED.
    this.reply(kinds.RETURNED, null);
    this.#server.broker.requeueUnacked(items);
    this.#setPrefetched(0);
  }

  #shiftUnacked(): Item {
    const item = this.#unacked.shift();
    if (item === undefined) throw new RangeError("Protocol error: a consumer acknowledged more items than it got");
    this.#unackedBytes -= item.frame.size;
    return item;
  }

  #setPrefetched(count: number): void {
    this.#prefetchedCount = count;
    if (count > 0) return this.#mayPrefetch ? this.#server.broker.addPrefetcher(this) : undefined;
    this.#server.broker.removePrefetcher(this);
    this.#server.prefetchReturned(this);
  }

  #recordTaken(item: Item): void {
    if (!this.#server.isJoinable) return;
    this.#unfinishedCount += 1;
    this.#server.tasks.taken(1);
    if (this.#server.keepsTasks) this.#unfinishedTasks.push(item);
  }

  #sendPrefetch(): void {
    if (!this.#mayPrefetch) return;
    while (this.#sentCount < this.#credit && this.#unackedBytes < MAX_PREFETCHED_BYTES) {
      const item = this.#server.broker.tryGet(this);
      if (item === undefined) return;
      this.#setPrefetched(this.#prefetchedCount + 1);
      this.#send(item);
    }
  }

  #send(item: Item): void {
    this.#sentCount += 1;
    this.#unacked.push(item);
    this.#unackedBytes += item.frame.size;
    this.channel.forward(kinds.ITEM, item.frame);
  }

  #stopWaiting(): void {
    this.#waitingCount -= 1;
    this.#server.broker.withdrawGet(this);
  }

  async #probe(id: number): Promise<void> {
    // Items that other clients have prefetched are still in the queue.
    if (this.#waitingCount > 0) await this.#server.recallsSettled();
    this.reply(kinds.PROBE_REPLY, id);
  }
}
