/** A queue whose home is another process; see `protocol.ts`. */
import {
  type Channel,
  dial,
  encodeMessage,
  Frame,
  type Invitation,
  leaving,
  TIMED_OUT,
  within,
} from "@multiproc/core/internal";
import { QueueClosedError, QueueEmptyError, QueueFullError, QueueShutDownError } from "./errors.ts";
import type { BlockOptions, Link } from "./link.ts";
import type { Question } from "./protocol.ts";
import * as kinds from "./protocol.ts";

/** What a put that has been answered came to. */
type PutOutcome = "accepted" | "full" | "withdrawn" | "shut down";

interface Waiting<T> {
  resolve(value: T): void;
  reject(error: Error): void;
}

/** Where a queue's items are, as it is told to other processes. */
export interface QueueAddress {
  readonly invitation: Invitation;
  readonly maxSize: number;
  readonly isJoinable: boolean;
}

/** A queue's link in a process that is not its home. */
export class RemoteLink implements Link {
  readonly maxSize: number;
  readonly isJoinable: boolean;
  readonly #address: QueueAddress;
  #channel: Promise<Channel> | undefined;
  #isClosed = false;
  #puts = 0;
  #number = 0;
  readonly #putters = new Map<number, Waiting<PutOutcome>>();
  readonly #getters = new Map<number, Waiting<Frame | undefined | "shut down">>();
  readonly #questions = new Map<number, Waiting<unknown>>();
  /** The number of the GET that the next ITEM answers. */
  #answered = 0;
  #isShutDown = false;

  constructor(address: QueueAddress) {
    this.#address = address;
    this.maxSize = address.maxSize;
    this.isJoinable = address.isJoinable;
  }

  async put(call: string, item: unknown, options: BlockOptions): Promise<void> {
    // Encoded at the call, so that it is refused at the call, and later changes do not matter.
    const { frame, commit } = encodeMessage(item, "item");
    options.signal?.throwIfAborted();
    const channel = await this.#open(call);
    if (this.#isShutDown) throw new QueueShutDownError(call);
    const isUnbounded = this.maxSize === 0;
    const now = options.block === false && !isUnbounded;
    const id = ++this.#puts;
    const outcome = isUnbounded ? undefined : this.#waitFor(this.#putters, id, channel);
    channel.forward(now ? kinds.PUT_NOW : kinds.PUT, frame);
    commit(undefined);
    if (outcome === undefined) return channel.flushed();
    const answer = now ? await outcome : await this.#putWithin(call, outcome, id, channel, options);
    if (answer === "shut down") throw new QueueShutDownError(call);
    if (answer !== "accepted") throw new QueueFullError(call, this.maxSize, item);
  }

  async get(call: string, options: BlockOptions): Promise<Frame> {
    options.signal?.throwIfAborted();
    const channel = await this.#open(call);
    const id = ++this.#number;
    const promise = this.#waitFor(this.#getters, id, channel);
    channel.send(options.block === false ? kinds.GET_NOW : kinds.GET, id);
    const waits = options.block === false ? {} : options;
    try {
      const item = await within(promise, call, waits);
      if (item instanceof Frame) return item;
      throw item === "shut down" ? new QueueShutDownError(call) : new QueueEmptyError(call);
    } finally {
      // Whoever waits no longer refuses what is still on its way.
      if (this.#getters.delete(id) && !channel.closed) channel.send(kinds.WITHDRAW_GET, id);
      this.#rest(channel);
    }
  }

  async ask(call: string, question: Question, argument?: unknown): Promise<unknown> {
    const channel = await this.#open(call);
    const id = ++this.#number;
    const answer = this.#waitFor(this.#questions, id, channel);
    channel.send(kinds.ASK, [id, question, argument]);
    return answer.finally(() => this.#rest(channel));
  }

  async flush(): Promise<void> {
    const channel = await this.#channel;
    await channel?.flushed();
  }

  invitation(): Invitation {
    return this.#address.invitation;
  }

  close(): void {
    this.#isClosed = true;
    void this.#channel?.then(
      (channel) => channel.end(),
      () => {},
    );
  }

  #open(call: string): Promise<Channel> {
    this.#channel ??= this.#dial();
    return this.#channel.then(
      (channel) => {
        if (channel.closed)
          throw new QueueClosedError(`${call} found the queue's home process gone, and its items with it`);
        return channel;
      },
      (cause) => {
        throw new QueueClosedError(`${call} cannot reach the queue's home process: it is gone, and its items with it`, {
          cause,
        });
      },
    );
  }

