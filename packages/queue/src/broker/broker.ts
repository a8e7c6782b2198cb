/** The items of a queue, at home, and those who wait: pure state, without processes, channels or clocks. */

import type { Frame } from "@multiproc/core/internal";
import { Fifo } from "@multiproc/core/internal";
import type { UnfinishedTasks } from "./unfinished-tasks.ts";

/** What was put, with its place in the order of all that was. */
export interface Item {
  readonly sequence: number;
  readonly frame: Frame;
}

/** Someone who waits for an item. */
export interface Getter {
  /** Gets the item, which is lent to it until the broker hears that it was taken, or gets it back. */
  deliver(item: Item): void;
  /** The queue was shut down, and nothing is left. */
  end(): void;
  /** The items have moved into a ring. */
  moved(): void;
}

/** Someone who waits for room. */
export interface Putter {
  readonly frame: Frame;
  accepted(): void;
  refused(): void;
  /** The items have moved into a ring. */
  moved(): void;
}

/**
 * A queue's state. An item is in the queue until somebody has taken it, also while it is lent: it counts, and it takes up room.
 *
 * Who *holds* items has got more than it waits for. Nobody else gets one meanwhile, since that would come before those.
 */
export class Broker {
  readonly maxSize: number;
  /** Whether `shutdown()` has been called: nobody begins to put any more. */
  isShutDown = false;
  readonly #tasks: UnfinishedTasks;
  /** Calls for the items that are held: somebody else waits. */
  readonly #recallPrefetched: () => void;
  readonly #prefetchers = new Set<Getter>();
  /** Whether nothing can come any more, so that who waits for an item of an empty queue waits in vain. */
  #isSealed = false;
  /** Whether what is left, and what comes back, is thrown away. */
  #isDropping = false;
  readonly #items = new Fifo<Item>();
  readonly #getters = new Fifo<Getter>();
  readonly #putters = new Fifo<Putter>();
  #unackedCount = 0;
  #nextSequence = 0;

  constructor(maxSize: number, tasks: UnfinishedTasks, recallPrefetched: () => void) {
    this.maxSize = maxSize;
    this.#tasks = tasks;
    this.#recallPrefetched = recallPrefetched;
  }

  get size(): number {
    return this.#items.size + this.#unackedCount;
  }

  get isFull(): boolean {
    return this.maxSize > 0 && this.size >= this.maxSize;
  }

  /** Whether the queue was shut down and will never have an item again. */
  get isDrained(): boolean {
    // A task that was taken may yet be handed on.
    return this.#isSealed && this.size === 0 && !this.#tasks.mayReturn;
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
    if (this.isShutDown) putter.refused();
    else if (this.tryPut(putter.frame)) putter.accepted();
    else this.#putters.push(putter);
  }

  /** Takes a waiting item back; false if it is in the queue already. */
  withdrawPut(putter: Putter): boolean {
    return this.#putters.remove(putter);
  }

  /** Lends an item if there is one at this moment. */
  tryGet(getter?: Getter): Item | undefined {
    // Who waits comes first.
    return this.#getters.size > 0 || !this.#mayDeliver(getter) ? undefined : this.#dequeue();
  }

  /** Lends an item as soon as there is one. */
  get(getter: Getter): void {
    const item = this.tryGet(getter);
    if (item !== undefined) return getter.deliver(item);
    if (this.isDrained) return getter.end();
    this.#getters.push(getter);
    if (!this.#mayDeliver(getter)) this.#recallPrefetched();
  }

  /** Says that somebody has got more than it waits for. */
  addPrefetcher(getter: Getter): void {
    this.#prefetchers.add(getter);
  }

  /** Says that this is over. */
  removePrefetcher(getter: Getter): void {
    if (this.#prefetchers.delete(getter)) this.#serveGetters();
  }

  /** Gives up a place; false if an item has been given. */
  withdrawGet(getter: Getter): boolean {
    return this.#getters.remove(getter);
  }

  /** So many of the items that were lent have been taken. */
  acknowledge(count: number): void {
    this.#unackedCount -= count;
    this.#servePutters();
    this.endIfDrained();
  }

  /** Takes items back that were lent and not taken: each goes where it was. */
  requeueUnacked(items: readonly Item[]): void {
    if (items.length === 0) return;
    this.#unackedCount -= items.length;
    this.#insert(items);
  }

  /** Takes items back that had been taken. */
  requeueTaken(items: readonly Item[]): void {
    if (items.length > 0) this.#insert(items);
    this.endIfDrained();
  }

  /** Refuses those who want to put from now on; with `immediate`, drops what is there. What is on its way still comes. */
  shutDown(immediate: boolean): void {
    this.isShutDown = true;
    for (const putter of this.#putters.clear()) putter.refused();
    if (!immediate) return;
    this.#isDropping = true;
    this.#tasks.dropped(this.#items.clear().length);
  }

  /** Nothing is on its way any more. */
  seal(): void {
    this.#isSealed = true;
    this.endIfDrained();
  }

  /** Tells those who wait for an item that none will come, if that is so. */
  endIfDrained(): void {
    if (this.#isSealed && this.isDrained) for (const getter of this.#getters.clear()) getter.end();
  }

  /** Hands all items over, which move elsewhere. */
  moveOut(): Frame[] {
    return this.#items.clear().map(({ frame }) => frame);
  }

  /** Tells those who wait that the items have moved. */
  notifyMoved(): void {
    for (const getter of this.#getters.clear()) getter.moved();
    for (const putter of this.#putters.clear()) putter.moved();
  }

  /** Takes items over that come from elsewhere. */
  moveIn(frames: readonly Frame[]): void {
    for (const frame of frames) this.#add(frame);
  }

  #add(frame: Frame): void {
    this.#tasks.added();
    if (this.#isDropping) return this.#tasks.dropped(1);
    this.#items.push({ sequence: this.#nextSequence++, frame });
    if (this.#getters.size > 0) this.#serveGetters();
  }

  #insert(items: readonly Item[]): void {
    if (this.#isDropping) {
      this.#tasks.dropped(items.length);
    } else {
      this.#items.merge(items, (a, b) => a.sequence - b.sequence);
      this.#serveGetters();
    }
    this.#servePutters();
    this.endIfDrained();
  }

  #serveGetters(): void {
    while (this.#items.size > 0) {
      const getter = this.#getters.first;
      if (getter === undefined || !this.#mayDeliver(getter)) return;
      this.#getters.shift();
      getter.deliver(this.#dequeue() as Item);
    }
  }

  #dequeue(): Item | undefined {
    const item = this.#items.shift();
    if (item !== undefined) this.#unackedCount += 1;
    return item;
  }

  #mayDeliver(getter: Getter | undefined): boolean {
    const prefetchers = this.#prefetchers;
    return prefetchers.size === 0 || (prefetchers.size === 1 && getter !== undefined && prefetchers.has(getter));
  }

  #servePutters(): void {
    while (!this.isFull) {
      const putter = this.#putters.shift();
      if (putter === undefined) return;
      this.#add(putter.frame);
      putter.accepted();
    }
  }
}
