/** The home of a pipe: its two sides and their holders; see `protocol.ts`. */
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
  host,
  KeepAlive,
  type SyncChannel,
  whyNoSharedMemory,
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

/** How long a ticket stays good after the process it was sent to has ended: it may have dialed just before. */
const CLAIM_GRACE_MS = 1000;

/** A channel to another process that holds this side. */
interface Holder {
  readonly channel: Channel;
  /** Whether it is of another family of processes: it holds the side alone and for good, and sends messages and nothing else. */
  readonly isExternal: boolean;
  /** Whether it counts: not after it handed the side on, until it is used again. */
  countsAsOpen: boolean;
  /** How many messages it asked for and did not get yet. */
  requested: number;
}

/** Makes the two sides of a pipe in this process. */
export function createEnds(): [LocalEnd, LocalEnd] {
  const ends: [LocalEnd, LocalEnd] = [new LocalEnd(), new LocalEnd()];
  ends[0].connectTo(ends[1]);
  ends[1].connectTo(ends[0]);
  return ends;
}

/** Makes a side of a pipe whose other side is held by who is at the other end of a channel. */
export function endForChannel(channel: Channel): LocalEnd {
  const [end, other] = createEnds();
  other.handToPeer(channel);
  return end;
}

/** One side of a pipe, at home. It is also the link of the home's own connection to it. */
export class LocalEnd implements PipeEnd {
  readonly receiveQueue: ReceiveQueue = new ReceiveQueue({
    waiterAdded: () => this.#makeShared(),
    waitersChanged: (isWaiting) => this.#other.keepAlive(isWaiting),
    drained: () => this.#other.resumeSenders(),
  });
  #other!: LocalEnd;
  /** Whether this process's own connection counts as a holder. */
  #isOpenHere = true;
  /** Whether the other side was last told that there are holders here. */
  #reportedOpen = true;
  readonly #holders = new Set<Holder>();
  readonly #claims = new Set<string>();
  /** The tickets whose holders came before the news that they were handed out. */
  readonly #claimedEarly = new Set<string>();
  #endpoint: EndpointAddress | undefined;
  #claimCount = 0;
  /** The one holder that messages are pushed to, while the side is not shared. */
  #pushTarget: Holder | undefined;
  #isShared = false;
  /** The holder that gives back what was pushed to it; until it has, nothing goes out. */
  #pendingRecall: { holder: Holder; frames: Frame[] } | undefined;
  #isKeptAlive = false;
  readonly #claimKeepAlive = new KeepAlive();
  #drainWaiters: Array<() => void> = [];

  connectTo(other: LocalEnd): void {
    this.#other = other;
  }

  /** Gives this side away for good. */
  handToPeer(channel: Channel): void {
    this.#isOpenHere = false;
    this.#pushTarget = { channel, isExternal: true, countsAsOpen: true, requested: 0 };
    this.#holders.add(this.#pushTarget);
    this.#startReceiving(this.#pushTarget);
  }

