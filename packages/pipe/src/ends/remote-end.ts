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
import { ATTACH, BROKEN, BYTES, END, GET, HAND, RETURN, RETURNED, REVIVED, SHARE, VALUE, VOID } from "../protocol.ts";
import { cannotBlock } from "./blocking.ts";
import type { Link, SideAddress } from "./pipe-end.ts";
import { Inbox } from "./receive-queue.ts";

/** What it leads to, for errors. */
const WHAT = "the other end of this pipe";

/** Links that have no channel yet. */
const opening = new Set<RemoteLink>();
afterForkInChild(() => opening.clear());

/** The link of a connection that was handed to this process. */
export class RemoteLink implements Link {
  broken: Error | undefined;
  readonly inbox: Inbox = new Inbox({
    demand: () => this.#ask(),
    waiting: (isWaiting) => (isWaiting ? this.#channel?.ref() : this.#channel?.unref()),
    room: () => this.#channel?.resume(),
  });
  readonly #address: SideAddress;
  #channel: SyncChannel | undefined;
  /** What was sent before the channel was open. */
  #early: Array<(channel: Channel) => void> = [];
  /** Whether memory of the callers waits for the channel. */
  #borrowsEarly = false;
  readonly #opened: Promise<void>;
  #isShared = false;
  #isHanded = false;
  #isClosed = false;
  #asked = 0;
  #ticketCount = 0;
  /** Those who wait until nothing that was pushed here is left here. */
  readonly #returned: Array<() => void> = [];

  constructor(address: SideAddress) {
    this.#address = address;
    opening.add(this);
    this.#opened = this.#open();
    pendingWork.add(this.#opened);
  }

  get full(): boolean {
    return this.#channel?.full ?? (this.#borrowsEarly || this.#early.length > 1000);
  }

  async drained(): Promise<void> {
    await this.#opened;
    await this.#channel?.drained();
  }

  send(value: unknown, gathers = false): boolean {
    if (this.#channel !== undefined) return this.#channel.send(VALUE, value, "value", undefined, gathers);
    const place = this.#early.length;
    const { frame, commit } = encodeMessage(value, "value");
    this.#borrowsEarly ||= frame.parts.length > 0;
    // What a getter of the value has asked for comes behind it.
    this.#early.splice(place, 0, (channel) => channel.forward(VALUE, frame, true));
    commit(undefined);
    return !this.full;
  }

  flush(): void {
    this.#channel?.flush();
  }

  sendBytes(bytes: Uint8Array): void {
    if (this.#channel !== undefined) return this.#channel.sendBytes(BYTES, bytes);
    const copy = bytes.slice();
    this.#early.push((channel) => channel.sendBytes(BYTES, copy));
  }

  decode(frame: Frame): unknown {
    return decodeMessage(frame);
  }

  /** Every message and request tells the home anyway. */
  claim(): void {
    this.#isHanded = false;
  }

  address(): { data: SideAddress; commit: (carrier: DeliveryScope | undefined) => void } {
    const ticket = `${host.pid}.${this.#address.ticket}.${++this.#ticketCount}`;
    const commit = (carrier: DeliveryScope | undefined): void => {
      this.#isHanded = true;
      this.#isShared = true;
      this.#whenOpen((channel) => {
        this.#giveBack(channel, this.inbox.takeAll());
        channel.send(HAND, ticket);
      });
      // What is on its way to here must go back before this process may end.
      pendingWork.add(new Promise<void>((resolve) => this.#returned.push(resolve)));
      carrier?.onEnd(() => this.#whenOpen((channel) => channel.send(VOID, ticket)));
    };
    return { data: { invitation: this.#address.invitation, ticket }, commit };
  }

  block(call: string, until: number): SyncChannel | undefined {
    const missing = whyNoDialSync();
    if (missing !== undefined) throw cannotBlock(call, missing);
    // What was sent before through others must leave too: somebody may wait for it, and the event loop does not turn.
    for (const link of opening) if (link === this || link.#early.length > 0) link.#openSync(until);
    const channel = this.#channel;
    // One that has ended, also just now, does not block: the inbox tells of it.
    if (channel !== undefined && !channel.upgradeSync(until) && !channel.closed) {
      if (performance.now() >= until) return undefined;
      throw cannotBlock(
        call,
        "the connection was used with await before, and this host cannot read its socket otherwise",
      );
    }
    this.#ask();
    return channel;
  }

  invitation(): SideAddress["invitation"] {
    return this.#address.invitation;
  }

  close(): void {
    this.#isClosed = true;
    this.#whenOpen((channel) => {
      if (this.#isShared) {
        this.#giveBack(channel, this.inbox.takeAll());
        channel.sendBytes(RETURNED, new Uint8Array(0));
      }
      channel.end();
    });
  }

  async #open(): Promise<void> {
    try {
      const channel = await dial(this.#address.invitation, WHAT);
      if (this.#channel === undefined) this.#use(channel);
      else channel.destroy(); // a call that blocks could not wait for this one
    } catch (error) {
      if (this.#channel === undefined) this.#ended(error as Error);
    }
  }

  #openSync(until: number): void {
    try {
      const channel = dialSync(this.#address.invitation, WHAT, until);
      if (channel !== undefined) this.#use(channel);
    } catch (error) {
      this.#ended(error as Error);
    }
  }

  #use(channel: SyncChannel): void {
    channel.send(ATTACH, this.#address.ticket);
    channel.start({ message: (frame) => this.#take(channel, frame), closed: (reason) => this.#ended(reason) });
    this.#channel = channel;
    opening.delete(this);
    if (this.inbox.demand > 0) channel.ref();
    for (const run of this.#early.splice(0)) run(channel);
  }

  #take(channel: Channel, frame: Frame): void {
    switch (frame.kind) {
      case VALUE:
      case BYTES: {
        this.#asked = Math.max(0, this.#asked - 1);
        if (this.#isHanded) return this.#giveBack(channel, [frame]);
        this.inbox.push(frame);
        if (this.inbox.full) channel.pause();
        return;
      }
      case SHARE: {
        this.#isShared = true;
        this.#giveBack(channel, this.inbox.takeAll());
        channel.sendBytes(RETURNED, new Uint8Array(0));
        for (const resolve of this.#returned.splice(0)) resolve();
        this.#asked = 0;
        for (let i = this.inbox.demand; i > 0; i--) this.#ask();
        return;
      }
      case END:
        return this.inbox.end();
      case REVIVED:
        this.broken = undefined;
        if (!this.#isClosed) this.inbox.reopen();
        return;
      case BROKEN:
        this.broken ??= new BrokenPipeError("send() on a pipe whose other end is closed in every process");
        return;
    }
  }

  #giveBack(channel: Channel, frames: readonly Frame[]): void {
    for (const frame of frames) channel.forward(RETURN + frame.kind, frame);
  }

  #ask(): void {
    if (!this.#isShared || this.#channel === undefined || this.#channel.closed) return;
    if (this.#asked >= Math.max(1, this.inbox.demand)) return;
    this.#asked += 1;
    this.#channel.sendBytes(GET, new Uint8Array(0));
  }

  #ended(cause: Error | undefined): void {
    opening.delete(this);
    this.broken ??= new BrokenPipeError(
      "send() on a pipe whose home process is gone",
      cause === undefined ? {} : { cause },
    );
    for (const resolve of this.#returned.splice(0)) resolve();
    this.inbox.end(cause);
  }

  #whenOpen(run: (channel: Channel) => void): void {
    if (this.#channel === undefined) this.#early.push(run);
    else if (!this.#channel.closed) run(this.#channel);
  }
}
