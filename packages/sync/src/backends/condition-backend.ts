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
import { type MaybePromise, type PrimitiveKind, requireSharedMemory } from "../primitive.ts";
import type { PrimitiveClient } from "../remote/primitive-client.ts";
import type { Client, RequestHandler } from "../remote/primitive-server.ts";
import { ThreadTable } from "./thread-table.ts";

/** Who waits for a condition, as processes. */
export interface ConditionBackend {
  /** From now on this flow can be notified; gives the number by which it is known. */
  enroll(call: string): MaybePromise<number>;
  /** Waits until the flow may go; false if the time ran out. */
  wait(call: string, waitId: number, options: WaitOptions): Promise<boolean>;
  waitSync(call: string, timeout: number | undefined): boolean;
  /** The flow goes without; true if it had been let go, after all. */
  withdraw(call: string, waitId: number): MaybePromise<boolean>;
  /** Lets so many go. */
  notify(call: string, count: number): MaybePromise<void>;
}

const WAITER_SLOT_COUNT = 64;
const WAIT_QUEUE_WORD = RobustMutex.wordCount(0) + 8;
const LAST_TURN_WORD = RobustMutex.wordCount(0);
const THREAD_TABLE_WORD = WAIT_QUEUE_WORD + WaitQueue.wordCount(WAITER_SLOT_COUNT);
const SEGMENT_BYTES = 8192;
const ROW_WAITING = 1;
const ROW_GRANTED = 2;
const ROW_TURN = 3;
const ROW_WORDS = 4;

class SharedCondition implements ConditionBackend, RequestHandler {
  readonly #mutex: RobustMutex;
  readonly #waitQueue: WaitQueue;
  readonly #words: Int32Array;
  readonly #threads: ThreadTable;
  readonly #isShared: boolean;
  /** The flows of guests that wait, by their numbers. */
  readonly #clientWaits = new Map<Client, Set<number>>();
  #lastWaitId = 0;

