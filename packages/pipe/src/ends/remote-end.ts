/** A side of a pipe whose home is another process; see `protocol.ts`. */
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
import { BrokenPipeError } from "../errors.ts";
import {
  ATTACH,
  BROKEN,
  BYTES,
  CANCEL_HAND_OVER,
  END,
  GET,
  HAND_OVER,
  REOPENED,
  RETURN,
  RETURNED,
  SHARE,
  VALUE,
} from "../protocol.ts";
import { cannotBlock } from "./blocking.ts";
import type { PipeEnd, PipeEndAddress } from "./pipe-end.ts";
import { ReceiveQueue } from "./receive-queue.ts";

/** What it leads to, for errors. */
const PEER_NAME = "the other end of this pipe";

/** Links that have no channel yet. */
const unopenedEnds = new Set<RemoteEnd>();
afterForkInChild(() => unopenedEnds.clear());

/** The link of a connection that was handed to this process. */
export class RemoteEnd implements PipeEnd {
  brokenError: Error | undefined;
  readonly receiveQueue: ReceiveQueue = new ReceiveQueue({
    waiterAdded: () => this.#requestMessage(),
    waitersChanged: (isWaiting) => (isWaiting ? this.#channel?.ref() : this.#channel?.unref()),
    drained: () => this.#channel?.resume(),
  });
  readonly #address: PipeEndAddress;
  #channel: SyncChannel | undefined;
  /** What was sent before the channel was open. */
  #deferredSends: Array<(channel: Channel) => void> = [];
  /** Whether memory of the callers waits for the channel. */
  #hasBorrowedMemory = false;
  readonly #opened: Promise<void>;
  #isShared = false;
  #isHandedOver = false;
  #isClosed = false;
  #requestedCount = 0;
  #claimCount = 0;
  /** Those who wait until nothing that was pushed here is left here. */
  readonly #returnWaiters: Array<() => void> = [];

  constructor(address: PipeEndAddress) {
    this.#address = address;
    unopenedEnds.add(this);
    this.#opened = this.#open();
    pendingWork.add(this.#opened);
  }

  get full(): boolean {
    return this.#channel?.full ?? (this.#hasBorrowedMemory || this.#deferredSends.length > 1000);
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
    // What a getter of the value has asked for comes behind it.
    this.#deferredSends.splice(index, 0, (channel) => channel.forward(VALUE, frame, true));
    commit(undefined);
    return !this.full;
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

  /** Every message and request tells the home anyway. */
  markUsed(): void {
    this.#isHandedOver = false;
  }

  prepareHandOver(): { data: PipeEndAddress; commit: (scope: DeliveryScope | undefined) => void } {
    const claim = `${host.pid}.${this.#address.claim}.${++this.#claimCount}`;
    const commit = (scope: DeliveryScope | undefined): void => {
      this.#isHandedOver = true;
      this.#isShared = true;
      this.#whenOpen((channel) => {
        this.#returnFrames(channel, this.receiveQueue.takeAll());
        channel.send(HAND_OVER, claim);
      });
      // What is on its way to here must go back before this process may end.
      pendingWork.add(new Promise<void>((resolve) => this.#returnWaiters.push(resolve)));
      scope?.onEnd(() => this.#whenOpen((channel) => channel.send(CANCEL_HAND_OVER, claim)));
    };
    return { data: { endpoint: this.#address.endpoint, claim }, commit };
  }

  blockingChannel(call: string, deadline: number): SyncChannel | undefined {
    const reason = whyNoDialSync();
    if (reason !== undefined) throw cannotBlock(call, reason);
    // What was sent before through others must leave too: somebody may wait for it, and the event loop does not turn.
    for (const end of unopenedEnds) if (end === this || end.#deferredSends.length > 0) end.#openSync(deadline);
    const channel = this.#channel;
    // One that has ended, also just now, does not block: the inbox tells of it.
    if (channel !== undefined && !channel.upgradeSync(deadline) && !channel.closed) {
      if (performance.now() >= deadline) return undefined;
      throw cannotBlock(
        call,
        "the connection was used with await before, and this host cannot read its socket otherwise",
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
        channel.sendBytes(RETURNED, new Uint8Array(0));
      }
      channel.end();
    });
  }

  async #open(): Promise<void> {
    try {
      const channel = await dial(this.#address.endpoint, PEER_NAME);
      if (this.#channel === undefined) this.#attachChannel(channel);
      else channel.destroy(); // a call that blocks could not wait for this one
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
    if (this.receiveQueue.waiterCount > 0) channel.ref();
    for (const run of this.#deferredSends.splice(0)) run(channel);
  }

  #handleFrame(channel: Channel, frame: Frame): void {
    switch (frame.kind) {
      case VALUE:
      case BYTES: {
        this.#requestedCount = Math.max(0, this.#requestedCount - 1);
        if (this.#isHandedOver) return this.#returnFrames(channel, [frame]);
        this.receiveQueue.push(frame);
        if (this.receiveQueue.full) channel.pause();
        return;
      }
      case SHARE: {
        this.#isShared = true;
        this.#returnFrames(channel, this.receiveQueue.takeAll());
        channel.sendBytes(RETURNED, new Uint8Array(0));
        for (const resolve of this.#returnWaiters.splice(0)) resolve();
        this.#requestedCount = 0;
        for (let i = this.receiveQueue.waiterCount; i > 0; i--) this.#requestMessage();
        return;
      }
      case END:
        return this.receiveQueue.end();
      case REOPENED:
        this.brokenError = undefined;
        if (!this.#isClosed) this.receiveQueue.reopen();
        return;
      case BROKEN:
        this.brokenError ??= new BrokenPipeError("send() on a pipe whose other end is closed in every process");
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
    this.#channel.sendBytes(GET, new Uint8Array(0));
  }

  #handleEnd(cause: Error | undefined): void {
    unopenedEnds.delete(this);
    this.brokenError ??= new BrokenPipeError(
      "send() on a pipe whose home process is gone",
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
