/** What a queue's home is to its guests, the other processes that hold the queue; see `protocol.ts`. */
import { type Channel, responsiveTimeout } from "@multiproc/core/internal";
import type { Question } from "../backend.ts";
import type { MpmcRing } from "../ring/mpmc-ring.ts";
import { Broker } from "./broker.ts";
import { type BrokerServices, ClientSession } from "./client-session.ts";
import * as kinds from "./protocol.ts";
import { type Joiner, type LostTasks, UnfinishedTasks } from "./unfinished-tasks.ts";

/** Who holds items and does not give them back when others wait is passed over after so many milliseconds. */
const RECALL_TIMEOUT_MS = 500;
/** Who has asked so often in a row is taken for the only consumer. */
const SOLE_CONSUMER_AFTER_COUNT = 3;

/** The items of a queue, and all that have a part in them. */
export class BrokerServer implements BrokerServices {
  readonly broker: Broker;
  readonly tasks: UnfinishedTasks;
  readonly isJoinable: boolean;
  /** Where the items are until it is closed. */
  ring: MpmcRing | undefined;
  readonly #sessions = new Set<ClientSession>();
  /** Guests that have been asked for what they hold, with what ends the patience with each. */
  readonly #pendingRecalls = new Map<ClientSession, () => void>();
  #recallWaiters: Array<() => void> = [];
  /** Who asked for an item last, and how often in a row. */
  #lastConsumer: unknown;
  #sameConsumerCount = 0;
  /** Producers that may not have heard of the shutdown. */
  readonly #unacknowledgedShutdowns = new Set<ClientSession>();
  #shutdownWaiters: Array<() => void> = [];
  /** Tasks that were taken here and not reported as done. */
  #localUnfinishedCount = 0;
  #keepsAlive = false;

  /** @param lostTasks what becomes of lost tasks, if the items are tasks */
  constructor(maxSize: number, lostTasks?: LostTasks) {
    this.isJoinable = lostTasks !== undefined;
    this.tasks = new UnfinishedTasks(lostTasks ?? "throw");
    this.broker = new Broker(maxSize, this.tasks, () => this.recall());
  }

  /** Whether the tasks that guests have taken must be kept until they are done. */
  get keepsTasks(): boolean {
    return this.isJoinable && this.tasks.onLoss === "requeue";
  }

  /** The ring, while the items are in it. */
  get openRing(): MpmcRing | undefined {
    return this.ring?.isClosed === false ? this.ring : undefined;
  }

