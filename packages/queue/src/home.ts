/** A queue in the process that made it: the items, the calls made here, and the channels of all others. */
import {
  type Channel,
  encodeMessage,
  Frame,
  type Invitation,
  invite,
  TIMED_OUT,
  within,
} from "@multiproc/core/internal";
import { Broker, type Getter, type Putter } from "./broker.ts";
import { QueueEmptyError, QueueFullError, QueueShutDownError } from "./errors.ts";
import type { BlockOptions, Link } from "./link.ts";
import type { Question } from "./protocol.ts";
import * as kinds from "./protocol.ts";

/** A channel to another process that holds the queue. */
interface Guest {
  readonly channel: Channel;
  readonly pid: number;
  puts: number;
  readonly putters: Map<number, Putter>;
  readonly getters: Map<number, Getter>;
  /** Items that were sent and not yet taken, by the number of their GET. */
  readonly sent: Map<number, Frame>;
  /** Items taken and not reported as done. */
  open: number;
}

/** The home of a queue. */
export class HomeLink implements Link {
  readonly maxSize: number;
  readonly isJoinable: boolean;
  readonly #broker: Broker;
  readonly #guests = new Set<Guest>();
  #invitation: Invitation | undefined;
  #waiting = 0;

  constructor(maxSize: number, isJoinable: boolean) {
    this.maxSize = maxSize;
    this.isJoinable = isJoinable;
    this.#broker = new Broker(maxSize);
  }

