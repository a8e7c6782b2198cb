/**
 * The backend of a queue in a process that does not own it. It opens the channel to the owner
 * process at the first call that needs one. While the items are in shared memory, `RingClient` puts
 * and takes them. Otherwise `BrokerClient` does so, by the messages of `broker/protocol.ts`.
 */
import { CapabilityError } from "@multiproc/core";
import {
  type Channel,
  dial,
  type EndpointAddress,
  encodeMessage,
  type Frame,
  flushNow,
  hasExited,
  host,
  openChannels,
  PendingRequests,
  type SegmentAddress,
  SharedSegment,
  singleton,
  TIMED_OUT,
  type WaitOptions,
  whyNoSharedMemory,
  withTimeout,
} from "@multiproc/core/internal";
import {
  type BackendKind,
  type BlockOptions,
  type BlockSyncOptions,
  type Question,
  type QueueBackend,
  type RingAddress,
  waitsForever,
  withRemainingTimeout,
} from "./backend.ts";
import { BrokerClient } from "./broker/broker-client.ts";
import * as kinds from "./broker/protocol.ts";
import { closedInThisProcess, ownerGone, QueueEmptyError } from "./errors.ts";
import { getBlocking, itemsNotInMemory, putBlocking, sizeNotReadable } from "./ring/blocking.ts";
import { MpmcRing } from "./ring/mpmc-ring.ts";
import { RingClient } from "./ring/ring-client.ts";

/** The content of a queue's handle: how a process reaches the items. */
export interface QueueAddress {
  readonly endpoint: EndpointAddress;
  readonly ownerPid: number;
  readonly maxSize: number;
  /** The ring's address, for synchronous calls, which cannot wait for HELLO. */
  readonly ringAddress?: RingAddress | undefined;
}

/** The backend of a queue in a process that does not own it. */
export class RemoteBackend implements QueueBackend {
  readonly maxSize: number;
  readonly ownerPid: number;
  readonly #address: QueueAddress;
  #connecting: Promise<Channel> | undefined;
  /** Set once the channel is open and HELLO has arrived. */
  #channel: Channel | undefined;
  readonly #brokerClient: BrokerClient;
  /** Set once the channel is open, if there is a ring and this process can map it. */
  #ringClient: RingClient | undefined;
  /** The same ring, mapped by a synchronous call before the channel was open. */
  #ringBeforeConnect: MpmcRing | undefined;
  #isCloseRingSent = false;
  #ringWaitCount = 0;
  /** The error of every later call, once the queue is unusable. */
  #closeReason: Error | undefined;
  #isClosed = false;
  readonly #requests = new PendingRequests();
  /** HELLO is awaited like a reply, although no request precedes it. */
  #helloId = 0;

