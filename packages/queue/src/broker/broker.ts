/**
 * The items of a queue in its owner process, and the waiting producers and consumers. It is pure
 * state: no processes, channels or clocks. `BrokerServer` and `LocalBackend` drive it.
 *
 * An item that was given to a consumer is *unacked* until `acknowledge()`. It still counts for the
 * size, and it returns to its old place if the consumer dies. While a consumer has prefetched
 * items, no other consumer gets an item, because that item would overtake the prefetched ones.
 */
import { Fifo, type Frame } from "@multiproc/core/internal";
import type { UnfinishedTasks } from "./unfinished-tasks.ts";

/** An item, with its place in the order of all items that were put. */
export interface Item {
  readonly sequence: number;
  readonly frame: Frame;
}

/** A wait for an item. */
export interface Getter {
  /**
   * Receives the item. The item is unacked until the broker gets an acknowledgement, or requeues it.
   */
  deliver(item: Item): void;
  /** The queue was shut down, and has no items left. */
  end(): void;
  /** The items have moved into a ring. */
  moved(): void;
}

/** A wait for space. */
export interface Putter {
  readonly frame: Frame;
  accepted(): void;
  refused(): void;
  /** The items have moved into a ring. */
  moved(): void;
}

/** The state of a queue; see the header of this file. */
export class Broker {
  readonly maxSize: number;
  /** Whether `shutdown()` was called. New puts are refused. */
  isShutDown = false;
  readonly #tasks: UnfinishedTasks;
  /** Called when a consumer must wait because others have prefetched items. */
  readonly #recallPrefetched: () => void;
  readonly #prefetchers = new Set<Getter>();
  /** Whether no item can arrive any more: the queue is shut down, and all producers know it. */
  #isSealed = false;
  /** Whether items that arrive or return are dropped. */
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
    // A task that was taken may still be requeued.
    return this.#isSealed && this.size === 0 && !this.#tasks.mayReturn;
  }

  /** Adds an item. Returns false if the queue is full. */
  tryPut(frame: Frame): boolean {
    // Waiting producers come first.
    if (this.isFull || this.#putters.size > 0) return false;
    this.#add(frame);
    return true;
  }

  /** Adds an item as soon as there is space. */
  put(putter: Putter): void {
    if (this.isShutDown) putter.refused();
    else if (this.tryPut(putter.frame)) putter.accepted();
    else this.#putters.push(putter);
  }

  /** Cancels a wait for space. Returns false if the item is already in the queue. */
  withdrawPut(putter: Putter): boolean {
    return this.#putters.remove(putter);
  }

  /**
   * Returns the next item, which is unacked then; undefined if the queue has none for this
   * consumer.
   */
  tryGet(getter?: Getter): Item | undefined {
    // Waiting consumers come first.
    return this.#getters.size > 0 || !this.#mayDeliver(getter) ? undefined : this.#dequeue();
  }

  /** Delivers an item as soon as there is one. */
  get(getter: Getter): void {
    const item = this.tryGet(getter);
    if (item !== undefined) return getter.deliver(item);
    if (this.isDrained) return getter.end();
    this.#getters.push(getter);
    if (!this.#mayDeliver(getter)) this.#recallPrefetched();
  }

  /** Notes that a consumer has prefetched items. */
  addPrefetcher(getter: Getter): void {
    this.#prefetchers.add(getter);
  }

  /** Notes that a consumer has no prefetched items any more. */
  removePrefetcher(getter: Getter): void {
    if (this.#prefetchers.delete(getter)) this.#serveGetters();
  }

  /** Cancels a wait for an item. Returns false if the item was already delivered. */
  withdrawGet(getter: Getter): boolean {
    return this.#getters.remove(getter);
  }

  /** Notes that consumers have taken `count` unacked items. */
  acknowledge(count: number): void {
    this.#unackedCount -= count;
    this.#servePutters();
    this.endIfDrained();
  }

  /** Requeues unacked items, each at its old place. */
  requeueUnacked(items: readonly Item[]): void {
    if (items.length === 0) return;
    this.#unackedCount -= items.length;
    this.#insert(items);
  }

  /** Requeues items that were acknowledged: tasks of a process that ended. */
  requeueTaken(items: readonly Item[]): void {
    if (items.length > 0) this.#insert(items);
    this.endIfDrained();
  }

  /**
   * Refuses new puts. Items on their way still arrive.
   *
   * @param immediate whether to drop all items, also those on their way
   */
  shutDown(immediate: boolean): void {
    this.isShutDown = true;
    for (const putter of this.#putters.clear()) putter.refused();
    if (!immediate) return;
    this.#isDropping = true;
    this.#tasks.dropped(this.#items.clear().length);
  }

  /** Notes that no item is on its way any more. */
  seal(): void {
    this.#isSealed = true;
    this.endIfDrained();
  }

  /** Ends all waits for an item if none can arrive any more. */
  endIfDrained(): void {
    if (this.#isSealed && this.isDrained) for (const getter of this.#getters.clear()) getter.end();
  }

  /** Removes and returns all items, which move into a ring. */
  moveOut(): Frame[] {
    return this.#items.clear().map(({ frame }) => frame);
  }

  /** Ends all waits here, because the items have moved into a ring. */
  notifyMoved(): void {
    for (const getter of this.#getters.clear()) getter.moved();
    for (const putter of this.#putters.clear()) putter.moved();
  }

  /** Adds the items of a ring that was closed. */
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
