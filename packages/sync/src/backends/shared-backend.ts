/**
 * The parts that the shared backends of barriers, conditions and semaphores have in common.
 *
 * ```text
 *   word 0               mutex, which every change holds
 *        STATE_WORD      the primitive's own words
 *        …               wait queue
 *        …               thread table, up to the end of the segment
 * ```
 */
import { RobustMutex, type SharedSegment, WaitQueue } from "@multiproc/core/internal";
import { requireSharedMemory } from "../primitive.ts";
import type { Client } from "../remote/primitive-server.ts";
import { ThreadTable } from "./thread-table.ts";

/** Size of the memory of these primitives. */
export const SEGMENT_BYTES = 8192;
/** The first word of a primitive's own. */
export const STATE_WORD: number = RobustMutex.wordCount(0);
const WAITER_SLOT_COUNT = 64;

/** The base class of the shared backends. The mutex, queue and table are in the memory. */
export abstract class SharedBackend {
  protected readonly mutex: RobustMutex;
  protected readonly words: Int32Array;
  protected readonly waitQueue: WaitQueue;
  protected readonly threads: ThreadTable;
  readonly #isShared: boolean;

  /**
   * @param stateWords the number of words of the primitive's own
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

/** The numbers that each client of a primitive has, such as its waits. */
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
    set.clear(); // a request of the client that has not ended yet may still use the set
    this.#sets.delete(client);
    return numbers;
  }
}
