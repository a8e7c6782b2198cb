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
import { ATTACH, BROKEN, BYTES, END, GET, HAND, RETURN, RETURNED, REVIVED, SHARE, VALUE, VOID } from "../protocol.ts";
import { cannotBlock } from "./blocking.ts";
import type { Link, SideAddress } from "./pipe-end.ts";
import { Inbox } from "./receive-queue.ts";

/** How long a ticket stays good after the process it was sent to has ended: it may have dialed just before. */
const TICKET_GRACE = 1000;

/** A channel to another process that holds this side. */
interface Holder {
  readonly channel: Channel;
  /** Whether it is of another family of processes: it holds the side alone and for good, and sends messages and nothing else. */
  readonly isPeer: boolean;
  /** Whether it counts: not after it handed the side on, until it is used again. */
  holds: boolean;
  /** How many messages it asked for and did not get yet. */
  wanted: number;
}

/** Makes the two sides of a pipe in this process. */
export function makeSides(): [Side, Side] {
  const sides: [Side, Side] = [new Side(), new Side()];
  sides[0].join(sides[1]);
  sides[1].join(sides[0]);
  return sides;
}

/** Makes a side of a pipe whose other side is held by who is at the other end of a channel. */
export function makeSideOf(channel: Channel): Side {
  const [side, other] = makeSides();
  other.give(channel);
  return side;
}

/** One side of a pipe, at home. It is also the link of the home's own connection to it. */
export class Side implements Link {
  readonly inbox: Inbox = new Inbox({
    demand: () => this.#share(),
    waiting: (isWaiting) => this.#other.keepAlive(isWaiting),
    room: () => this.#other.makeRoom(),
  });
  #other!: Side;
  /** Whether this process's own connection counts as a holder. */
  #holdsHere = true;
  /** Whether the other side was last told that there are holders here. */
  #isHeld = true;
  readonly #holders = new Set<Holder>();
  readonly #tickets = new Set<string>();
  /** The tickets whose holders came before the news that they were handed out. */
  readonly #early = new Set<string>();
  #invitation: EndpointAddress | undefined;
  #ticketCount = 0;
  /** The one holder that messages are pushed to, while the side is not shared. */
  #pushTo: Holder | undefined;
  #isShared = false;
  /** The holder that gives back what was pushed to it; until it has, nothing goes out. */
  #returning: { holder: Holder; frames: Frame[] } | undefined;
  #keepsAlive = false;
  readonly #stay = new KeepAlive();
  #drained: Array<() => void> = [];

  join(other: Side): void {
    this.#other = other;
  }

  /** Gives this side away for good. */
  give(channel: Channel): void {
    this.#holdsHere = false;
    this.#pushTo = { channel, isPeer: true, holds: true, wanted: 0 };
    this.#holders.add(this.#pushTo);
    this.#listen(this.#pushTo);
  }

