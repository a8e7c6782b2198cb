/**
 * `put()` and `get()` of a client while the items are in the broker; see `protocol.ts`.
 * `RemoteBackend` uses this class, and opens the channel.
 */
import {
  type Channel,
  type EncodedMessage,
  encodeMessage,
  type Frame,
  pendingWork,
  TIMED_OUT,
  type WaitOptions,
  withTimeout,
} from "@multiproc/core/internal";
import { type BlockOptions, isNonBlocking, withRemainingTimeout } from "../backend.ts";
import { ownerGone, QueueEmptyError, QueueFullError, QueueShutDownError } from "../errors.ts";
import { PrefetchBuffer, type Waiter } from "./prefetch-buffer.ts";
import * as kinds from "./protocol.ts";

/** The reply to a put. */
type PutOutcome = "accepted" | "full" | "withdrawn" | "refused";

/** Puts an item that is already encoded. */
type PutEncoded = (call: string, item: unknown, message: EncodedMessage, options: BlockOptions) => Promise<void>;

/** The services of a backend that its broker client uses. */
export interface BrokerClientContext {
  readonly ownerPid: number;
  readonly maxSize: number;
  /** Whether the queue was closed in this process. */
  readonly isClosed: boolean;
  /** Returns the channel as soon as it is open. */
  connect(call: string): Promise<Channel>;
  /** Lets the program end although the channel is open, if no call waits any more. */
  unrefIfIdle(): void;
}

/** A put that waits for the channel, or for REGISTERED. */
interface UnsentPut {
  send(put: PutEncoded): void;
  fail(error: Error): void;
}

interface PendingPut {
  resolve(outcome: PutOutcome): void;
  reject(error: Error): void;
}

const PUT_OUTCOMES: ReadonlyMap<number, PutOutcome> = new Map([
  [kinds.ACCEPTED, "accepted"],
  [kinds.FULL, "full"],
  [kinds.WITHDRAWN, "withdrawn"],
  [kinds.REFUSED, "refused"],
]);
const SETTLED: Promise<void> = Promise.resolve();

/** Puts and takes the items of one client at the broker; see the header of this file. */
export class BrokerClient {
  readonly #context: BrokerClientContext;
  readonly #prefetchBuffer: PrefetchBuffer = new PrefetchBuffer((ack, flush) => this.#sendAck(ack, flush));
  /** The channel for acknowledgements. */
  #channel: Channel | undefined;
  /** The same channel, once PUT is allowed. */
  #putChannel: Channel | undefined;
  readonly #unsentPuts = new Set<UnsentPut>();
  #isShutDown = false;
  /** Whether the queue is shut down and will never have an item again. */
  #isDrained = false;
  /** Settles when the system has all puts of this event-loop turn. */
  #turnFlush: Promise<void> | undefined;
  #lastPutId = 0;
  readonly #pendingPuts = new Map<number, PendingPut>();
  #lastProbeId = 0;
  readonly #pendingProbes = new Map<number, () => void>();

  constructor(context: BrokerClientContext) {
    this.#context = context;
  }

  /** The number of calls that wait for the broker. */
  get waitingCount(): number {
    return this.#prefetchBuffer.waitingCount + this.#unsentPuts.size + this.#pendingPuts.size;
  }

  /** Whether an earlier put has not been sent. */
  get hasUnsentPuts(): boolean {
    return this.#unsentPuts.size > 0;
  }

  /** Sets the channel, once it is open. */
  connected(channel: Channel): void {
    this.#channel = channel;
  }

