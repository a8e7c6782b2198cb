/**
 * What conditions are built on: who waits, and who may go.
 *
 * Each thread has a row that says how many of its flows wait, and how many of them may go. `notify()` lets flows go, of the
 * thread first whose turn was longest ago; who may go takes that from its row. A thread that is gone takes nothing: what it
 * was given goes to others, by whoever waits.
 */
import { ProcessError } from "@multiproc/core";
import {
  RobustMutex,
  type SharedSegment,
  type WaitOptions,
  WaitQueue,
  type WaitQueueOptions,
} from "@multiproc/core/internal";
import { type Kind, type MaybePromise, requireMemory } from "../primitive.ts";
import type { RemoteLink } from "../remote/primitive-client.ts";
import type { Guest, Servant } from "../remote/primitive-server.ts";
import { Holders } from "./thread-table.ts";

/** Who waits for a condition, as processes. */
export interface ConditionLink {
  /** From now on this flow can be notified; gives the number by which it is known. */
  enroll(call: string): MaybePromise<number>;
  /** Waits until the flow may go; false if the time ran out. */
  wait(call: string, flow: number, options: WaitOptions): Promise<boolean>;
  waitSync(call: string, timeout: number | undefined): boolean;
  /** The flow goes without; true if it had been let go, after all. */
  withdraw(call: string, flow: number): MaybePromise<boolean>;
  /** Lets so many go. */
  notify(call: string, flows: number): MaybePromise<void>;
}

const SLOTS = 64;
const LIST = RobustMutex.wordCount(0) + 8;
const TURN = RobustMutex.wordCount(0);
const ROWS = LIST + WaitQueue.wordCount(SLOTS);
const SIZE = 8192;
const WAITING = 1;
const GRANTED = 2;
const ROW_TURN = 3;
const WIDTH = 4;

class MemoryCondition implements ConditionLink, Servant {
  readonly #guard: RobustMutex;
  readonly #list: WaitQueue;
  readonly #words: Int32Array;
  readonly #rows: Holders;
  readonly #isShared: boolean;
  /** The flows of guests that wait, by their numbers. */
  readonly #guests = new Map<Guest, Set<number>>();
  #flows = 0;

  constructor(memory: SharedSegment) {
    this.#guard = new RobustMutex(memory, 0, 0);
    this.#words = new Int32Array(memory.buffer);
    this.#list = new WaitQueue(memory, LIST, SLOTS);
    this.#rows = new Holders(this.#words, ROWS, Math.floor((SIZE / 4 - ROWS) / WIDTH), WIDTH);
    this.#isShared = memory.isShared;
  }

