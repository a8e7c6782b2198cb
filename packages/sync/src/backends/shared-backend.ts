/**
 * The common base of the backends of barriers, conditions and semaphores in shared memory.
 *
 * ```text
 *   word 0               mutex, held during every change
 *        STATE_WORD      state of the primitive
 *        …               wait queue
 *        …               thread table, up to the end of the segment
 * ```
 */
import { RobustMutex, type SharedSegment, WaitQueue } from "@multiproc/core/internal";
import { requireSharedMemory } from "../primitive.ts";
import type { Client } from "../remote/primitive-server.ts";
import { ThreadTable } from "./thread-table.ts";

/** The size of the memory of each of these primitives. */
export const SEGMENT_BYTES = 8192;
/** The index of the first word of the primitive's state. */
export const STATE_WORD: number = RobustMutex.wordCount(0);
const WAITER_SLOT_COUNT = 64;

/** The base class; see the header of this file. */
export abstract class SharedBackend {
  protected readonly mutex: RobustMutex;
  protected readonly words: Int32Array;
  protected readonly waitQueue: WaitQueue;
  protected readonly threads: ThreadTable;
  readonly #isShared: boolean;

  /**
   * @param stateWords the number of words of the primitive's state
   * @param rowWords the number of words of a row in the thread table
   */
  constructor(memory: SharedSegment, stateWords: number, rowWords: number) {
    const tableWord = STATE_WORD + stateWords + WaitQueue.wordCount(WAITER_SLOT_COUNT);
    const rowCount = Math.floor((SEGMENT_BYTES / 4 - tableWord) / rowWords);
    this.mutex = new RobustMutex(memory, 0, 0);
    this.words = new Int32Array(memory.buffer);
    this.waitQueue = new WaitQueue(memory, STATE_WORD + stateWords, WAITER_SLOT_COUNT);
    this.threads = new ThreadTable(this.words, tableWord, rowCount, rowWords);
    this.#isShared = memory.isShared;
  }

  /** Blocks this thread until `condition` is true. @returns false if the timeout expired */
  protected blockUntil(
    call: string,
    condition: (checkLiveness: boolean) => boolean,
    timeout: number | undefined,
  ): boolean {
    if (!this.#isShared) requireSharedMemory(call);
    return this.waitQueue.waitSync(condition, timeout);
  }
}

/** Adds to a word that the mutex protects. */
export function addTo(words: Int32Array, index: number, change: number): void {
  words[index] = (words[index] as number) + change;
}

/** A set of numbers for each client of a primitive, such as the ids of its waits. */
export class ClientSets {
  readonly #sets = new Map<Client, Set<number>>();

  of(client: Client): Set<number> {
    let set = this.#sets.get(client);
    if (set === undefined) {
      set = new Set();
      this.#sets.set(client, set);
    }
    return set;
  }

  /** Removes a client, and returns its numbers. */
  remove(client: Client): number[] {
    const set = this.of(client);
    const numbers = [...set];
    set.clear(); // a pending request of the client may still have a reference to the set
    this.#sets.delete(client);
    return numbers;
  }
}
