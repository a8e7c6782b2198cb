/**
 * A pipe end in its owner process. It carries the messages of all its holders; see `protocol.ts`.
 *
 * `deliver()` gets each message that was sent to this end. It pushes the message to the only holder,
 * or queues it until a holder requests it. The owner's own connection uses this class as its `PipeEnd`.
 */
import { ProtocolError } from "@multiproc/core";
import {
  type Channel,
  closeEndpoint,
  type DeliveryScope,
  decodeMessage,
  type EndpointAddress,
  encodeMessage,
  exposeEndpoint,
  Frame,
  type SyncChannel,
  whyNoSharedMemory,
} from "@multiproc/core/internal";
import { noHolderError } from "../errors.ts";
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
import { type Holder, HolderSet, notifyHolder } from "./holder-set.ts";
import type { HandOver, PipeEnd } from "./pipe-end.ts";
import { ReceiveQueue } from "./receive-queue.ts";

/** Creates the two ends of a pipe. This process becomes their owner. */
export function createEnds(): [LocalEnd, LocalEnd] {
  const ends: [LocalEnd, LocalEnd] = [new LocalEnd(), new LocalEnd()];
  ends[0].connectTo(ends[1]);
  ends[1].connectTo(ends[0]);
  return ends;
}

/** Creates a pipe whose other end is held by the peer of `channel`, and returns this end. */
export function endForChannel(channel: Channel): LocalEnd {
  const [end, other] = createEnds();
  other.handToPeer(channel);
  return end;
}

export class LocalEnd implements PipeEnd {
  readonly receiveQueue: ReceiveQueue = new ReceiveQueue({
    waiterAdded: () => this.#makeShared(),
    waitersChanged: (isWaiting) => this.#other.#holders.keepAlive(isWaiting),
    drained: () => this.#other.resumeSenders(),
  });
  #other!: LocalEnd;
  /** Whether the owner's own connection counts as a holder. */
  #isOpenHere = true;
  /** The last state that was reported to the holders of the other end. */
  #reportedOpen = true;
  readonly #holders = new HolderSet();
  #endpoint: EndpointAddress | undefined;
  /** The only holder: messages are pushed to it. Undefined if the end has no remote holder, or is shared. */
  #pushTarget: Holder | undefined;
  /** Whether the end has ever had a second receiver, or was handed over by a holder. It is never reset. */
  #isShared = false;
  /** The former push target, until it has returned its unread messages. Until then, nothing is delivered. */
  #pendingRecall: { readonly holder: Holder; readonly frames: Frame[] } | undefined;
  #drainWaiters: Array<() => void> = [];

  connectTo(other: LocalEnd): void {
    this.#other = other;
  }

  /** Makes the peer of `channel` the only holder of this end. No other holder can attach. */
  handToPeer(channel: Channel): void {
    this.#isOpenHere = false;
    this.#pushTarget = { channel, isExternal: true, countsAsOpen: true, requestedCount: 0 };
    this.#holders.add(this.#pushTarget);
    this.#startReceiving(this.#pushTarget);
  }

  get brokenError(): Error | undefined {
    // Each send reads this, so the stored state is checked before the computed one.
    return this.#other.#reportedOpen || this.#other.isOpen ? undefined : noHolderError();
  }

  get isFull(): boolean {
    return this.#other.isReceiverFull;
  }

