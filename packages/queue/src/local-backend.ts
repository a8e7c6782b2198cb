/**
 * The backend of a queue in its owner process. It handles the calls of this process; `BrokerServer`
 * serves the other processes. The broker keeps the items until the queue is first sent to another
 * process. Then they move into a ring in shared memory, if the system has shared memory.
 */
import {
  currentThreadId,
  type DeliveryScope,
  type EncodedMessage,
  type EndpointAddress,
  encodeMessage,
  exposeEndpoint,
  Frame,
  host,
  KeepAlive,
  TIMED_OUT,
  type WaitOptions,
  whyNoSharedMemory,
  withTimeout,
} from "@multiproc/core/internal";
import {
  type BackendKind,
  type BlockOptions,
  type BlockSyncOptions,
  isNonBlocking,
  type Question,
  type QueueBackend,
  type RingAddress,
  waitsForever,
  withRemainingTimeout,
} from "./backend.ts";
import type { Getter, Putter } from "./broker/broker.ts";
import { BrokerServer } from "./broker/broker-server.ts";
import type { Joiner, LostTasks } from "./broker/unfinished-tasks.ts";
import { closedInThisProcess, QueueEmptyError, QueueFullError, QueueShutDownError } from "./errors.ts";
import { getBlocking, itemsNotInMemory, putBlocking } from "./ring/blocking.ts";
import { MpmcRing } from "./ring/mpmc-ring.ts";
import { RingClient } from "./ring/ring-client.ts";

/** The backend of a queue in its owner process. */
export class LocalBackend implements QueueBackend {
  readonly ownerPid: number = host.pid;
  readonly maxSize: number;
  readonly #server: BrokerServer;
  #endpoint: EndpointAddress | undefined;
  /** Set once a ring is created. The items are in the ring while it is open. */
  #ringClient: RingClient | undefined;
  #isClosed = false;
  /** Waiting calls of this process. */
  #waitCount = 0;
  /** Living processes that the queue was sent to, connected or not. */
  #livingReceiverCount = 0;
  readonly #receiverKeepAlive = new KeepAlive();
  /** Ends the waits of this process when the queue is closed. */
  readonly #rejectWaits = new Set<(error: Error) => void>();

  /** @param lostTasks what happens to lost tasks, if the items are tasks */
  constructor(maxSize: number, lostTasks?: LostTasks) {
    if (!Number.isInteger(maxSize) || maxSize < 0)
      throw new RangeError(
        `A queue takes maxSize as a whole number of items, not ${typeof maxSize === "number" ? maxSize : `a value of type ${typeof maxSize}`}: write new Queue(100), or new Queue() for any number`,
      );
    this.maxSize = maxSize;
    this.#server = new BrokerServer(maxSize, lostTasks);
  }

  put(call: string, item: unknown, options: BlockOptions): Promise<void> {
    const message = encodeMessage(item, "item");
    // Earlier puts may still wait in the ring client, even if the ring is closed. They come first.
    const ringClient = this.#ringClient?.isInUse === true ? this.#ringClient : undefined;
    if (ringClient === undefined) return this.#putToBroker(call, item, message, options);
    return this.maxSize === 0 && waitsForever(options)
      ? ringClient.putBatched(message)
      : ringClient.put(call, item, message, options);
  }