  constructor(memory: SharedSegment) {
    this.#mutex = new RobustMutex(memory, 0, 0);
    this.#words = new Int32Array(memory.buffer);
    this.#waitQueue = new WaitQueue(memory, WAIT_QUEUE_WORD, WAITER_SLOT_COUNT);
    this.#threads = new ThreadTable(
      this.#words,
      THREAD_TABLE_WORD,
      Math.floor((SEGMENT_BYTES / 4 - THREAD_TABLE_WORD) / ROW_WORDS),
      ROW_WORDS,
    );
    this.#isShared = memory.isShared;
  }

  enroll(call: string): number {
    return this.#mutex.withLock(() => {
      const row = this.#threads.ownRow() ?? this.#ownRowAfterCleanup();
      if (row === undefined) throw new ProcessError(`${call} found too many threads waiting`, { code: "ERR_TOO_MANY" });
      if (this.#words[row + ROW_WAITING] === 0) this.#requeue(row);
      this.#add(row + ROW_WAITING, 1);
      return ++this.#lastWaitId;
    });
  }

  wait(call: string, _waitId: number, options: WaitQueueOptions): Promise<boolean> {
    return this.#waitQueue.wait((checkLiveness) => this.#tryConsume(checkLiveness), call, options);
  }

  waitSync(call: string, timeout: number | undefined): boolean {
    if (!this.#isShared) requireSharedMemory(call, `await ${call.replace("Sync", "")}`);
    return this.#waitQueue.waitSync((checkLiveness) => this.#tryConsume(checkLiveness), timeout);
  }

  withdraw(): boolean {
    return this.#mutex.withLock(() => {
      const row = this.#threads.ownRow();
      if (row === undefined) return false;
      const wasGranted = (this.#words[row + ROW_GRANTED] as number) >= (this.#words[row + ROW_WAITING] as number);
      if (wasGranted) this.#add(row + ROW_GRANTED, -1);
      this.#add(row + ROW_WAITING, -1);
      return wasGranted;
    });
  }

  notify(_call: string, count: number): void {
    this.#mutex.withLock(() => this.#grant(count));
    // Each looks at its own row.
    this.#waitQueue.wake(Number.POSITIVE_INFINITY);
  }

  handle(client: Client, operation: string, args: readonly unknown[], options: WaitQueueOptions): unknown {
    const [call, waitIdOrCount] = args as [string, number];
    const waitIds = this.#waitIdsOf(client);
    switch (operation) {
      case "enroll": {
        const waitId = this.enroll(call);
        waitIds.add(waitId);
        return waitId;
      }
      case "wait":
        return this.wait(call, waitIdOrCount, options).then((isDone) => {
          // Of a guest that left meanwhile, all flows have been withdrawn: this one was another's turn.
          if (isDone && !waitIds.delete(waitIdOrCount)) this.notify("notify()", 1);
          return isDone;
        });
      case "withdraw":
        // It was let go, and the answer is on its way.
        return waitIds.delete(waitIdOrCount) ? this.withdraw() : true;
      default:
        return this.notify(call, waitIdOrCount);
    }
  }

  clientGone(client: Client): void {
    for (const _ of this.#waitIdsOf(client)) if (this.withdraw()) this.notify("notify()", 1);
    this.#clientWaits.delete(client);
  }

  #waitIdsOf(client: Client): Set<number> {
    let waitIds = this.#clientWaits.get(client);
    if (waitIds === undefined) {
      waitIds = new Set();
      this.#clientWaits.set(client, waitIds);
    }
    return waitIds;
  }

  /** Whether one of this thread's flows may go, which it does then. */
  #tryConsume(checkLiveness: boolean): boolean {
    return this.#mutex.withLock(() => {
      if (checkLiveness) this.#removeDead();
      const row = this.#threads.ownRow();
      if (row === undefined || this.#words[row + ROW_GRANTED] === 0) return false;
      this.#add(row + ROW_GRANTED, -1);
      this.#add(row + ROW_WAITING, -1);
      return true;
    });
  }

  #grant(count: number): void {
    for (let remaining = count; remaining > 0; remaining--) {
      const row = this.#nextRow();
      if (row === undefined) return;
      this.#add(row + ROW_GRANTED, 1);
      this.#requeue(row);
    }
  }

  /** The row with flows that may not go yet whose turn was longest ago. */
  #nextRow(): number | undefined {
    const words = this.#words;
    let nextRow: number | undefined;
    let firstTurn = 0;
    for (const row of this.#threads.usedRows()) {
      if ((words[row + ROW_WAITING] as number) <= (words[row + ROW_GRANTED] as number)) continue;
      const turn = words[row + ROW_TURN] as number;
      if (nextRow !== undefined && ((turn - firstTurn) | 0) >= 0) continue;
      nextRow = row;
      firstTurn = turn;
    }
    return nextRow;
  }

  /** Takes out those who are gone; what they may have been let go for, others are. */
  #removeDead(): void {
    const words = this.#words;
    let orphanedCount = 0;
    for (const row of this.#threads.deadRows((row) => words[row + ROW_GRANTED] !== 0)) {
      orphanedCount += words[row + ROW_GRANTED] as number;
      this.#threads.freeRow(row);
    }
    if (orphanedCount === 0) return;
    this.#grant(orphanedCount);
    this.#waitQueue.wake(Number.POSITIVE_INFINITY);
  }

  #ownRowAfterCleanup(): number | undefined {
    for (const row of this.#threads.deadRows(() => true)) this.#threads.freeRow(row);
    return this.#threads.ownRow();
  }

  #requeue(row: number): void {
    this.#add(LAST_TURN_WORD, 1);
    this.#words[row + ROW_TURN] = this.#words[LAST_TURN_WORD] as number;
  }

  #add(word: number, change: number): void {
    this.#words[word] = (this.#words[word] as number) + change;
  }
}

class RemoteCondition implements ConditionBackend {
  readonly #client: PrimitiveClient;

  constructor(client: PrimitiveClient) {
    this.#client = client;
  }

  async enroll(call: string): Promise<number> {
    return (await this.#client.request(call, "enroll", [call])) as number;
  }

  async wait(call: string, waitId: number, options: WaitOptions): Promise<boolean> {
    return (await this.#client.request(call, "wait", [call, waitId], options)) === true;
  }

  waitSync(call: string): boolean {
    return requireSharedMemory(call, `await ${call.replace("Sync", "")}`);
  }

  async withdraw(call: string, waitId: number): Promise<boolean> {
    return (await this.#client.request(call, "withdraw", [call, waitId])) as boolean;
  }

  async notify(call: string, count: number): Promise<void> {
    await this.#client.request(call, "notify", [call, count]);
  }
}

/** How conditions are made. */
export const CONDITION_KIND: PrimitiveKind<ConditionBackend> = {
  name: "Condition",
  size: SEGMENT_BYTES,
  open: (memory) => new SharedCondition(memory),
  connect: (client) => new RemoteCondition(client),
};
