/**
 * The backend of conditions: which threads wait, and which of their flows may continue.
 *
 * Each thread has a row with the number of its flows that wait, and the number of *grants*: flows
 * among them that were notified and have not continued yet. `notify()` grants in turn, first to the
 * thread whose last turn is longest ago. A waiter consumes a grant of its thread's row. The grants
 * of a dead thread go to other threads; each waiter checks for dead threads.
 */
import { ProcessError } from "@multiproc/core";
import type { SharedSegment, WaitOptions, WaitQueueOptions } from "@multiproc/core/internal";
import { type MaybePromise, type PrimitiveKind, requireSharedMemory } from "../primitive.ts";
import type { PrimitiveClient } from "../remote/primitive-client.ts";
import type { Client, RequestHandler } from "../remote/primitive-server.ts";
import { addTo, ClientSets, SEGMENT_BYTES, SharedBackend, STATE_WORD } from "./shared-backend.ts";

/** The operations of a condition between processes, without its lock. */
export interface ConditionBackend {
  /** Registers a wait: from now on it can be notified. Returns the id of the wait. */
  enroll(call: string): MaybePromise<number>;
  /** Waits until the wait is granted; false if the timeout expired. */
  wait(call: string, waitId: number, options: WaitOptions): Promise<boolean>;
  waitSync(call: string, timeout: number | undefined): boolean;
  /**
   * Ends a wait without a grant. Returns true if it was granted before: then the caller has
   * consumed that grant.
   */
  withdraw(call: string, waitId: number): MaybePromise<boolean>;
  /** Grants up to `count` waits. */
  notify(call: string, count: number): MaybePromise<void>;
}

const LAST_TURN_WORD = STATE_WORD;
const STATE_WORD_COUNT = 8;
const ROW_WAITING = 1;
const ROW_GRANTED = 2;
const ROW_TURN = 3;
const ROW_WORDS = 4;

class SharedCondition extends SharedBackend implements ConditionBackend, RequestHandler {
  /** The ids of the waits of each client. */
  readonly #clientWaits = new ClientSets();
  #lastWaitId = 0;

  constructor(memory: SharedSegment) {
    super(memory, STATE_WORD_COUNT, ROW_WORDS);
  }

  enroll(call: string): number {
    return this.mutex.withLock(() => {
      const row = this.threads.ownRow() ?? this.#ownRowAfterCleanup();
      if (row === undefined)
        throw new ProcessError(`${call} failed: too many threads wait for the condition`, { code: "ERR_TOO_MANY" });
      if (this.words[row + ROW_WAITING] === 0) this.#requeue(row);
      addTo(this.words, row + ROW_WAITING, 1);
      return ++this.#lastWaitId;
    });
  }

  wait(call: string, _waitId: number, options: WaitQueueOptions): Promise<boolean> {
    return this.waitQueue.wait((checkLiveness) => this.#tryConsume(checkLiveness), call, options);
  }

  waitSync(call: string, timeout: number | undefined): boolean {
    return this.blockUntil(call, (checkLiveness) => this.#tryConsume(checkLiveness), timeout);
  }

  withdraw(): boolean {
    return this.mutex.withLock(() => {
      const row = this.threads.ownRow();
      if (row === undefined) return false;
      const wasGranted = (this.words[row + ROW_GRANTED] as number) >= (this.words[row + ROW_WAITING] as number);
      if (wasGranted) addTo(this.words, row + ROW_GRANTED, -1);
      addTo(this.words, row + ROW_WAITING, -1);
      return wasGranted;
    });
  }

  notify(_call: string, count: number): void {
    this.mutex.withLock(() => this.#grant(count));
    // All waiters wake, because each thread can only see the grants in its own row.
    this.waitQueue.wake(Number.POSITIVE_INFINITY);
  }

  handle(client: Client, operation: string, args: readonly unknown[], options: WaitQueueOptions): unknown {
    const [call, waitIdOrCount] = args as [string, number];
    const waitIds = this.#clientWaits.of(client);
    switch (operation) {
      case "enroll": {
        const waitId = this.enroll(call);
        waitIds.add(waitId);
        return waitId;
      }
      case "wait":
        return this.wait(call, waitIdOrCount, options).then((isGranted) => {
          // If the client has gone, its waits were withdrawn, so this grant belongs to another
          // wait.
          if (isGranted && !waitIds.delete(waitIdOrCount)) this.notify("notify()", 1);
          return isGranted;
        });
      case "withdraw":
        // A wait that is not registered any more was granted, and the reply is on its way.
        return waitIds.delete(waitIdOrCount) ? this.withdraw() : true;
      default:
        return this.notify(call, waitIdOrCount);
    }
  }

  clientGone(client: Client): void {
    for (const _ of this.#clientWaits.remove(client)) if (this.withdraw()) this.notify("notify()", 1);
  }

  /** Consumes a grant of this thread, if there is one. */
  #tryConsume(checkLiveness: boolean): boolean {
    return this.mutex.withLock(() => {
      if (checkLiveness) this.#removeDead();
      const row = this.threads.ownRow();
      if (row === undefined || this.words[row + ROW_GRANTED] === 0) return false;
      addTo(this.words, row + ROW_GRANTED, -1);
      addTo(this.words, row + ROW_WAITING, -1);
      return true;
    });
  }

  #grant(count: number): void {
    for (let remaining = count; remaining > 0; remaining--) {
      const row = this.#nextRow();
      if (row === undefined) return;
      addTo(this.words, row + ROW_GRANTED, 1);
      this.#requeue(row);
    }
  }

  /**
   * Returns the row whose last turn is longest ago, among those with flows that wait without a
   * grant.
   */
  #nextRow(): number | undefined {
    const { words } = this;
    let nextRow: number | undefined;
    let firstTurn = 0;
    for (const row of this.threads.usedRows()) {
      if ((words[row + ROW_WAITING] as number) <= (words[row + ROW_GRANTED] as number)) continue;
      const turn = words[row + ROW_TURN] as number;
      if (nextRow !== undefined && ((turn - firstTurn) | 0) >= 0) continue;
      nextRow = row;
      firstTurn = turn;
    }
    return nextRow;
  }

  /** Frees the rows of dead threads, and passes their grants on. */
  #removeDead(): void {
    const { words } = this;
    let orphanedCount = 0;
    for (const row of this.threads.deadRows((row) => words[row + ROW_GRANTED] !== 0)) {
      orphanedCount += words[row + ROW_GRANTED] as number;
      this.threads.freeRow(row);
    }
    if (orphanedCount === 0) return;
    this.#grant(orphanedCount);
    this.waitQueue.wake(Number.POSITIVE_INFINITY);
  }

  #ownRowAfterCleanup(): number | undefined {
    for (const row of this.threads.deadRows(() => true)) this.threads.freeRow(row);
    return this.threads.ownRow();
  }

  #requeue(row: number): void {
    addTo(this.words, LAST_TURN_WORD, 1);
    this.words[row + ROW_TURN] = this.words[LAST_TURN_WORD] as number;
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
    return requireSharedMemory(call);
  }

  async withdraw(call: string, waitId: number): Promise<boolean> {
    return (await this.#client.request(call, "withdraw", [call, waitId])) as boolean;
  }

  async notify(call: string, count: number): Promise<void> {
    await this.#client.request(call, "notify", [call, count]);
  }
}

export const CONDITION_KIND: PrimitiveKind<ConditionBackend> = {
  name: "Condition",
  size: SEGMENT_BYTES,
  open: (memory) => new SharedCondition(memory),
  connect: (client) => new RemoteCondition(client),
};