  take(): Frame | undefined {
    if (this.#ringClient?.isOpen === true) return this.#ringClient.take();
    this.#server.checkSoleConsumer(this);
    const item = this.#server.broker.tryGet();
    if (item === undefined) return undefined;
    this.#server.recordLocalGet();
    return item.frame;
  }

  async get(call: string, options: BlockOptions): Promise<Frame> {
    return this.#ringClient?.isOpen === true ? this.#getFromRing(call, options) : this.#getFromBroker(call, options);
  }

  getSync(call: string, options: BlockSyncOptions): Frame {
    const ringClient = this.#ringClient?.isOpen === true ? this.#ringClient : undefined;
    ringClient?.flush();
    // A producer of a large item asks this thread for the large-payload area. A blocked thread
    // cannot answer, so it allocates the area before it blocks.
    if (!isNonBlocking(options)) this.#server.addLargeArea();
    if (ringClient !== undefined) return getBlocking(ringClient.ring, { call, options, assertUsable: () => {} });
    const frame = this.take();
    if (frame !== undefined) return frame;
    if (this.#server.broker.isDrained) throw new QueueShutDownError(call);
    // Only this thread could put the item, or receive it from another process.
    throw isNonBlocking(options) ? new QueueEmptyError(call) : itemsNotInMemory(call);
  }

  putSync(call: string, item: unknown, options: BlockSyncOptions): void {
    const { frame, commit } = encodeMessage(item, "item");
    const ringClient = this.#ringClient?.isInUse === true ? this.#ringClient : undefined;
    ringClient?.flush();
    if (ringClient?.isOpen === true) {
      if (ringClient.ring.needsLargeArea(frame)) this.#server.addLargeArea();
      putBlocking(ringClient.ring, frame, item, this.maxSize, { call, options, assertUsable: () => {} });
    } else if (this.#server.broker.isShutDown) throw new QueueShutDownError(call);
    else if (ringClient !== undefined || !this.#server.broker.tryPut(withOwnParts(frame)))
      throw isNonBlocking(options) ? new QueueFullError(call, this.maxSize, item) : itemsNotInMemory(call);
    commit(undefined);
  }

  get ringAddress(): RingAddress | undefined {
    return this.#ringClient?.isOpen === true
      ? { memory: this.#ringClient.ring.memory.address(), ownerThreadId: currentThreadId().id }
      : undefined;
  }

  sizeNow(): number {
    const ringClient = this.#ringClient;
    ringClient?.flush();
    return ringClient?.isOpen === true ? ringClient.ring.size : this.#server.broker.size;
  }

  async ask(call: string, question: Question, argument: unknown, options: WaitOptions): Promise<unknown> {
    if (question === "size") return this.sizeNow();
    this.#ringClient?.flush();
    if (question === "shutdown") {
      const ring = this.#ringClient?.isOpen === true ? this.#ringClient.ring : undefined;
      if (ring?.shutDown(argument === true) === true) return;
      return this.#server.shutDown(argument === true);
    }
    if (question !== "join") return this.#server.answerNow(question);
    let joiner!: Joiner;
    const joined = new Promise<void>((done, lost) => {
      joiner = { done, lost };
    });
    this.#server.tasks.join(joiner);
    try {
      return await this.#wait(call, joined, options);
    } finally {
      this.#server.tasks.withdraw(joiner);
    }
  }

  async flush(): Promise<void> {
    await this.#ringClient?.flushed();
  }

  endpoint(): EndpointAddress {
    if (this.#endpoint === undefined) {
      this.#endpoint = exposeEndpoint((channel, pid) => this.#server.accept(channel, pid), { multiple: true });
      this.#openRing();
    }
    return this.#endpoint;
  }

  async backend(): Promise<BackendKind> {
    return this.#ringClient?.isOpen === true ? "shared-memory" : "broker";
  }

  /** Ends the waits of this process. The server keeps running for the other processes. */
  close(): void {
    this.#isClosed = true;
    for (const rejectWait of [...this.#rejectWaits]) rejectWait(closedInThisProcess());
    this.#ringClient?.flush();
    this.#ringClient?.ring.getters.recheckSoon();
    this.#ringClient?.ring.putters.recheckSoon();
  }

  async #getFromRing(call: string, options: BlockOptions): Promise<Frame> {
    const startedAt = performance.now();
    const frame = await (this.#ringClient as RingClient).get(call, options);
    return frame === "moved" ? this.#getFromBroker(call, withRemainingTimeout(options, startedAt)) : frame;
  }

  async #getFromBroker(call: string, options: BlockOptions): Promise<Frame> {
    if (isNonBlocking(options)) return this.#getNonBlocking(call);
    let getter!: Getter;
    const startedAt = performance.now();
    const promise = new Promise<Frame>((resolve, reject) => {
      getter = {
        deliver: ({ frame }) => {
          this.#server.recordLocalGet();
          resolve(frame);
        },
        end: () => reject(new QueueShutDownError(call)),
        moved: () => resolve(this.#getFromRing(call, withRemainingTimeout(options, startedAt))),
      };
    });
    this.#server.broker.get(getter);
    try {
      const frame = await this.#wait(call, promise, options);
      if (frame !== TIMED_OUT) return frame;
    } catch (error) {
      // The item was delivered in the turn in which the wait ended: the call has succeeded.
      if (error instanceof QueueShutDownError || this.#server.broker.withdrawGet(getter)) throw error;
      return await promise;
    }
    if (!this.#server.broker.withdrawGet(getter)) return await promise;
    throw new QueueEmptyError(call);
  }

  async #getNonBlocking(call: string): Promise<Frame> {
    // Prefetched items of other processes are still in the queue.
    this.#server.recall();
    await this.#server.recallsSettled();
    const frame = this.take();
    if (frame !== undefined) return frame;
    throw this.#server.broker.isDrained ? new QueueShutDownError(call) : new QueueEmptyError(call);
  }

  async #putToBroker(call: string, item: unknown, message: EncodedMessage, options: BlockOptions): Promise<void> {
    const { broker } = this.#server;
    if (broker.isShutDown) throw new QueueShutDownError(call);
    const frame = withOwnParts(message.frame);
    if (broker.tryPut(frame)) return message.commit(undefined);
    if (isNonBlocking(options)) throw new QueueFullError(call, this.maxSize, item);
    let putter!: Putter;
    const startedAt = performance.now();
    const promise = new Promise<void>((resolve, reject) => {
      putter = {
        frame,
        accepted: () => resolve(message.commit(undefined)),
        refused: () => reject(new QueueShutDownError(call)),
        moved: () => {
          const { commit } = message;
          resolve(
            (this.#ringClient as RingClient).put(
              call,
              item,
              { frame, commit },
              withRemainingTimeout(options, startedAt),
            ),
          );
        },
      };
    });
    broker.put(putter);
    try {
      if ((await this.#wait(call, promise, options)) !== TIMED_OUT) return;
    } catch (error) {
      // The item was accepted in the turn in which the wait ended: the call has succeeded.
      if (error instanceof QueueShutDownError || broker.withdrawPut(putter)) throw error;
      return await promise;
    }
    if (!broker.withdrawPut(putter)) return await promise;
    throw new QueueFullError(call, this.maxSize, item);
  }

  /** Waits for `promise`, which another process may settle, until `close()` ends the wait. */
  async #wait<T>(call: string, promise: Promise<T>, options: WaitOptions): Promise<T | typeof TIMED_OUT> {
    let rejectWait!: (error: Error) => void;
    const closed = new Promise<never>((_, reject) => {
      rejectWait = reject;
    });
    this.#rejectWaits.add(rejectWait);
    this.#waitersChanged(1);
    try {
      return await withTimeout(Promise.race([promise, closed]), call, options);
    } finally {
      this.#rejectWaits.delete(rejectWait);
      this.#waitersChanged(-1);
    }
  }

  /**
   * Counts the waiting calls. While a call waits, the connections to clients keep the program alive,
   * because a client may end the wait.
   */
  #waitersChanged(change: 1 | -1): void {
    this.#waitCount += change;
    if (this.#waitCount === (change === 1 ? 1 : 0)) this.#server.keepAlive(change === 1);
    this.#keepAliveForReceivers();
  }

  sentTo(scope: DeliveryScope | undefined): void {
    if (scope === undefined) return;
    this.#livingReceiverCount += 1;
    scope.onEnd(() => {
      this.#livingReceiverCount -= 1;
      this.#keepAliveForReceivers();
    });
    this.#keepAliveForReceivers();
  }

  /**
   * Keeps the program alive while a call waits and a receiver lives. A child that has not connected
   * yet has no channel that does so, and the program does not wait for a daemonic child.
   */
  #keepAliveForReceivers(): void {
    this.#receiverKeepAlive.active = this.#waitCount > 0 && this.#livingReceiverCount > 0;
  }

  /**
   * Creates a ring before the first client connects, if the system has shared memory, and moves the
   * items into it. If they do not all fit, the ring is closed again.
   */
  #openRing(): void {
    const server = this.#server;
    if (server.isJoinable || server.broker.isShutDown || whyNoSharedMemory() !== undefined) return;
    let ring: MpmcRing;
    try {
      ring = MpmcRing.create(this.maxSize);
    } catch {
      return; // the system has no memory left: the broker keeps the items
    }
    server.ring = ring;
    this.#ringClient = new RingClient(ring, {
      maxSize: this.maxSize,
      assertUsable: () => {
        if (this.#isClosed) throw closedInThisProcess();
      },
      closeRing: () => server.closeRing(),
      addLargeArea: () => server.addLargeArea(),
      putToBroker: (call, item, message, options) => this.#putToBroker(call, item, message, options),
      waitersChanged: (change) => this.#waitersChanged(change),
    });
    const frames = server.broker.moveOut();
    if (frames.some((frame) => ring.needsLargeArea(frame) && ring.fits(frame))) server.addLargeArea();
    const firstRejected = frames.findIndex((frame) => ring.put([frame]) !== "accepted");
    if (firstRejected < 0) return server.broker.notifyMoved();
    server.closeRing();
    server.broker.moveIn(frames.slice(firstRejected));
  }
}

/**
 * Copies the large parts of an item. They are memory of the caller, which may change it while the
 * item waits in the queue.
 */
function withOwnParts(frame: Frame): Frame {
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
