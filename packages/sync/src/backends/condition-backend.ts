/**
 * The backend of conditions: counts the waits of each thread, and the notifications for them.
 *
 * Each thread has a row with two numbers: its waits, and its *grants*. A grant is a notification
 * that no wait has consumed yet. `notify()` gives one grant after the other to the thread that has
 * not had a turn for the longest time. Any wait of the thread may consume the grant. Waiters check
 * for dead threads by timer, and pass the grants of dead threads on to other threads.
 */
import { ProcessError } from "@multiproc/core";
import type { SharedSegment, WaitOptions, WaitQueueOptions } from "@multiproc/core/internal";
import { type MaybePromise, type PrimitiveKind, requireSharedMemory } from "../primitive.ts";
import type { PrimitiveClient } from "../remote/primitive-client.ts";
import type { Client, RequestHandler } from "../remote/primitive-server.ts";
import { addTo, ClientSets, SEGMENT_BYTES, SharedBackend, STATE_WORD } from "./shared-backend.ts";

/** The operations of a condition between processes, without its lock. */
export interface ConditionBackend {
  /** Registers a wait, which can be notified from then on. Returns the id of the wait. */
  enroll(call: string): MaybePromise<number>;
  /** Waits for a grant, and consumes it; false if the timeout expired. */
  wait(call: string, waitId: number, options: WaitOptions): Promise<boolean>;
  waitSync(call: string, timeout: number | undefined): boolean;
  /**
   * Removes a wait that ended by its timeout or signal. Returns true if a grant for it has arrived
   * since; this call then consumes the grant.
   */
  withdraw(call: string, waitId: number): MaybePromise<boolean>;
  /** Gives grants to up to `count` waits. */
  notify(call: string, count: number): MaybePromise<void>;
}

const LAST_TURN_WORD = STATE_WORD;
const STATE_WORD_COUNT = 8;
/** The number of registered waits of the row's thread. */
const ROW_WAITING = 1;
/** The number of grants for the row's thread, at most its waits. */
const ROW_GRANTED = 2;
/** When the thread had its last turn. The lowest number is next. */
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
    // This wakes all threads, because a wake-up cannot be sent to the thread of one row.
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
          // If the client has disconnected, clientGone() has withdrawn this wait. The grant then
          // belongs to another wait.
          if (isGranted && !waitIds.delete(waitIdOrCount)) this.notify("notify()", 1);
          return isGranted;
        });
      case "withdraw":
        // A wait that is no longer registered has consumed a grant. Its reply crossed this request.
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
      if (checkLiveness) this.#passOnGrantsOfDead();
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
   * Returns the row whose last turn is the longest time ago, among the rows with more waits than
   * grants.
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

  /** Frees the rows of dead threads that have grants, and passes the grants on. */
  #passOnGrantsOfDead(): void {
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

  /** Records that the thread of a row has its turn now, so that all other threads come first. */
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
