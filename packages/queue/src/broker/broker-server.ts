/**
 * The owner process's end of `protocol.ts`. The server accepts the clients, recalls prefetched items,
 * closes the ring, shuts the queue down, and answers requests. `LocalBackend` creates it.
 */
import { type Channel, responsiveTimeout } from "@multiproc/core/internal";
import type { Question } from "../backend.ts";
import type { MpmcRing } from "../ring/mpmc-ring.ts";
import { Broker } from "./broker.ts";
import { type BrokerServices, ClientSession } from "./client-session.ts";
import * as kinds from "./protocol.ts";
import { type Joiner, type LostTasks, UnfinishedTasks } from "./unfinished-tasks.ts";

/** How long a consumer may ignore RECALL before the broker serves others without its items. */
const RECALL_TIMEOUT_MS = 500;
/** Repeated requests of one consumer, without another in between, that make it the sole consumer. */
const SOLE_CONSUMER_AFTER_COUNT = 3;

/** The server of one queue; see the header of this file. */
export class BrokerServer implements BrokerServices {
  readonly broker: Broker;
  readonly tasks: UnfinishedTasks;
  readonly isJoinable: boolean;
  /** The ring, which has the items until it is closed. */
  ring: MpmcRing | undefined;
  readonly #sessions = new Set<ClientSession>();
  /** Clients that have not answered RECALL, each with the function that cancels its timeout. */
  readonly #pendingRecalls = new Map<ClientSession, () => void>();
  #recallWaiters: Array<() => void> = [];
  /** The consumer that sent the last request for an item. */
  #lastConsumer: unknown;
  /** Its requests since then, without a request of another consumer in between. */
  #sameConsumerCount = 0;
  /** Producers that have not replied to SHUT_DOWN. */
  readonly #unacknowledgedShutdowns = new Set<ClientSession>();
  #shutdownWaiters: Array<() => void> = [];
  /** Unfinished tasks that this process took. */
  #localUnfinishedCount = 0;
  #keepsAlive = false;

  /** @param lostTasks what happens to lost tasks, if the items are tasks */
  constructor(maxSize: number, lostTasks?: LostTasks) {
    this.isJoinable = lostTasks !== undefined;
    this.tasks = new UnfinishedTasks(lostTasks ?? "throw");
    this.broker = new Broker(maxSize, this.tasks, () => this.recall());
  }

  /** Whether a copy of each task must be kept until it is done. */
  get keepsTasks(): boolean {
    return this.isJoinable && this.tasks.onLoss === "requeue";
  }

  /** The ring while it is open. */
  get openRing(): MpmcRing | undefined {
    return this.ring?.isClosed === false ? this.ring : undefined;
  }

  /** Accepts a client. */
  accept(channel: Channel, pid: number): void {
    const session = new ClientSession(this, channel, pid);
    this.#sessions.add(session);
    if (this.#keepsAlive) channel.ref();
    channel.start({ message: (frame) => session.receive(frame), closed: () => this.#clientGone(session) });
    session.reply(kinds.HELLO, this.openRing?.memory.address() ?? null);
  }

  /**
   * Decides whether connected clients keep the program alive. They do while this process waits: a
   * client may end the wait.
   */
  keepAlive(active: boolean): void {
    this.#keepsAlive = active;
    for (const { channel } of this.#sessions) active ? channel.ref() : channel.unref();
  }

  /** Closes the ring for good, and moves its items to the broker. */
  closeRing(): void {
    const ring = this.openRing;
    if (ring === undefined) return;
    this.broker.moveIn(ring.close());
    if (ring.isShutDown) void this.shutDown(false);
  }

  /** Allocates the large-payload area of the ring. */
  addLargeArea(): void {
    try {
      this.ring?.addLargeArea();
    } catch {
      this.closeRing(); // the system has too little memory left
    }
  }

  /** Records which consumer asks for an item. Returns true if it counts as the sole consumer. */
  checkSoleConsumer(consumer: object): boolean {
    if (consumer === this.#lastConsumer) return ++this.#sameConsumerCount >= SOLE_CONSUMER_AFTER_COUNT;
    this.#lastConsumer = consumer;
    this.#sameConsumerCount = 0;
    return false;
  }

  /** Acknowledges an item that this process took. */
  recordLocalGet(): void {
    if (this.isJoinable) {
      this.tasks.taken(1);
      this.#localUnfinishedCount += 1;
    }
    this.broker.acknowledge(1);
  }

  /** Asks all clients to return their prefetched items. */
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

  /** Settles when all recalled items have returned, or RECALL_TIMEOUT_MS has passed. */
  recallsSettled(): Promise<void> {
    if (this.#pendingRecalls.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#recallWaiters.push(resolve));
  }

  /** Notes that a client has no prefetched items any more. */
  prefetchReturned(session: ClientSession): void {
    this.#pendingRecalls.get(session)?.();
    if (this.#pendingRecalls.delete(session) && this.#pendingRecalls.size === 0)
      for (const resolve of this.#recallWaiters.splice(0)) resolve();
  }

  /** Answers a request of a client. */
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

  /**
   * Answers a request that needs no wait.
   *
   * @param session the client that asks; this process if missing
   */
  answerNow(question: Question, session?: ClientSession): unknown {
    switch (question) {
      case "size":
        return this.broker.size;
      case "taskDone":
        return this.#taskDone(session);
    }
    throw new TypeError(`Protocol error: unknown request "${question}"`);
  }

  /** Shuts the broker down. Settles when no client puts any more. */
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

  /** Notes that a client puts nothing any more. */
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
    // The process that reports a task need not have taken it.
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