  get brokenError(): Error | undefined {
    // Asked for each message: what was last found is the shorter way.
    if (this.#other.#reportedOpen || this.#other.isOpen) return undefined;
    return new BrokenPipeError("send() on a pipe whose other end is closed in every process");
  }

  get full(): boolean {
    return this.#other.isFull;
  }

  drained(): Promise<void> {
    const target = this.#other.#pushTarget;
    if (target !== undefined) return target.channel.drained();
    return this.full ? new Promise((resolve) => this.#drainWaiters.push(resolve)) : Promise.resolve();
  }

  send(value: unknown, corked = false): boolean {
    const target = this.#other.#pushTarget;
    if (target !== undefined && this.#other.receiveQueue.size === 0) {
      return target.channel.send(VALUE, value, "value", target.channel, corked);
    }
    const { frame, commit } = encodeMessage(value, "value");
    // Small parts were copied when the value was encoded; large ones are the caller's memory, and wait here.
    const parts = frame.parts.map((part) => part.slice());
    this.#other.deliver(new Frame(VALUE, frame.bytes, frame.start, frame.end, parts, frame.modules));
    commit(undefined);
    return !this.full;
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

  prepareHandOver(): { data: PipeEndAddress; commit: (scope: DeliveryScope | undefined) => void } {
    const endpoint = this.endpoint();
    const claim = `h${++this.#claimCount}`;
    const commit = (scope: DeliveryScope | undefined): void => {
      this.#expectClaim(claim);
      this.#isOpenHere = false;
      scope?.onEnd(() => this.#expireClaim(claim));
      this.#updateOpenState();
    };
    return { data: { endpoint, claim }, commit };
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
    const [holder, ...others] = this.#other.#holders;
    const channel = holder?.channel as SyncChannel | undefined;
    if (channel?.canBlock !== true || others.length > 0)
      throw cannotBlock(
        call,
        whyNoSharedMemory() ??
          "this process made the pipe, and the other end is not with one process alone that blocks too or has been busy on it",
      );
    return channel;
  }

  /** Whether anybody could still use this side. */
  get isOpen(): boolean {
    if (this.#isOpenHere || this.#claims.size > 0) return true;
    for (const holder of this.#holders) if (holder.countsAsOpen) return true;
    return false;
  }

  /** Whether who sends to this side should wait. */
  get isFull(): boolean {
    return this.#pushTarget !== undefined && this.#pendingRecall === undefined
      ? this.#pushTarget.channel.full
      : this.receiveQueue.full;
  }

  /** Takes a message for this side. */
  deliver(frame: Frame): void {
    const target = this.#pushTarget;
    if (target !== undefined && this.#pendingRecall === undefined && this.receiveQueue.size === 0) {
      if (!target.channel.closed) target.channel.forward(frame.kind, frame);
      return;
    }
    this.receiveQueue.push(frame);
    this.#deliverRequested();
  }

  /** Someone here waits for what the holders of this side send. */
  keepAlive(isWaiting: boolean): void {
    this.#isKeptAlive = isWaiting;
    for (const { channel } of this.#holders) isWaiting ? channel.ref() : channel.unref();
    this.#keepAliveForClaims();
  }

  /** Nothing else of the system may stand for those who are still to come. */
  #keepAliveForClaims(): void {
    this.#claimKeepAlive.active = this.#isKeptAlive && this.#claims.size > 0;
  }

  /** The other side can take more. */
  resumeSenders(): void {
    for (const resolve of this.#drainWaiters.splice(0)) resolve();
    for (const { channel } of this.#holders) channel.resume();
  }

  /** Nobody holds the other side any more: what is there can still be received. */
  otherClosed(cause: Error | undefined): void {
    this.receiveQueue.end(cause);
    for (const holder of this.#holders) {
      if (holder.isExternal) holder.channel.end();
      else this.#notifyHolder(holder, BROKEN);
    }
    if (this.#pushTarget !== undefined && this.receiveQueue.size === 0) this.#notifyHolder(this.#pushTarget, END);
    this.#deliverRequested();
    for (const resolve of this.#drainWaiters.splice(0)) resolve();
  }

  /** Somebody holds the other side again. */
  otherReopened(): void {
    this.receiveQueue.reopen();
    for (const holder of this.#holders) this.#notifyHolder(holder, REOPENED);
  }

  #accept(channel: Channel): void {
    this.#startReceiving({ channel, isExternal: false, countsAsOpen: false, requested: 0 });
  }

  #startReceiving(holder: Holder): void {
    holder.channel.start({
      message: (frame) => this.#handleFrame(holder, frame),
      closed: (reason) => this.#removeHolder(holder, reason),
    });
  }

  #handleFrame(holder: Holder, frame: Frame): void {
    if (holder.isExternal && frame.kind !== VALUE && frame.kind !== BYTES)
      throw new ProtocolError("The other side of a connection sent what is no message");
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
        holder.requested += 1;
        return this.#deliverRequested();
      case RETURNED:
        return this.#restoreReturned(holder);
      case HAND_OVER:
        holder.countsAsOpen = false;
        this.#expectClaim(holder.channel.decode(frame) as string);
        this.#recallPushed(holder);
        return this.#updateOpenState();
      case ATTACH:
        return this.#attach(holder, holder.channel.decode(frame) as string);
      case CANCEL_HAND_OVER:
        return this.#expireClaim(holder.channel.decode(frame) as string);
    }
  }

  /** A holder of this side sent a message to the other. */
  #forwardToOther(holder: Holder, frame: Frame): void {
    const other = this.#other;
    if (!other.isOpen) return this.#notifyHolder(holder, BROKEN);
    other.deliver(frame);
    if (!other.isFull) return;
    holder.channel.pause();
    void other.#pushTarget?.channel.drained().then(() => holder.channel.resume());
  }

  #attach(holder: Holder, claim: string): void {
    // A copy of a process comes without a ticket.
    if (claim !== "" && !this.#claims.delete(claim)) this.#claimedEarly.add(claim);
    this.#keepAliveForClaims();
    holder.countsAsOpen = true;
    this.#holders.add(holder);
    if (this.#isKeptAlive) holder.channel.ref();
    const isSoleHolder = this.#holders.size === 1 && this.#claims.size === 0 && !this.#isOpenHere && !this.#isShared;
    if (isSoleHolder) {
      this.#pushTarget = holder;
      for (const frame of this.receiveQueue.takeAll()) holder.channel.forward(frame.kind, frame);
      if (this.receiveQueue.ended) this.#notifyHolder(holder, END);
    } else {
      this.#notifyHolder(holder, SHARE);
      this.#makeShared();
    }
    this.#updateOpenState();
  }

  /** The one holder is alone no more: what was pushed to it comes back. */
  #makeShared(): void {
    if (this.#holders.size === 0) return;
    this.#isShared = true;
    if (this.#pushTarget !== undefined) this.#recallPushed(this.#pushTarget);
  }

  #recallPushed(holder: Holder): void {
    this.#isShared = true;
    if (this.#pushTarget === holder) {
      this.#pushTarget = undefined;
      this.#pendingRecall ??= { holder, frames: [] };
    }
    this.#notifyHolder(holder, SHARE);
  }

  #restoreReturned(holder: Holder): void {
    if (this.#pendingRecall?.holder !== holder) return;
    const { frames } = this.#pendingRecall;
    this.#pendingRecall = undefined;
    this.receiveQueue.unshift(frames);
    this.#updateOpenState();
    this.#deliverRequested();
  }

  /** Gives waiting messages to the holders that asked, in turn. */
  #deliverRequested(): void {
    if (this.#pendingRecall !== undefined) return;
    for (let delivered = true; delivered && this.receiveQueue.size > 0; ) {
      delivered = false;
      for (const holder of this.#holders) {
        if (holder.requested === 0 || holder.channel.closed) continue;
        const frame = this.receiveQueue.take();
        if (frame === undefined) return;
        holder.requested -= 1;
        holder.channel.forward(frame.kind, frame);
        delivered = true;
      }
    }
    if (this.receiveQueue.ended && this.receiveQueue.size === 0)
      for (const holder of this.#holders) if (holder.requested > 0) this.#notifyHolder(holder, END);
  }

  #removeHolder(holder: Holder, reason: Error | undefined): void {
    holder.countsAsOpen = false;
    this.#holders.delete(holder);
    if (this.#pushTarget === holder) this.#pushTarget = undefined;
    this.#restoreReturned(holder);
    this.#updateOpenState(reason);
  }

  #expectClaim(claim: string): void {
    if (!this.#claimedEarly.delete(claim)) this.#claims.add(claim);
    this.#keepAliveForClaims();
  }

  #expireClaim(claim: string): void {
    if (!this.#claims.has(claim)) return;
    host.timer(
      () => {
        if (!this.#claims.delete(claim)) return;
        this.#keepAliveForClaims();
        this.#updateOpenState();
      },
      CLAIM_GRACE_MS,
      this.#other.receiveQueue.waiterCount > 0,
    );
  }

  /** Tells the other side when the last holder has gone, and how, or one has come back. */
  #updateOpenState(reason?: Error): void {
    const isOpen = this.isOpen;
    if (isOpen === this.#reportedOpen) return;
    this.#reportedOpen = isOpen;
    if (isOpen) this.#other.otherReopened();
    else this.#other.otherClosed(reason);
  }

  #notifyHolder(holder: Holder, kind: number): void {
    if (!holder.channel.closed && !holder.isExternal) holder.channel.sendBytes(kind, NO_BYTES);
  }
}

const NO_BYTES = new Uint8Array(0);