  constructor(address: QueueAddress) {
    this.#address = address;
    this.maxSize = address.maxSize;
    this.ownerPid = address.ownerPid;
    this.#brokerClient = new BrokerClient(this);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  put(call: string, item: unknown, options: BlockOptions): Promise<void> {
    if (this.#closeReason !== undefined) throw this.#closeReason;
    const ringClient = this.#ringClientInUse;
    if (ringClient === undefined) return this.#brokerClient.put(call, item, options);
    const message = encodeMessage(item, "item");
    return this.maxSize === 0 && waitsForever(options)
      ? ringClient.putBatched(message)
      : ringClient.put(call, item, message, options);
  }

  take(): Frame | undefined {
    if (this.#closeReason !== undefined) throw this.#closeReason;
    return this.#ringClient?.isOpen === true ? this.#ringClient.take() : this.#brokerClient.take();
  }

  async get(call: string, options: BlockOptions): Promise<Frame> {
    const channel = this.#channel ?? (await this.#open(call, options));
    if (channel === TIMED_OUT) throw new QueueEmptyError(call);
    const startedAt = performance.now();
    if (this.#ringClient?.isOpen === true) {
      const frame = await this.#ringClient.get(call, options);
      if (frame !== "moved") return frame;
    }
    if (this.#closeReason !== undefined) throw this.#closeReason;
    return this.#brokerClient.get(call, channel, withRemainingTimeout(options, startedAt));
  }

  getSync(call: string, options: BlockSyncOptions): Frame {
    const ring = this.#findRing();
    if (ring === undefined) throw itemsNotInMemory(call);
    const assertUsable = (checkLiveness: boolean): void => this.#assertUsable(call, checkLiveness);
    return getBlocking(ring, { call, options, assertUsable });
  }

  putSync(call: string, item: unknown, options: BlockSyncOptions): void {
    const { frame, commit } = encodeMessage(item, "item");
    const ring = this.#findRing();
    if (ring === undefined) throw itemsNotInMemory(call);
    if (this.#brokerClient.hasUnsentPuts || this.#ringClientInUse?.hasPendingPuts === true)
      throw new CapabilityError(`${call} would overtake earlier puts that are unfinished: await those puts first`);
    const assertUsable = (checkLiveness: boolean): void => this.#assertUsable(call, checkLiveness);
    if (ring.needsLargeArea(frame) && !ring.hasLargeArea) this.#requestLargeArea(call);
    putBlocking(ring, frame, item, this.maxSize, { call, options, assertUsable });
    commit(undefined);
  }

  get ringAddress(): RingAddress | undefined {
    return this.#address.ringAddress;
  }

  sizeNow(call: string, alternative: string): number {
    const ring = this.#findRing();
    if (ring === undefined || ring.isClosed) throw sizeNotReadable(call, this.ownerPid, alternative);
    this.#assertUsable(call, this.#channel === undefined);
    return ring.size;
  }

  async ask(call: string, question: Question, argument: unknown, options: WaitOptions): Promise<unknown> {
    this.#ringClient?.flush();
    const channel = this.#channel ?? (await this.#open(call, options));
    if (channel === TIMED_OUT) return TIMED_OUT;
    if (this.#closeReason !== undefined) throw this.#closeReason;
    if (this.#ringClient?.isOpen === true) {
      const { ring } = this.#ringClient;
      if (question === "size") return ring.size;
      if (question === "shutdown" && ring.shutDown(argument === true)) return;
    }
    this.#brokerClient.sendAck(false);
    const { id, reply } = this.#requests.add(channel);
    channel.send(kinds.ASK, [id, question, argument]);
    try {
      return await withTimeout(reply, call, options);
    } finally {
      this.#requests.remove(id);
      this.unrefIfIdle();
    }
  }

  async backend(): Promise<BackendKind> {
    if (this.#channel === undefined) await this.connect("backend()");
    if (this.#closeReason !== undefined) throw this.#closeReason;
    return this.#ringClient?.isOpen === true ? "shared-memory" : "broker";
  }

  async flush(): Promise<void> {
    await this.#brokerClient.unsentPutsSent();
    await this.#ringClient?.flushed();
    await this.#channel?.flushed();
  }

  sentTo(): void {}

  endpoint(): EndpointAddress {
    return this.#address.endpoint;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#ringClient?.flush();
    this.#isClosed = true;
    const channel = this.#channel;
    if (channel !== undefined && !channel.closed) {
      this.#brokerClient.sendAck(false);
      channel.end();
    }
    this.#end(closedInThisProcess());
  }

  /** Returns the channel as soon as it is open. */
  connect(call: string): Promise<Channel> {
    return this.#open(call, {}) as Promise<Channel>;
  }

  /** Lets the program end although the channel is open, unless a call waits on it. */
  unrefIfIdle(): void {
    if (this.#brokerClient.waitingCount + this.#ringWaitCount + this.#requests.size === 0) this.#channel?.unref();
  }

  /** The ring client while puts go through it. That includes a closed ring with waiting puts. */
  get #ringClientInUse(): RingClient | undefined {
    return this.#ringClient?.isInUse === true ? this.#ringClient : undefined;
  }

  /**
   * Returns the ring, which may be closed. It can be found before the channel is open.
   *
   * @returns undefined if there is no ring, or this process cannot map it
   */
  #findRing(): MpmcRing | undefined {
    if (this.#closeReason !== undefined) throw this.#closeReason;
    this.#ringClient?.flush();
    if (this.#ringClient !== undefined) return this.#ringClient.ring;
    const address = this.#address.ringAddress;
    if (address === undefined || this.#channel !== undefined || whyNoSharedMemory() !== undefined) return undefined;
    try {
      this.#ringBeforeConnect ??= MpmcRing.of(SharedSegment.attach(address.memory));
    } catch (cause) {
      throw ownerGone(this.ownerPid, cause);
    }
    return this.#ringBeforeConnect;
  }

  #assertUsable(call: string, checkLiveness: boolean): void {
    if (this.#closeReason !== undefined) throw this.#closeReason;
    // A blocked thread cannot receive the end of its channel.
    if (checkLiveness && this.#address.ringAddress !== undefined && hasExited(this.#address.ringAddress.ownerThreadId))
      throw ownerGone(this.ownerPid, call);
  }

  /** Asks the owner process to allocate the large-payload area, without a wait. */
  #requestLargeArea(call: string): void {
    if (this.#channel === undefined)
      throw new CapabilityError(
        `${call} cannot put an item with large parts before the queue is connected: await queue.backend() once before`,
      );
    this.#channel.send(kinds.ADD_LARGE_AREA, null);
    this.#channel.flush();
  }

  /** Returns the channel as soon as it is open. */
  async #open(call: string, options: WaitOptions): Promise<Channel | typeof TIMED_OUT> {
    this.#connecting ??= this.#dial();
    try {
      return await withTimeout(this.#connecting, call, options);
    } catch (error) {
      if (options.signal?.aborted && error === options.signal.reason) throw error;
      throw this.#isClosed ? closedInThisProcess() : ownerGone(this.ownerPid, error);
    }
  }

  async #dial(): Promise<Channel> {
    const channel = await dial(this.#address.endpoint, `the owner of the queue, process ${this.ownerPid}`);
    if (this.#isClosed) {
      channel.destroy();
      throw closedInThisProcess();
    }
    const hello = this.#requests.add(channel);
    this.#helloId = hello.id;
    channel.start({
      message: (frame) => this.#receive(channel, frame),
      closed: (reason) => this.#disconnected(reason),
    });
    const address = (await hello.reply) as SegmentAddress | null;
    this.#channel = channel;
    this.#brokerClient.connected(channel);
    if (address !== null) this.#attachRing(channel, address);
    const ringClient = this.#ringClientInUse;
    // Send the unsent puts to the ring now, before a later put can overtake them.
    if (ringClient !== undefined)
      this.#brokerClient.sendUnsentPuts((call, item, message, options) => ringClient.put(call, item, message, options));
    this.#flushAcksAtExit(channel);
    this.unrefIfIdle();
    return channel;
  }

  #attachRing(channel: Channel, address: SegmentAddress): void {
    const closeRing = (): void => {
      if (!this.#isCloseRingSent && !channel.closed) channel.send(kinds.CLOSE_RING, null);
      this.#isCloseRingSent = true;
    };
    try {
      this.#ringClient = new RingClient(MpmcRing.of(SharedSegment.attach(address)), {
        maxSize: this.maxSize,
        assertUsable: () => {
          if (this.#closeReason !== undefined) throw this.#closeReason;
        },
        closeRing,
        addLargeArea: () => {
          if (!channel.closed) channel.send(kinds.ADD_LARGE_AREA, null);
        },
        putToBroker: (call, item, message, options) => this.#brokerClient.putEncoded(call, item, message, options),
        waitersChanged: (change) => {
          this.#ringWaitCount += change;
          if (this.#ringWaitCount === 0) this.unrefIfIdle();
          else channel.ref();
        },
      });
    } catch {
      closeRing(); // this process cannot map the memory, or has no permission to
    }
  }

  #receive(channel: Channel, frame: Frame): void {
    switch (frame.kind) {
      case kinds.HELLO:
        return this.#requests.resolve(this.#helloId, channel.decode(frame));
      case kinds.ANSWER: {
        const [id, answer] = channel.decode(frame) as [number, unknown];
        return this.#requests.resolve(id, answer);
      }
      case kinds.FAILED: {
        const [id, error] = channel.decode(frame) as [number, Error];
        return this.#requests.reject(id, error);
      }
      default:
        return this.#brokerClient.receive(channel, frame);
    }
  }

  /**
   * Sends the last acknowledgements when this process ends. Otherwise the broker would requeue the
   * items.
   */
  #flushAcksAtExit(channel: Channel): void {
    const flush = (): void => {
      this.#ringClient?.flush();
      this.#brokerClient.sendAck(true);
    };
    const flushed = (): Promise<void> => {
      flush();
      return channel.flushed();
    };
    const flusher = { flush, flushed };
    openChannels.add(flusher);
    channel.onEnd(() => openChannels.delete(flusher));
    singleton("queue.flushAcksAtExit", () => host.onExit(flushNow));
  }

  #disconnected(cause: Error | undefined): void {
    this.#end(this.#isClosed ? closedInThisProcess() : ownerGone(this.ownerPid, cause));
  }

  #end(error: Error): void {
    this.#closeReason = error;
    this.#ringClient?.ring.getters.recheckSoon();
    this.#ringClient?.ring.putters.recheckSoon();
    this.#brokerClient.end(error);
    this.#requests.rejectAll(error);
  }
}