  put(call: string, item: unknown, options: BlockOptions): Promise<void> {
    const channel = this.#putChannel;
    if (channel === undefined) return this.#putWhenOpen(call, item, encodeMessage(item, "item"), options);
    if (this.#isShutDown) throw new QueueShutDownError(call);
    channel.send(this.#putKind(options), item, "item");
    return this.#context.maxSize === 0 ? this.#flushTurn(channel) : this.#putReply(call, channel, item, options);
  }

  /** Puts an encoded item. It has its place in the order of puts when this call returns. */
  async putEncoded(call: string, item: unknown, message: EncodedMessage, options: BlockOptions): Promise<void> {
    const channel = this.#putChannel;
    if (channel === undefined) return this.#putWhenOpen(call, item, message, options);
    if (this.#isShutDown) throw new QueueShutDownError(call);
    channel.forward(this.#putKind(options), message.frame);
    message.commit(undefined);
    return this.#context.maxSize === 0 ? this.#flushTurn(channel) : this.#putReply(call, channel, item, options);
  }

  /** Calls `put` for every unsent put. `put` sends the item to the ring, or to the broker. */
  sendUnsentPuts(put: PutEncoded): void {
    const unsent = [...this.#unsentPuts];
    this.#unsentPuts.clear();
    for (const { send } of unsent) send(put);
  }

  /** Settles when all unsent puts are sent. */
  async unsentPutsSent(): Promise<void> {
    if (this.#unsentPuts.size > 0)
      await new Promise<void>((resolve) => this.#unsentPuts.add({ send: () => resolve(), fail: () => resolve() }));
  }

  /** Takes the next prefetched item. */
  take(): Frame | undefined {
    return this.#prefetchBuffer.take();
  }

  async get(call: string, channel: Channel, options: BlockOptions): Promise<Frame> {
    if (this.#isDrained) throw new QueueShutDownError(call);
    const found = this.#prefetchBuffer.take();
    if (found !== undefined) return found;
    let waiter!: Waiter;
    const promise = new Promise<Frame>((deliver, end) => {
      waiter = { deliver, end };
    });
    this.#prefetchBuffer.wait(waiter);
    channel.ref();
    try {
      if (isNonBlocking(options)) await this.#probeServer(channel, promise);
      else if ((await withTimeout(promise, call, options)) !== TIMED_OUT) return await promise;
    } catch (error) {
      if (!this.#prefetchBuffer.withdraw(waiter)) return await promise;
      throw error;
    } finally {
      this.#context.unrefIfIdle();
    }
    // The item was delivered in the turn in which the wait ended: the call has succeeded.
    if (!this.#prefetchBuffer.withdraw(waiter)) return await promise;
    throw this.#isDrained ? new QueueShutDownError(call) : new QueueEmptyError(call);
  }

  /**
   * Acknowledges the items that were taken. With `flush`, the system has the message when this
   * returns.
   */
  sendAck(flush: boolean): void {
    this.#prefetchBuffer.sendAck(flush);
  }

  /** Handles a message of the broker. */
  receive(channel: Channel, frame: Frame): void {
    switch (frame.kind) {
      case kinds.ITEM:
        return this.#prefetchBuffer.push(frame);
      case kinds.RECALL:
        return this.#prefetchBuffer.recall();
      case kinds.RETURNED:
        return this.#prefetchBuffer.returnConfirmed();
      case kinds.PROBE_REPLY:
        return this.#pendingProbes.get(channel.decode(frame) as number)?.();
      case kinds.REGISTERED:
        if (channel.decode(frame) === true) this.#shutDown();
        return this.#startPuts(channel);
      case kinds.SHUT_DOWN:
        this.#shutDown();
        return void channel.send(kinds.SHUTDOWN_ACK, null);
      case kinds.END:
        this.#isDrained = true;
        return this.#prefetchBuffer.end(new QueueShutDownError("get()"));
    }
    const outcome = PUT_OUTCOMES.get(frame.kind);
    if (outcome === undefined) return;
    const id = channel.decode(frame) as number;
    this.#pendingPuts.get(id)?.resolve(outcome);
    this.#pendingPuts.delete(id);
  }

  /** Ends all waits, because the channel has ended. */
  end(error: Error): void {
    this.#channel = undefined;
    this.#failUnsentPuts(error);
    this.#prefetchBuffer.end(error);
    for (const { reject } of this.#pendingPuts.values()) reject(error);
    this.#pendingPuts.clear();
  }

  /** Puts an encoded item as soon as the channel is open. */
  async #putWhenOpen(call: string, item: unknown, message: EncodedMessage, options: BlockOptions): Promise<void> {
    let unsent!: UnsentPut;
    const startedAt = performance.now();
    const sent = new Promise<{ done: Promise<void> }>((resolve, fail) => {
      unsent = {
        send: (put) => resolve({ done: put(call, item, message, withRemainingTimeout(options, startedAt)) }),
        fail: (error) => fail(error instanceof QueueShutDownError ? new QueueShutDownError(call) : error),
      };
    });
    this.#unsentPuts.add(unsent);
    if (this.#unsentPuts.size === 1) this.#openForPuts(call);
    let result: { done: Promise<void> } | typeof TIMED_OUT;
    try {
      result = await withTimeout(sent, call, options);
    } catch (error) {
      // The item was sent in the turn in which the wait ended: its reply decides.
      if (this.#unsentPuts.delete(unsent)) throw error;
      result = await sent;
    } finally {
      this.#context.unrefIfIdle();
    }
    if (result !== TIMED_OUT) return result.done;
    if (!this.#unsentPuts.delete(unsent)) return (await sent).done;
    throw new QueueFullError(call, this.#context.maxSize, item);
  }

  /**
   * Opens the channel for the unsent puts, and registers the producer if the queue is unbounded.
   */
  #openForPuts(call: string): void {
    const opening = this.#channel === undefined ? this.#context.connect(call) : Promise.resolve(this.#channel);
    opening.then(
      (channel) => {
        // If there is a ring, the puts have been sent to it by now.
        if (this.#unsentPuts.size === 0) return;
        channel.ref();
        if (this.#context.maxSize > 0) this.#startPuts(channel);
        else if (!channel.closed) channel.send(kinds.REGISTER_PRODUCER, null);
      },
      (error) => this.#failUnsentPuts(error),
    );
  }

  #startPuts(channel: Channel): void {
    this.#putChannel = channel;
    this.sendUnsentPuts((call, item, message, options) => this.putEncoded(call, item, message, options));
  }

  #failUnsentPuts(error: Error): void {
    for (const unsent of this.#unsentPuts) unsent.fail(error);
    this.#unsentPuts.clear();
  }

  #putKind(options: BlockOptions): number {
    return this.#context.maxSize > 0 && isNonBlocking(options) ? kinds.PUT_NOW : kinds.PUT;
  }

  /**
   * Settles when the system has the item. All puts of one event-loop turn share a flush and a
   * promise.
   */
  #flushTurn(channel: Channel): Promise<void> {
    if (this.#turnFlush === undefined) {
      this.#turnFlush = SETTLED.then(async () => {
        this.#turnFlush = undefined;
        await channel.flushed();
        if (channel.closed && !this.#context.isClosed) throw ownerGone(this.#context.ownerPid);
      });
      pendingWork.add(this.#turnFlush);
    }
    return this.#turnFlush;
  }

  /** Settles when the broker has replied to the put that was just sent. */
  async #putReply(call: string, channel: Channel, item: unknown, options: BlockOptions): Promise<void> {
    const id = ++this.#lastPutId;
    channel.ref();
    const outcome = new Promise<PutOutcome>((resolve, reject) => this.#pendingPuts.set(id, { resolve, reject }));
    pendingWork.add(outcome);
    const reply = await this.#putReplyWithin(call, outcome, id, channel, isNonBlocking(options) ? {} : options);
    this.#context.unrefIfIdle();
    if (reply === "refused") throw new QueueShutDownError(call);
    if (reply !== "accepted") throw new QueueFullError(call, this.#context.maxSize, item);
  }

  async #putReplyWithin(
    call: string,
    outcome: Promise<PutOutcome>,
    id: number,
    channel: Channel,
    options: WaitOptions,
  ): Promise<PutOutcome> {
    try {
      const reply = await withTimeout(outcome, call, options);
      if (reply !== TIMED_OUT) return reply;
    } catch (error) {
      if (options.signal?.aborted !== true || channel.closed) throw error;
      channel.send(kinds.WITHDRAW, id);
      if ((await outcome) === "accepted") return "accepted";
      throw error;
    }
    // The broker decides which came first: the space, or the end of the wait.
    if (!channel.closed) channel.send(kinds.WITHDRAW, id);
    return outcome;
  }

  /** Settles when `item` has arrived, or the broker has sent every item that it could. */
  async #probeServer(channel: Channel, item: Promise<unknown>): Promise<void> {
    this.#prefetchBuffer.sendAck(false);
    const id = ++this.#lastProbeId;
    const replied = new Promise<void>((resolve) => this.#pendingProbes.set(id, resolve));
    channel.send(kinds.PROBE, id);
    await Promise.race([item, replied]);
    this.#pendingProbes.delete(id);
  }

  #shutDown(): void {
    this.#isShutDown = true;
    this.#failUnsentPuts(new QueueShutDownError("put()"));
  }

  #sendAck(ack: kinds.Ack, flush: boolean): void {
    const channel = this.#channel;
    if (channel === undefined || channel.closed) return;
    channel.send(kinds.ACK, ack);
    if (flush) channel.flush();
  }
}