  /** A process comes that holds the queue. */
  accept(channel: Channel, pid: number): void {
    const session = new ClientSession(this, channel, pid);
    this.#sessions.add(session);
    if (this.#keepsAlive) channel.ref();
    channel.start({ message: (frame) => session.receive(frame), closed: () => this.#clientGone(session) });
    session.reply(kinds.HELLO, this.openRing?.memory.address() ?? null);
  }

  /** Whether guests keep the program alive: they do while somebody here waits, since they may end the wait. */
  keepAlive(active: boolean): void {
    this.#keepsAlive = active;
    for (const { channel } of this.#sessions) active ? channel.ref() : channel.unref();
  }

  /** Whoever sends something else than for room does not find the items in a ring. */
  closeRing(): void {
    const ring = this.openRing;
    if (ring === undefined) return;
    this.broker.moveIn(ring.close());
    if (ring.isShutDown) void this.shutDown(false);
  }

  /** Makes a place for large items in the ring. */
  addLargeArea(): void {
    try {
      this.ring?.addLargeArea();
    } catch {
      this.closeRing(); // the system has not so much memory left
    }
  }

  /** Notes who wants an item, and tells whether it is the only one that does. */
  checkSoleConsumer(consumer: object): boolean {
    if (consumer === this.#lastConsumer) return ++this.#sameConsumerCount >= SOLE_CONSUMER_AFTER_COUNT;
    this.#lastConsumer = consumer;
    this.#sameConsumerCount = 0;
    return false;
  }

  /** Somebody here has taken an item. */
  recordLocalGet(): void {
    if (this.isJoinable) {
      this.tasks.taken(1);
      this.#localUnfinishedCount += 1;
    }
    this.broker.acknowledge(1);
  }

  /** Asks those who hold items for them. */
  recall(): void {
    for (const session of this.#sessions) {
      if (this.#pendingRecalls.has(session) || !session.recall()) continue;
      const stopWaiting = (): void => {
        this.broker.removePrefetcher(session);
        this.prefetchReturned(session);
      };
      this.#pendingRecalls.set(session, responsiveTimeout(stopWaiting, RECALL_TIMEOUT_MS));
    }
  }

  /** Settles when those who hold items have given them back, or do not answer. */
  recallsSettled(): Promise<void> {
    if (this.#pendingRecalls.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#recallWaiters.push(resolve));
  }

  /** A guest holds no items any more. */
  prefetchReturned(session: ClientSession): void {
    this.#pendingRecalls.get(session)?.();
    if (this.#pendingRecalls.delete(session) && this.#pendingRecalls.size === 0)
      for (const resolve of this.#recallWaiters.splice(0)) resolve();
  }

  /** Answers what a guest asks. */
  answer(session: ClientSession, id: number, question: Question, argument: unknown): void {
    const failed = (error: unknown): void => session.reply(kinds.FAILED, [id, error]);
    const done = (answer?: unknown): void => session.reply(kinds.ANSWER, [id, answer]);
    if (question === "shutdown") return void this.shutDown(argument === true).then(done);
    if (question === "join") {
      const settle = (reply: (value: never) => void) => (value?: unknown) => {
        session.joiners.delete(joiner);
        reply(value as never);
      };
      const joiner: Joiner = { done: settle(done), lost: settle(failed) };
      session.joiners.add(joiner);
      return this.tasks.join(joiner);
    }
    try {
      done(this.answerNow(question, session));
    } catch (error) {
      failed(error);
    }
  }

  /** What a question without a wait comes to, asked by a guest or here. */
  answerNow(question: Question, session?: ClientSession): unknown {
    switch (question) {
      case "size":
        return this.broker.size;
      case "taskDone":
        return this.#taskDone(session);
    }
    throw new TypeError(`There is no question "${question}"`);
  }

  /** Refuses puts; settles when no guest puts any more. */
  async shutDown(immediate: boolean): Promise<void> {
    const isFirst = !this.broker.isShutDown;
    this.broker.shutDown(immediate);
    if (immediate) this.recall();
    if (isFirst) {
      for (const session of this.#sessions) {
        if (!session.isProducer) continue;
        this.#unacknowledgedShutdowns.add(session);
        session.reply(kinds.SHUT_DOWN, null);
      }
    }
    const sealed = new Promise<void>((resolve) => this.#shutdownWaiters.push(resolve));
    this.#sealIfAcknowledged();
    await sealed;
  }

  /** A guest knows that nothing can be put any more. */
  shutdownAcknowledged(session: ClientSession): void {
    if (this.#unacknowledgedShutdowns.delete(session)) this.#sealIfAcknowledged();
  }

  #sealIfAcknowledged(): void {
    if (!this.broker.isShutDown || this.#unacknowledgedShutdowns.size > 0) return;
    this.broker.seal();
    for (const resolve of this.#shutdownWaiters.splice(0)) resolve();
  }

  #taskDone(session: ClientSession | undefined): void {
    if (!this.tasks.done()) throw new RangeError("taskDone() was called more often than items were put");
    // A task that was passed on may be reported by another than the one that took it.
    if (session !== undefined && session.unfinishedCount > 0) session.taskDone();
    else if (this.#localUnfinishedCount > 0) this.#localUnfinishedCount -= 1;
    else [...this.#sessions].find(({ unfinishedCount }) => unfinishedCount > 0)?.taskDone();
    this.broker.endIfDrained();
  }

  #clientGone(session: ClientSession): void {
    this.#sessions.delete(session);
    for (const joiner of session.joiners) this.tasks.withdraw(joiner);
    const { count, tasks } = session.disconnected();
    this.shutdownAcknowledged(session);
    if (!this.keepsTasks) return this.tasks.lost(session.pid, count);
    this.tasks.returned(count);
    this.broker.requeueTaken(tasks);
  }
}