  async put(call: string, item: unknown, options: BlockOptions): Promise<void> {
    const { frame, commit } = encodeMessage(item, "item");
    if (this.#broker.isShutDown) throw new QueueShutDownError(call);
    if (options.block === false) {
      if (!this.#broker.tryPut(own(frame))) throw new QueueFullError(call, this.maxSize, item);
    } else if (!(await this.#putWaiting(call, own(frame), options))) throw new QueueFullError(call, this.maxSize, item);
    commit(undefined);
  }

  async get(call: string, options: BlockOptions): Promise<Frame> {
    let getter!: Getter;
    const promise = new Promise<Frame>((resolve, reject) => {
      getter = { give: resolve, shutDown: () => reject(new QueueShutDownError(call)) };
    });
    if (options.block === false) {
      if (this.#broker.tryGet(getter)) return promise;
      throw this.#broker.isShutDown ? new QueueShutDownError(call) : new QueueEmptyError(call);
    }
    this.#broker.get(getter);
    this.#wait(1);
    try {
      const frame = await within(promise, call, options);
      if (frame !== TIMED_OUT) return frame;
      // Given in the same turn in which the time ran out.
      if (!this.#broker.withdrawGet(getter)) return await promise;
      throw new QueueEmptyError(call);
    } catch (error) {
      if (options.signal?.aborted && !this.#broker.withdrawGet(getter))
        promise.then((frame) => this.#broker.restore([frame])).catch(() => {});
      throw error;
    } finally {
      this.#wait(-1);
    }
  }

  async ask(_call: string, question: Question, argument?: unknown): Promise<unknown> {
    if (question !== "join") return this.#answer(question, argument, undefined);
    this.#wait(1);
    return this.#broker.join().finally(() => this.#wait(-1));
  }

  async flush(): Promise<void> {} // what was put is here

  invitation(): Invitation {
    this.#invitation ??= invite((channel, pid) => this.#accept(channel, pid), { many: true });
    return this.#invitation;
  }

  /** Others go on using the queue. */
  close(): void {}

  async #putWaiting(call: string, frame: Frame, options: BlockOptions): Promise<boolean> {
    let putter!: Putter;
    const promise = new Promise<true>((resolve, reject) => {
      putter = { frame, accepted: () => resolve(true), shutDown: () => reject(new QueueShutDownError(call)) };
    });
    this.#broker.put(putter);
    this.#wait(1);
    try {
      if ((await within(promise, call, options)) !== TIMED_OUT) return true;
      return this.#broker.withdrawPut(putter) ? false : await promise;
    } catch (error) {
      // Accepted in the same turn: the item is in the queue, and the call has succeeded.
      if (options.signal?.aborted && !this.#broker.withdrawPut(putter)) return await promise;
      throw error;
    } finally {
      this.#wait(-1);
    }
  }

  /** Someone here waits for the others: they keep the program alive. */
  #wait(change: 1 | -1): void {
    this.#waiting += change;
    if (this.#waiting === (change === 1 ? 1 : 0))
      for (const { channel } of this.#guests) change === 1 ? channel.ref() : channel.unref();
  }

  #accept(channel: Channel, pid: number): void {
    const guest: Guest = { channel, pid, puts: 0, putters: new Map(), getters: new Map(), sent: new Map(), open: 0 };
    this.#guests.add(guest);
    if (this.#waiting > 0) channel.ref();
    channel.start({ message: (frame) => this.#take(guest, frame), closed: () => this.#leave(guest) });
  }

  #take(guest: Guest, frame: Frame): void {
    const { channel } = guest;
    const number = (): number => channel.decode(frame) as number;
    switch (frame.kind) {
      case kinds.PUT:
        return this.#takePut(guest, frame);
      case kinds.PUT_NOW: {
        const id = ++guest.puts;
        if (this.#broker.isShutDown) return reply(guest, kinds.SHUT_DOWN, [kinds.PUT, id]);
        return reply(guest, this.#broker.tryPut(frame) ? kinds.ACCEPTED : kinds.FULL, id);
      }
      case kinds.WITHDRAW_PUT: {
        const id = number();
        const putter = guest.putters.get(id);
        if (putter === undefined || !this.#broker.withdrawPut(putter)) return;
        guest.putters.delete(id);
        return reply(guest, kinds.WITHDRAWN, id);
      }
      case kinds.GET:
        return this.#takeGet(guest, number());
      case kinds.GET_NOW: {
        const id = number();
        if (this.#broker.tryGet(getterOf(guest, id))) return;
        return this.#broker.isShutDown ? reply(guest, kinds.SHUT_DOWN, [kinds.GET, id]) : reply(guest, kinds.EMPTY, id);
      }
      case kinds.WITHDRAW_GET: {
        const getter = guest.getters.get(number());
        if (getter !== undefined) this.#broker.withdrawGet(getter);
        return;
      }
      case kinds.TAKEN:
        if (guest.sent.delete(number())) guest.open += 1;
        return;
      case kinds.REFUSED: {
        const id = number();
        const item = guest.sent.get(id);
        if (guest.sent.delete(id) && item !== undefined) this.#broker.restore([item]);
        return;
      }
      case kinds.ASK:
        return this.#takeQuestion(guest, channel.decode(frame) as [number, Question, unknown]);
    }
  }

  #takePut(guest: Guest, frame: Frame): void {
    const id = ++guest.puts;
    if (this.maxSize === 0) {
      if (this.#broker.isShutDown || !this.#broker.tryPut(frame)) reply(guest, kinds.SHUT_DOWN, [kinds.PUT, id]);
      return;
    }
    const putter: Putter = {
      frame,
      accepted: () => {
        guest.putters.delete(id);
        reply(guest, kinds.ACCEPTED, id);
      },
      shutDown: () => {
        guest.putters.delete(id);
        reply(guest, kinds.SHUT_DOWN, [kinds.PUT, id]);
      },
    };
    guest.putters.set(id, putter);
    this.#broker.put(putter);
  }

  #takeGet(guest: Guest, id: number): void {
    const getter = getterOf(guest, id);
    guest.getters.set(id, getter);
    this.#broker.get(getter);
  }

  #takeQuestion(guest: Guest, [id, question, argument]: [number, Question, unknown]): void {
    const failed = (error: unknown): void => reply(guest, kinds.FAILED, [id, error]);
    try {
      if (question === "join") void this.#broker.join().then(() => reply(guest, kinds.ANSWER, [id, undefined]), failed);
      else reply(guest, kinds.ANSWER, [id, this.#answer(question, argument, guest)]);
    } catch (error) {
      failed(error);
    }
  }

  #answer(question: Question, argument: unknown, guest: Guest | undefined): unknown {
    switch (question) {
      case "size":
        return this.#broker.size;
      case "full":
        return this.#broker.isFull;
      case "shutdown":
        return this.#broker.shutDown(argument === true);
      case "taskDone":
        if (!this.#broker.taskDone()) throw new RangeError("taskDone() was called more often than items were put");
        if (guest !== undefined && guest.open > 0) guest.open -= 1;
        return;
    }
    throw new TypeError(`There is no question "${question}"`);
  }

  #leave(guest: Guest): void {
    this.#guests.delete(guest);
    // A put that had no room is not the queue's yet: its caller is gone, and nobody was told that it succeeded.
    for (const putter of guest.putters.values()) this.#broker.withdrawPut(putter);
    for (const getter of guest.getters.values()) this.#broker.withdrawGet(getter);
    this.#broker.restore([...guest.sent.values()]);
    if (this.isJoinable) this.#broker.tasksLost(guest.pid, guest.open);
  }
}

function getterOf(guest: Guest, id: number): Getter {
  return {
    give(frame) {
      guest.getters.delete(id);
      guest.sent.set(id, frame);
      guest.channel.send(kinds.GET, id);
      guest.channel.forward(kinds.ITEM, frame);
    },
    shutDown() {
      guest.getters.delete(id);
      reply(guest, kinds.SHUT_DOWN, [kinds.GET, id]);
    },
  };
}

function reply(guest: Guest, kind: number, value: unknown): void {
  if (!guest.channel.closed) guest.channel.send(kind, value);
}

/** Large parts are the caller's memory, which may change while the item waits. */
function own(frame: Frame): Frame {
  if (frame.parts.length === 0) return frame;
  return new Frame(
    frame.kind,
    frame.bytes,
    frame.start,
    frame.end,
    frame.parts.map((part) => part.slice()),
    frame.modules,
  );
}