  get broken(): Error | undefined {
    // Asked for each message: what was last found is the shorter way.
    if (this.#other.#isHeld || this.#other.hasHolders) return undefined;
    return new BrokenPipeError("send() on a pipe whose other end is closed in every process");
  }

  get full(): boolean {
    return this.#other.isFull;
  }

  drained(): Promise<void> {
    const target = this.#other.#pushTo;
    if (target !== undefined) return target.channel.drained();
    return this.full ? new Promise((resolve) => this.#drained.push(resolve)) : Promise.resolve();
  }

  send(value: unknown, gathers = false): boolean {
    const target = this.#other.#pushTo;
    if (target !== undefined && this.#other.inbox.size === 0) {
      return target.channel.send(VALUE, value, "value", target.channel, gathers);
    }
    const { frame, commit } = encodeMessage(value, "value");
    // Small parts were copied when the value was encoded; large ones are the caller's memory, and wait here.
    const parts = frame.parts.map((part) => part.slice());
    this.#other.deliver(new Frame(VALUE, frame.bytes, frame.start, frame.end, parts, frame.modules));
    commit(undefined);
    return !this.full;
  }

  flush(): void {
    this.#other.#pushTo?.channel.flush();
  }

  sendBytes(bytes: Uint8Array): void {
    const target = this.#other.#pushTo;
    if (target !== undefined && this.#other.inbox.size === 0) target.channel.sendBytes(BYTES, bytes);
    else this.#other.deliver(new Frame(BYTES, bytes.slice(), 0, bytes.length, [], []));
  }

  decode(frame: Frame): unknown {
    return decodeMessage(frame);
  }

  claim(): void {
    if (this.#holdsHere) return;
    this.#holdsHere = true;
    this.#settle();
  }

  address(): { data: SideAddress; commit: (carrier: DeliveryScope | undefined) => void } {
    const invitation = this.invitation();
    const ticket = `h${++this.#ticketCount}`;
    const commit = (carrier: DeliveryScope | undefined): void => {
      this.#expect(ticket);
      this.#holdsHere = false;
      carrier?.onEnd(() => this.#voidLater(ticket));
      this.#settle();
    };
    return { data: { invitation, ticket }, commit };
  }

  invitation(): EndpointAddress {
    this.#invitation ??= exposeEndpoint((channel) => this.#accept(channel), { multiple: true });
    return this.#invitation;
  }

  close(): void {
    this.#holdsHere = false;
    if (this.#invitation !== undefined && !this.hasHolders) closeEndpoint(this.#invitation);
    this.#settle();
  }

  block(call: string): SyncChannel | undefined {
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
  get hasHolders(): boolean {
    if (this.#holdsHere || this.#tickets.size > 0) return true;
    for (const holder of this.#holders) if (holder.holds) return true;
    return false;
  }

  /** Whether who sends to this side should wait. */
  get isFull(): boolean {
    return this.#pushTo !== undefined && this.#returning === undefined ? this.#pushTo.channel.full : this.inbox.full;
  }

  /** Takes a message for this side. */
  deliver(frame: Frame): void {
    const target = this.#pushTo;
    if (target !== undefined && this.#returning === undefined && this.inbox.size === 0) {
      if (!target.channel.closed) target.channel.forward(frame.kind, frame);
      return;
    }
    this.inbox.push(frame);
    this.#serve();
  }

  /** Someone here waits for what the holders of this side send. */
  keepAlive(isWaiting: boolean): void {
    this.#keepsAlive = isWaiting;
    for (const { channel } of this.#holders) isWaiting ? channel.ref() : channel.unref();
    this.#stayForTickets();
  }

  /** Nothing else of the system may stand for those who are still to come. */
  #stayForTickets(): void {
    this.#stay.active = this.#keepsAlive && this.#tickets.size > 0;
  }

  /** The other side can take more. */
  makeRoom(): void {
    for (const resolve of this.#drained.splice(0)) resolve();
    for (const { channel } of this.#holders) channel.resume();
  }

  /** Nobody holds the other side any more: what is there can still be received. */
  end(cause: Error | undefined): void {
    this.inbox.end(cause);
    for (const holder of this.#holders) {
      if (holder.isPeer) holder.channel.end();
      else this.#tell(holder, BROKEN);
    }
    if (this.#pushTo !== undefined && this.inbox.size === 0) this.#tell(this.#pushTo, END);
    this.#serve();
    for (const resolve of this.#drained.splice(0)) resolve();
  }

  /** Somebody holds the other side again. */
  revive(): void {
    this.inbox.reopen();
    for (const holder of this.#holders) this.#tell(holder, REVIVED);
  }

  #accept(channel: Channel): void {
    this.#listen({ channel, isPeer: false, holds: false, wanted: 0 });
  }

  #listen(holder: Holder): void {
    holder.channel.start({
      message: (frame) => this.#take(holder, frame),
      closed: (reason) => this.#leave(holder, reason),
    });
  }

  #take(holder: Holder, frame: Frame): void {
    if (holder.isPeer && frame.kind !== VALUE && frame.kind !== BYTES)
      throw new ProtocolError("The other side of a connection sent what is no message");
    switch (frame.kind) {
      case VALUE:
      case BYTES:
        holder.holds = true;
        return this.#receive(holder, frame);
      case RETURN + VALUE:
      case RETURN + BYTES:
        this.#returning ??= { holder, frames: [] };
        this.#returning.frames.push(
          new Frame(frame.kind - RETURN, frame.bytes, frame.start, frame.end, frame.parts, frame.modules),
        );
        return;
      case GET:
        holder.holds = true;
        holder.wanted += 1;
        return this.#serve();
      case RETURNED:
        return this.#restore(holder);
      case HAND:
        holder.holds = false;
        this.#expect(holder.channel.decode(frame) as string);
        this.#recall(holder);
        return this.#settle();
      case ATTACH:
        return this.#attach(holder, holder.channel.decode(frame) as string);
      case VOID:
        return this.#voidLater(holder.channel.decode(frame) as string);
    }
  }

  /** A holder of this side sent a message to the other. */
  #receive(holder: Holder, frame: Frame): void {
    const other = this.#other;
    if (!other.hasHolders) return this.#tell(holder, BROKEN);
    other.deliver(frame);
    if (!other.isFull) return;
    holder.channel.pause();
    void other.#pushTo?.channel.drained().then(() => holder.channel.resume());
  }

  #attach(holder: Holder, ticket: string): void {
    // A copy of a process comes without a ticket.
    if (ticket !== "" && !this.#tickets.delete(ticket)) this.#early.add(ticket);
    this.#stayForTickets();
    holder.holds = true;
    this.#holders.add(holder);
    if (this.#keepsAlive) holder.channel.ref();
    const isAlone = this.#holders.size === 1 && this.#tickets.size === 0 && !this.#holdsHere && !this.#isShared;
    if (isAlone) {
      this.#pushTo = holder;
      for (const frame of this.inbox.takeAll()) holder.channel.forward(frame.kind, frame);
      if (this.inbox.ended) this.#tell(holder, END);
    } else {
      this.#tell(holder, SHARE);
      this.#share();
    }
    this.#settle();
  }

  /** The one holder is alone no more: what was pushed to it comes back. */
  #share(): void {
    if (this.#holders.size === 0) return;
    this.#isShared = true;
    if (this.#pushTo !== undefined) this.#recall(this.#pushTo);
  }

  #recall(holder: Holder): void {
    this.#isShared = true;
    if (this.#pushTo === holder) {
      this.#pushTo = undefined;
      this.#returning ??= { holder, frames: [] };
    }
    this.#tell(holder, SHARE);
  }

  #restore(holder: Holder): void {
    if (this.#returning?.holder !== holder) return;
    const { frames } = this.#returning;
    this.#returning = undefined;
    this.inbox.unshift(frames);
    this.#settle();
    this.#serve();
  }

  /** Gives waiting messages to the holders that asked, in turn. */
  #serve(): void {
    if (this.#returning !== undefined) return;
    for (let served = true; served && this.inbox.size > 0; ) {
      served = false;
      for (const holder of this.#holders) {
        if (holder.wanted === 0 || holder.channel.closed) continue;
        const frame = this.inbox.take();
        if (frame === undefined) return;
        holder.wanted -= 1;
        holder.channel.forward(frame.kind, frame);
        served = true;
      }
    }
    if (this.inbox.ended && this.inbox.size === 0)
      for (const holder of this.#holders) if (holder.wanted > 0) this.#tell(holder, END);
  }

  #leave(holder: Holder, reason: Error | undefined): void {
    holder.holds = false;
    this.#holders.delete(holder);
    if (this.#pushTo === holder) this.#pushTo = undefined;
    this.#restore(holder);
    this.#settle(reason);
  }

  #expect(ticket: string): void {
    if (!this.#early.delete(ticket)) this.#tickets.add(ticket);
    this.#stayForTickets();
  }

  #voidLater(ticket: string): void {
    if (!this.#tickets.has(ticket)) return;
    host.timer(
      () => {
        if (!this.#tickets.delete(ticket)) return;
        this.#stayForTickets();
        this.#settle();
      },
      TICKET_GRACE,
      this.#other.inbox.demand > 0,
    );
  }

  /** Tells the other side when the last holder has gone, and how, or one has come back. */
  #settle(reason?: Error): void {
    const isHeld = this.hasHolders;
    if (isHeld === this.#isHeld) return;
    this.#isHeld = isHeld;
    if (isHeld) this.#other.revive();
    else this.#other.end(reason);
  }

  #tell(holder: Holder, kind: number): void {
    if (!holder.channel.closed && !holder.isPeer) holder.channel.sendBytes(kind, NOTHING);
  }
}

const NOTHING = new Uint8Array(0);