  enroll(call: string): number {
    return this.#guard.withLock(() => {
      const row = this.#rows.own() ?? this.#ownAfterBurial();
      if (row === undefined) throw new ProcessError(`${call} found too many threads waiting`, { code: "ERR_TOO_MANY" });
      if (this.#words[row + WAITING] === 0) this.#goToEnd(row);
      this.#add(row + WAITING, 1);
      return ++this.#flows;
    });
  }

  wait(call: string, _flow: number, options: WaitQueueOptions): Promise<boolean> {
    return this.#list.wait((isSlow) => this.#go(isSlow), call, options);
  }

  waitSync(call: string, timeout: number | undefined): boolean {
    if (!this.#isShared) requireMemory(call, `await ${call.replace("Sync", "")}`);
    return this.#list.waitSync((isSlow) => this.#go(isSlow), timeout);
  }

  withdraw(): boolean {
    return this.#guard.withLock(() => {
      const row = this.#rows.own();
      if (row === undefined) return false;
      const wasGranted = (this.#words[row + GRANTED] as number) >= (this.#words[row + WAITING] as number);
      if (wasGranted) this.#add(row + GRANTED, -1);
      this.#add(row + WAITING, -1);
      return wasGranted;
    });
  }

  notify(_call: string, flows: number): void {
    this.#guard.withLock(() => this.#grant(flows));
    // Each looks at its own row.
    this.#list.wake(Number.POSITIVE_INFINITY);
  }

  serve(guest: Guest, operation: string, args: readonly unknown[], options: WaitQueueOptions): unknown {
    const [call, number] = args as [string, number];
    const flows = this.#flowsOf(guest);
    switch (operation) {
      case "enroll": {
        const flow = this.enroll(call);
        flows.add(flow);
        return flow;
      }
      case "wait":
        return this.wait(call, number, options).then((isDone) => {
          // Of a guest that left meanwhile, all flows have been withdrawn: this one was another's turn.
          if (isDone && !flows.delete(number)) this.notify("notify()", 1);
          return isDone;
        });
      case "withdraw":
        // It was let go, and the answer is on its way.
        return flows.delete(number) ? this.withdraw() : true;
      default:
        return this.notify(call, number);
    }
  }

  leave(guest: Guest): void {
    for (const _ of this.#flowsOf(guest)) if (this.withdraw()) this.notify("notify()", 1);
    this.#guests.delete(guest);
  }

  #flowsOf(guest: Guest): Set<number> {
    let flows = this.#guests.get(guest);
    if (flows === undefined) {
      flows = new Set();
      this.#guests.set(guest, flows);
    }
    return flows;
  }

  /** Whether one of this thread's flows may go, which it does then. */
  #go(isSlow: boolean): boolean {
    return this.#guard.withLock(() => {
      if (isSlow) this.#bury();
      const row = this.#rows.own();
      if (row === undefined || this.#words[row + GRANTED] === 0) return false;
      this.#add(row + GRANTED, -1);
      this.#add(row + WAITING, -1);
      return true;
    });
  }

  #grant(flows: number): void {
    for (let left = flows; left > 0; left--) {
      const row = this.#next();
      if (row === undefined) return;
      this.#add(row + GRANTED, 1);
      this.#goToEnd(row);
    }
  }

  /** The row with flows that may not go yet whose turn was longest ago. */
  #next(): number | undefined {
    const words = this.#words;
    let next: number | undefined;
    let first = 0;
    for (const row of this.#rows.all()) {
      if ((words[row + WAITING] as number) <= (words[row + GRANTED] as number)) continue;
      const turn = words[row + ROW_TURN] as number;
      if (next !== undefined && ((turn - first) | 0) >= 0) continue;
      next = row;
      first = turn;
    }
    return next;
  }

  /** Takes out those who are gone; what they may have been let go for, others are. */
  #bury(): void {
    const words = this.#words;
    let flows = 0;
    for (const row of this.#rows.gone((row) => words[row + GRANTED] !== 0)) {
      flows += words[row + GRANTED] as number;
      this.#rows.free(row);
    }
    if (flows === 0) return;
    this.#grant(flows);
    this.#list.wake(Number.POSITIVE_INFINITY);
  }

  #ownAfterBurial(): number | undefined {
    for (const row of this.#rows.gone(() => true)) this.#rows.free(row);
    return this.#rows.own();
  }

  #goToEnd(row: number): void {
    this.#add(TURN, 1);
    this.#words[row + ROW_TURN] = this.#words[TURN] as number;
  }

  #add(at: number, change: number): void {
    this.#words[at] = (this.#words[at] as number) + change;
  }
}

class RemoteCondition implements ConditionLink {
  readonly #remote: RemoteLink;

  constructor(remote: RemoteLink) {
    this.#remote = remote;
  }

  async enroll(call: string): Promise<number> {
    return (await this.#remote.ask(call, "enroll", [call])) as number;
  }

  async wait(call: string, flow: number, options: WaitOptions): Promise<boolean> {
    return (await this.#remote.ask(call, "wait", [call, flow], options)) === true;
  }

  waitSync(call: string): boolean {
    return requireMemory(call, `await ${call.replace("Sync", "")}`);
  }

  async withdraw(call: string, flow: number): Promise<boolean> {
    return (await this.#remote.ask(call, "withdraw", [call, flow])) as boolean;
  }

  async notify(call: string, flows: number): Promise<void> {
    await this.#remote.ask(call, "notify", [call, flows]);
  }
}

/** How conditions are made. */
export const CONDITION: Kind<ConditionLink> = {
  name: "Condition",
  size: SIZE,
  open: (memory) => new MemoryCondition(memory),
  reach: (remote) => new RemoteCondition(remote),
};