  drained(): Promise<void> {
    const target = this.#other.#pushTarget;
    if (target !== undefined) return target.channel.drained();
    return this.isFull ? new Promise((resolve) => this.#drainWaiters.push(resolve)) : Promise.resolve();
  }

  send(value: unknown, corked = false): boolean {
    const target = this.#other.#pushTarget;
    if (target !== undefined && this.#other.receiveQueue.size === 0) {
      return target.channel.send(VALUE, value, "value", target.channel, corked);
    }
    const { frame, commit } = encodeMessage(value, "value");
    // Large parts are the caller's memory. They are copied, because the caller may reuse it while the frame is queued.
    const parts = frame.parts.map((part) => part.slice());
    this.#other.deliver(new Frame(VALUE, frame.bytes, frame.start, frame.end, parts, frame.modules));
    commit(undefined);
    return !this.isFull;
  }

  flush(): void {
    this.#other.#pushTarget?.channel.flush();
  }

  sendBytes(bytes: Uint8Array): void {
    const target = this.#other.#pushTarget;
    if (target !== undefined && this.#other.receiveQueue.size === 0) target.channel.sendBytes(BYTES, bytes);
    else this.#other.deliver(new Frame(BYTES, bytes.slice(), 0, bytes.length, [], []));
  }

  decode(frame: Frame): unknown {
    return decodeMessage(frame);
  }

  markUsed(): void {
    if (this.#isOpenHere) return;
    this.#isOpenHere = true;
    this.#updateOpenState();
  }

  prepareHandOver(): HandOver {
    const endpoint = this.endpoint();
    const claim = this.#holders.nextClaim();
    const commit = (scope: DeliveryScope | undefined): void => {
      this.#holders.expectClaim(claim);
      this.#isOpenHere = false;
      scope?.onEnd(() => this.#expireClaim(claim));
      this.#updateOpenState();
    };
    return { address: { endpoint, claim }, commit };
  }

  endpoint(): EndpointAddress {
    this.#endpoint ??= exposeEndpoint((channel) => this.#accept(channel), { multiple: true });
    return this.#endpoint;
  }

  close(): void {
    this.#isOpenHere = false;
    if (this.#endpoint !== undefined && !this.isOpen) closeEndpoint(this.#endpoint);
    this.#updateOpenState();
  }

  blockingChannel(call: string): SyncChannel | undefined {
    const [holder, ...others] = this.#other.#holders.all;
    const channel = holder?.channel as SyncChannel | undefined;
    if (channel?.canBlock !== true || others.length > 0)
      throw cannotBlock(
        call,
        whyNoSharedMemory() ??
          "this process owns the pipe, and the other end is not held by one process that blocks too or has sent many messages",
      );
    return channel;
  }

  /** Whether the end has a holder, or will have one. */
  get isOpen(): boolean {
    return this.#isOpenHere || this.#holders.isOpen;
  }

  /** Whether senders to this end should wait. */
  get isReceiverFull(): boolean {
    return this.#pushTarget !== undefined && this.#pendingRecall === undefined
      ? this.#pushTarget.channel.full
      : this.receiveQueue.isFull;
  }

  /** Delivers a message that was sent to this end. */
  deliver(frame: Frame): void {
    const target = this.#pushTarget;
    if (target !== undefined && this.#pendingRecall === undefined && this.receiveQueue.size === 0) {
      if (!target.channel.closed) target.channel.forward(frame.kind, frame);
      return;
    }
    this.receiveQueue.push(frame);
    this.#deliverRequested();
  }

  /** Resumes the senders of this end, because the other end has room again. */
  resumeSenders(): void {
    for (const resolve of this.#drainWaiters.splice(0)) resolve();
    this.#holders.resume();
  }

  /** Handles that the other end lost its last holder. Messages that arrived before can still be received. */
  otherClosed(cause: Error | undefined): void {
    this.receiveQueue.end(cause);
    for (const holder of this.#holders.all) {
      if (holder.isExternal) holder.channel.end();
      else notifyHolder(holder, BROKEN);
    }
    if (this.#pushTarget !== undefined && this.receiveQueue.size === 0) notifyHolder(this.#pushTarget, END);
    this.#deliverRequested();
    for (const resolve of this.#drainWaiters.splice(0)) resolve();
  }

  /** Handles that the other end has a holder again. */
  otherReopened(): void {
    this.receiveQueue.reopen();
    for (const holder of this.#holders.all) notifyHolder(holder, REOPENED);
  }

  #accept(channel: Channel): void {
    this.#startReceiving({ channel, isExternal: false, countsAsOpen: false, requestedCount: 0 });
  }

  #startReceiving(holder: Holder): void {
    holder.channel.start({
      message: (frame) => this.#handleFrame(holder, frame),
      closed: (reason) => this.#removeHolder(holder, reason),
    });
  }

  #handleFrame(holder: Holder, frame: Frame): void {
    if (holder.isExternal && frame.kind !== VALUE && frame.kind !== BYTES)
      throw new ProtocolError(`Unexpected frame of kind ${frame.kind} from the peer of a connection`);
    switch (frame.kind) {
      case VALUE:
      case BYTES:
        holder.countsAsOpen = true;
        return this.#forwardToOther(holder, frame);
      case RETURN + VALUE:
      case RETURN + BYTES:
        this.#pendingRecall ??= { holder, frames: [] };
        this.#pendingRecall.frames.push(
          new Frame(frame.kind - RETURN, frame.bytes, frame.start, frame.end, frame.parts, frame.modules),
        );
        return;
      case GET:
        holder.countsAsOpen = true;
        holder.requestedCount += 1;
        return this.#deliverRequested();
      case RETURNED:
        return this.#restoreReturned(holder);
      case HAND_OVER:
        holder.countsAsOpen = false;
        this.#holders.expectClaim(holder.channel.decode(frame) as string);
        this.#recallPushed(holder);
        return this.#updateOpenState();
      case ATTACH:
        return this.#attach(holder, holder.channel.decode(frame) as string);
      case CANCEL_HAND_OVER:
        return this.#expireClaim(holder.channel.decode(frame) as string);
    }
  }

  /** Delivers a message of a holder to the other end, and pauses the holder if that end is full. */
  #forwardToOther(holder: Holder, frame: Frame): void {
    const other = this.#other;
    if (!other.isOpen) return notifyHolder(holder, BROKEN);
    other.deliver(frame);
    if (!other.isReceiverFull) return;
    holder.channel.pause();
    void other.#pushTarget?.channel.drained().then(() => holder.channel.resume());
  }

  #attach(holder: Holder, claim: string): void {
    if (claim !== "") this.#holders.useClaim(claim); // a forked child attaches without a claim
    holder.countsAsOpen = true;
    this.#holders.add(holder);
    const isOnlyHolder =
      this.#holders.all.size === 1 && !this.#holders.hasClaims && !this.#isOpenHere && !this.#isShared;
    if (isOnlyHolder) {
      this.#pushTarget = holder;
      for (const frame of this.receiveQueue.takeAll()) holder.channel.forward(frame.kind, frame);
      if (this.receiveQueue.hasEnded) notifyHolder(holder, END);
    } else {
      notifyHolder(holder, SHARE);
      this.#makeShared();
    }
    this.#updateOpenState();
  }

  /** Stops pushing, because there is a second receiver, in this process or another. */
  #makeShared(): void {
    if (this.#holders.all.size === 0) return;
    this.#isShared = true;
    if (this.#pushTarget !== undefined) this.#recallPushed(this.#pushTarget);
  }

  #recallPushed(holder: Holder): void {
    this.#isShared = true;
    if (this.#pushTarget === holder) {
      this.#pushTarget = undefined;
      this.#pendingRecall ??= { holder, frames: [] };
    }
    notifyHolder(holder, SHARE);
  }

  /** Puts returned messages back in front of all others, and resumes delivery. */
  #restoreReturned(holder: Holder): void {
    if (this.#pendingRecall?.holder !== holder) return;
    const { frames } = this.#pendingRecall;
    this.#pendingRecall = undefined;
    this.receiveQueue.unshift(frames);
    this.#updateOpenState();
    this.#deliverRequested();
  }

  #deliverRequested(): void {
    if (this.#pendingRecall === undefined) this.#holders.deliverRequested(this.receiveQueue);
  }

  #removeHolder(holder: Holder, reason: Error | undefined): void {
    holder.countsAsOpen = false;
    this.#holders.delete(holder);
    if (this.#pushTarget === holder) this.#pushTarget = undefined;
    this.#restoreReturned(holder);
    this.#updateOpenState(reason);
  }

  #expireClaim(claim: string): void {
    const isAwaited = this.#other.receiveQueue.waiterCount > 0;
    this.#holders.expireClaim(claim, isAwaited, () => this.#updateOpenState());
  }

  /** Reports to the other end that the last holder has left, and why, or that a holder is back. */
  #updateOpenState(reason?: Error): void {
    const { isOpen } = this;
    if (isOpen === this.#reportedOpen) return;
    this.#reportedOpen = isOpen;
    if (isOpen) this.#other.otherReopened();
    else this.#other.otherClosed(reason);
  }
}
