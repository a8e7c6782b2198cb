/** The items of a queue, at home, and those who wait: pure state, without processes, channels or clocks. */
import type { Frame } from "@multiproc/core/internal";
import { TasksLostError } from "./errors.ts";
import { Fifo } from "./fifo.ts";

/** Someone who waits for an item. */
export interface Getter {
  /** Gets the item. */
  give(frame: Frame): void;
  /** The queue was shut down, and nothing is left. */
  shutDown(): void;
}

/** Someone who waits for room. */
export interface Putter {
  readonly frame: Frame;
  accepted(): void;
  shutDown(): void;
}

/** A queue's state. */
export class Broker {
  readonly maxSize: number;
  isShutDown = false;
  readonly #items = new Fifo<Frame>();
  readonly #getters = new Fifo<Getter>();
  readonly #putters = new Fifo<Putter>();
  #unfinished = 0;
  #joiners: Array<{ resolve: () => void; reject: (error: Error) => void }> = [];

  constructor(maxSize: number) {
    this.maxSize = maxSize;
  }

  get size(): number {
    return this.#items.size;
  }

  get isFull(): boolean {
    return this.maxSize > 0 && this.#items.size >= this.maxSize;
  }

  /** Takes an item if there is room; false if there is none. */
  tryPut(frame: Frame): boolean {
    // Who waits for room comes first.
    if (this.isFull || this.#putters.size > 0) return false;
    this.#add(frame);
    return true;
  }

  /** Takes an item as soon as there is room. */
  put(putter: Putter): void {
    if (this.isShutDown) putter.shutDown();
    else if (this.tryPut(putter.frame)) putter.accepted();
    else this.#putters.push(putter);
  }

  /** Takes a waiting item back; false if it is in the queue already. */
  withdrawPut(putter: Putter): boolean {
    return this.#putters.remove(putter);
  }

  /** Gives an item if there is one; false if there is none. */
  tryGet(getter: Getter): boolean {
    const frame = this.#items.shift();
    if (frame === undefined) return false;
    this.#makeRoom();
    getter.give(frame);
    return true;
  }

  /** Gives an item as soon as there is one. */
  get(getter: Getter): void {
    if (this.tryGet(getter)) return;
    if (this.isShutDown) getter.shutDown();
    else this.#getters.push(getter);
  }

  /** Gives up a place; false if an item has been given. */
  withdrawGet(getter: Getter): boolean {
    return this.#getters.remove(getter);
  }

  /** Takes items back that were given and did not arrive, before all others. */
  restore(frames: readonly Frame[]): void {
    this.#items.unshift(frames);
    this.#serve();
  }

  /** Takes no more items; with `immediate`, drops those that are there. */
  shutDown(immediate: boolean): void {
    this.isShutDown = true;
    for (const putter of this.#putters.clear()) putter.shutDown();
    if (immediate) for (const _ of this.#items.clear()) this.#finish();
    if (this.#items.size === 0) for (const getter of this.#getters.clear()) getter.shutDown();
  }

  /** A task is done; false if none was open. */
  taskDone(): boolean {
    if (this.#unfinished === 0) return false;
    this.#finish();
    return true;
  }

  /** Settles when every item that was put has been reported as done. */
  join(): Promise<void> {
    if (this.#unfinished === 0) return Promise.resolve();
    return new Promise((resolve, reject) => this.#joiners.push({ resolve, reject }));
  }

  /** A process ended with tasks taken and not done: those who wait for them hear of it. */
  tasksLost(pid: number, count: number): void {
    const lost = Math.min(count, this.#unfinished);
    if (lost === 0) return;
    this.#unfinished -= lost;
    for (const { reject } of this.#joiners.splice(0)) reject(new TasksLostError(pid, lost));
  }

  #add(frame: Frame): void {
    this.#unfinished += 1;
    const getter = this.#items.size === 0 ? this.#getters.shift() : undefined;
    if (getter !== undefined) getter.give(frame);
    else this.#items.push(frame);
  }

  #serve(): void {
    while (this.#items.size > 0) {
      const getter = this.#getters.shift();
      if (getter === undefined) break;
      getter.give(this.#items.shift() as Frame);
      this.#makeRoom();
    }
  }

  #makeRoom(): void {
    while (!this.isFull) {
      const putter = this.#putters.shift();
      if (putter === undefined) break;
      this.#add(putter.frame);
      putter.accepted();
    }
  }

  #finish(): void {
    this.#unfinished -= 1;
    if (this.#unfinished === 0) for (const { resolve } of this.#joiners.splice(0)) resolve();
  }
}
