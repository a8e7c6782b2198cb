/**
 * A pipe end whose owner is another process; see `protocol.ts`. A connection uses it if it was
 * handed to this process, or if this process was forked.
 *
 * The channel to the owner opens in the background. Sends before that are deferred, in order.
 */
import {
  afterForkInChild,
  type Channel,
  type DeliveryScope,
  decodeMessage,
  dial,
  dialSync,
  encodeMessage,
  type Frame,
  host,
  pendingWork,
  type SyncChannel,
  whyNoDialSync,
} from "@multiproc/core/internal";
import { BrokenPipeError, noHolderError } from "../errors.ts";
import {
  ATTACH,
  BROKEN,
  BYTES,
  CANCEL_HAND_OVER,
  END,
  GET,
  HAND_OVER,
  NO_BYTES,
  REOPENED,
  RETURN,
  RETURNED,
  SHARE,
  VALUE,
} from "../protocol.ts";
import { cannotBlock } from "./blocking.ts";
import type { HandOver, PipeEnd, PipeEndAddress } from "./pipe-end.ts";
import { ReceiveQueue } from "./receive-queue.ts";

/** Name of the peer in errors. */
const PEER_NAME = "the other end of this pipe";

/** Sends deferred until the channel is open before senders have to wait. */
const MAX_DEFERRED_SENDS = 1000;

/** Ends whose channel is not open yet. */
const unopenedEnds = new Set<RemoteEnd>();
afterForkInChild(() => unopenedEnds.clear());