  async #dial(): Promise<Channel> {
    const channel = await dial(this.#address.invitation, "the queue's home process");
    channel.start({ message: (frame) => this.#take(channel, frame), closed: (reason) => this.#ended(reason) });
    return channel;
  }

  #waitFor<T>(waiters: Map<number, Waiting<T>>, id: number, channel: Channel): Promise<T> {
    channel.ref();
    return new Promise((resolve, reject) => waiters.set(id, { resolve, reject }));
  }

  async #putWithin(
    call: string,
    outcome: Promise<PutOutcome>,
    id: number,
    channel: Channel,
    options: BlockOptions,
  ): Promise<PutOutcome> {
    try {
      const answer = await within(outcome, call, options);
      if (answer !== TIMED_OUT) return answer;
      channel.send(kinds.WITHDRAW_PUT, id);
      // The home says which came first: the room, or the end of the wait.
      return await outcome;
    } catch (error) {
      if (options.signal?.aborted !== true || channel.closed) throw error;
      channel.send(kinds.WITHDRAW_PUT, id);
      if ((await outcome) === "accepted") return "accepted";
      throw error;
    } finally {
      this.#rest(channel);
    }
  }

  #take(channel: Channel, frame: Frame): void {
    const number = (): number => channel.decode(frame) as number;
    switch (frame.kind) {
      case kinds.GET:
        this.#answered = number();
        return;
      case kinds.ITEM:
        return this.#takeItem(channel, frame);
      case kinds.EMPTY:
        return this.#settle(this.#getters, number(), undefined);
      case kinds.ACCEPTED:
        return this.#settle(this.#putters, number(), "accepted");
      case kinds.FULL:
        return this.#settle(this.#putters, number(), "full");
      case kinds.WITHDRAWN:
        return this.#settle(this.#putters, number(), "withdrawn");
      case kinds.SHUT_DOWN: {
        const [what, id] = channel.decode(frame) as [number, number];
        this.#isShutDown ||= what === kinds.PUT;
        return what === kinds.GET
          ? this.#settle(this.#getters, id, "shut down")
          : this.#settle(this.#putters, id, "shut down");
      }
      case kinds.ANSWER: {
        const [id, answer] = channel.decode(frame) as [number, unknown];
        return this.#settle(this.#questions, id, answer);
      }
      case kinds.FAILED: {
        const [id, error] = channel.decode(frame) as [number, Error];
        this.#questions.get(id)?.reject(error);
        this.#questions.delete(id);
      }
    }
  }

  #takeItem(channel: Channel, frame: Frame): void {
    const id = this.#answered;
    const isWanted = this.#getters.has(id);
    channel.send(isWanted ? kinds.TAKEN : kinds.REFUSED, id);
    this.#settle(this.#getters, id, frame);
  }

  #settle<T>(waiters: Map<number, Waiting<T>>, id: number, value: T): void {
    waiters.get(id)?.resolve(value);
    waiters.delete(id);
  }

  /** The program need not stay alive for a channel on which nobody waits. */
  #rest(channel: Channel): void {
    if (this.#getters.size + this.#putters.size + this.#questions.size === 0) channel.unref();
  }

  #ended(cause: Error | undefined): void {
    const waiting = [...this.#putters.values(), ...this.#getters.values(), ...this.#questions.values()];
    for (const map of [this.#putters, this.#getters, this.#questions]) map.clear();
    const error = this.#isClosed
      ? new QueueClosedError("The queue was closed in this process while it was waited for")
      : new QueueClosedError(
          "The queue's home process is gone, and its items with it",
          cause === undefined ? {} : { cause },
        );
    for (const { reject } of waiting) reject(error);
  }
}

/** Puts that are under way must reach the system before this process may end. */
export function keepPut(put: Promise<void>): Promise<void> {
  leaving.wait(put);
  return put;
}