export class RemoteEnd implements PipeEnd {
  brokenError: Error | undefined;
  readonly receiveQueue: ReceiveQueue = new ReceiveQueue({
    waiterAdded: () => this.#requestMessage(),
    waitersChanged: (isWaiting) => (isWaiting ? this.#channel?.ref() : this.#channel?.unref()),
    drained: () => this.#channel?.resume(),
  });
  readonly #address: PipeEndAddress;
  #channel: SyncChannel | undefined;
  #deferredSends: Array<(channel: Channel) => void> = [];
  /** Whether a deferred send holds the caller's memory. */
  #hasBorrowedMemory = false;
  readonly #opened: Promise<void>;
  #isShared = false;
  #isHandedOver = false;
  #isClosed = false;
  #requestedCount = 0;
  #claimCount = 0;
  /** Called when this process has returned all messages that the owner pushed to it. */
  readonly #returnWaiters: Array<() => void> = [];

  constructor(address: PipeEndAddress) {
    this.#address = address;
    unopenedEnds.add(this);
    this.#opened = this.#open();
    pendingWork.add(this.#opened);
  }

  get isFull(): boolean {
    return this.#channel?.full ?? (this.#hasBorrowedMemory || this.#deferredSends.length > MAX_DEFERRED_SENDS);
  }

  async drained(): Promise<void> {
    await this.#opened;
    await this.#channel?.drained();
  }

  send(value: unknown, corked = false): boolean {
    if (this.#channel !== undefined) return this.#channel.send(VALUE, value, "value", undefined, corked);
    const index = this.#deferredSends.length;
    const { frame, commit } = encodeMessage(value, "value");
    this.#hasBorrowedMemory ||= frame.parts.length > 0;
    // A getter of the value may have sent something; that message follows this one.
    this.#deferredSends.splice(index, 0, (channel) => channel.forward(VALUE, frame, true));
    commit(undefined);
    return !this.isFull;
  }

  flush(): void {
    this.#channel?.flush();
  }

  sendBytes(bytes: Uint8Array): void {
    if (this.#channel !== undefined) return this.#channel.sendBytes(BYTES, bytes);
    const copy = bytes.slice();
    this.#deferredSends.push((channel) => channel.sendBytes(BYTES, copy));
  }

  decode(frame: Frame): unknown {
    return decodeMessage(frame);
  }

  /** Sends nothing, because the next message or GET shows the owner that the end is in use. */
  markUsed(): void {
    this.#isHandedOver = false;
  }

  prepareHandOver(): HandOver {
    const claim = `${host.pid}.${this.#address.claim}.${++this.#claimCount}`;
    const commit = (scope: DeliveryScope | undefined): void => {
      this.#isHandedOver = true;
      this.#isShared = true;
      this.#whenOpen((channel) => {
        this.#returnFrames(channel, this.receiveQueue.takeAll());
        channel.send(HAND_OVER, claim);
      });
      // The owner may have pushed more messages. This process must return them before it may end.
      pendingWork.add(new Promise<void>((resolve) => this.#returnWaiters.push(resolve)));
      scope?.onEnd(() => this.#whenOpen((channel) => channel.send(CANCEL_HAND_OVER, claim)));
    };
    return { address: { endpoint: this.#address.endpoint, claim }, commit };
  }

  blockingChannel(call: string, deadline: number): SyncChannel | undefined {
    const reason = whyNoDialSync();
    if (reason !== undefined) throw cannotBlock(call, reason);
    // Deferred sends of other ends must leave too: a peer may wait for them, and the event loop does not run.
    for (const end of unopenedEnds) if (end === this || end.#deferredSends.length > 0) end.#openSync(deadline);
    const channel = this.#channel;
    // A closed channel does not block, because the receive queue holds the end.
    if (channel !== undefined && !channel.upgradeSync(deadline) && !channel.closed) {
      if (performance.now() >= deadline) return undefined;
      throw cannotBlock(
        call,
        "the connection was used with await before, and this runtime cannot read its socket without the event loop",
      );
    }
    this.#requestMessage();
    return channel;
  }

  endpoint(): PipeEndAddress["endpoint"] {
    return this.#address.endpoint;
  }

  close(): void {
    this.#isClosed = true;
    this.#whenOpen((channel) => {
      if (this.#isShared) {
        this.#returnFrames(channel, this.receiveQueue.takeAll());
        channel.sendBytes(RETURNED, NO_BYTES);
      }
      channel.end();
    });
  }

  async #open(): Promise<void> {
    try {
      const channel = await dial(this.#address.endpoint, PEER_NAME);
      if (this.#channel === undefined) this.#attachChannel(channel);
      else channel.destroy(); // a blocking call has opened another one
    } catch (error) {
      if (this.#channel === undefined) this.#handleEnd(error as Error);
    }
  }

  #openSync(deadline: number): void {
    try {
      const channel = dialSync(this.#address.endpoint, PEER_NAME, deadline);
      if (channel !== undefined) this.#attachChannel(channel);
    } catch (error) {
      this.#handleEnd(error as Error);
    }
  }

  #attachChannel(channel: SyncChannel): void {
    channel.send(ATTACH, this.#address.claim);
    channel.start({
      message: (frame) => this.#handleFrame(channel, frame),
      closed: (reason) => this.#handleEnd(reason),
    });
    this.#channel = channel;
    unopenedEnds.delete(this);
    if (this.receiveQueue.awaitedCount > 0) channel.ref();
    for (const run of this.#deferredSends.splice(0)) run(channel);
  }

  #handleFrame(channel: Channel, frame: Frame): void {
    switch (frame.kind) {
      case VALUE:
      case BYTES: {
        this.#requestedCount = Math.max(0, this.#requestedCount - 1);
        if (this.#isHandedOver) return this.#returnFrames(channel, [frame]);
        this.receiveQueue.push(frame);
        if (this.receiveQueue.isFull) channel.pause();
        return;
      }
      case SHARE: {
        this.#isShared = true;
        this.#returnFrames(channel, this.receiveQueue.takeAll());
        channel.sendBytes(RETURNED, NO_BYTES);
        for (const resolve of this.#returnWaiters.splice(0)) resolve();
        this.#requestedCount = 0;
        for (let i = this.receiveQueue.awaitedCount; i > 0; i--) this.#requestMessage();
        return;
      }
      case END:
        return this.receiveQueue.end();
      case REOPENED:
        this.brokenError = undefined;
        if (!this.#isClosed) this.receiveQueue.reopen();
        return;
      case BROKEN:
        this.brokenError ??= noHolderError();
        return;
    }
  }

  #returnFrames(channel: Channel, frames: readonly Frame[]): void {
    for (const frame of frames) channel.forward(RETURN + frame.kind, frame);
  }

  #requestMessage(): void {
    if (!this.#isShared || this.#channel === undefined || this.#channel.closed) return;
    if (this.#requestedCount >= Math.max(1, this.receiveQueue.waiterCount)) return;
    this.#requestedCount += 1;
    this.#channel.sendBytes(GET, NO_BYTES);
  }

  #handleEnd(cause: Error | undefined): void {
    unopenedEnds.delete(this);
    this.brokenError ??= new BrokenPipeError(
      "send() failed: the process that owns the pipe has ended",
      cause === undefined ? {} : { cause },
    );
    for (const resolve of this.#returnWaiters.splice(0)) resolve();
    this.receiveQueue.end(cause);
  }

  #whenOpen(run: (channel: Channel) => void): void {
    if (this.#channel === undefined) this.#deferredSends.push(run);
    else if (!this.#channel.closed) run(this.#channel);
  }
}

/** A connection in encoded form, as part of a message. */
export type HandleData = [
  socketPath: string,
  token: string,
  claim: string,
  readable: boolean,
  writable: boolean,
  carriesValues: boolean,
];

/** Returns the end that a received connection uses. */
export function remoteEndFor([socketPath, token, claim]: HandleData): RemoteEnd {
  return new RemoteEnd({ endpoint: { socketPath, token }, claim });
}
