/**
 * Writes the replies of a worker, and decides when to flush them: results of short calls are
 * batched.
 *
 * Batching coalesces many small writes into one system call. It must not hold back replies that
 * show the pool which task runs; see "Acknowledgement" in `protocol.ts`.
 */
import { ProcessError } from "@multiproc/core";
import { assumeDense, type Channel } from "@multiproc/core/internal";
import { DONE, FAILURE, MAX_BATCH_DELAY_MS, RESULT, RESULTS, timeBits } from "../protocol.ts";
import type { ChunkRunner } from "./chunk-runner.ts";

/** The longest text that is batched, in characters. */
const MAX_BATCHED_TEXT_LENGTH = 256;

/** The writer of replies to the pool. */
export class ResultWriter {
  readonly #channel: Channel;
  #flushedAt = 0;
  /** Whether results are held back, to be flushed with later ones. */
  #isBatching = false;
  #isFlushing = false;
  /** Results of calls that will be sent as one message, and the sum of their durations. */
  #batch: unknown[] = [];
  #batchMs = 0;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  /** Sends a reply without a value, or with a plain one. */
  send(kind: number, value?: unknown): void {
    this.endBatch();
    // If the pool has ended, the reply is not needed. This process is about to end too.
    if (!this.#channel.closed) this.#channel.send(kind, value);
  }

  /**
   * Sends the result of a call.
   *
   * @param mayBatch whether it may be held back and batched with others
   */
  sendResult(result: unknown, now: number, startedAt: number, mayBatch: boolean): void {
    const ms = now - startedAt;
    if (mayBatch && ms < MAX_BATCH_DELAY_MS && isBatchable(result)) {
      this.#batch.push(result);
      this.#batchMs += ms;
    } else this.#sendSingle(RESULT | timeBits(ms), result);
    this.#isBatching = mayBatch && now - this.#flushedAt < MAX_BATCH_DELAY_MS;
    if (!this.#isBatching) this.flush(now);
  }

  /**
   * Sends the results that a chunk has made since the last call.
   *
   * @throws {SendError} if one of them cannot be sent; the results before it were sent
   */
  sendResults(chunk: ChunkRunner, now: number): void {
    const { results, ms } = chunk.take(now);
    const bits = timeBits(ms);
    this.endBatch();
    try {
      if (chunk.isDone) this.#sendList(DONE | bits, results);
      else if (results.length > 1) this.#sendList(RESULTS | bits, results);
      else if (results.length === 1) this.#sendValue(RESULT | bits, results[0], "result");
    } catch {
      // One of them cannot be sent, or they are too large for one message.
      for (const result of results) this.#sendItem(RESULT | bits, result, chunk.isSettling);
      if (chunk.isDone) this.#sendValue(DONE | bits, [], "results");
    }
    this.flush(now);
  }

  /** Sends the error of a task. */
  sendFailure(error: unknown, ms: number): void {
    this.sendError(FAILURE | timeBits(ms), error);
    this.flush();
  }

  /** Sends the error of an item of a chunk, after the results of the items before it. */
  sendChunkFailure(chunk: ChunkRunner, error: unknown): void {
    const { results, ms } = chunk.take(performance.now());
    let firstError = error;
    this.endBatch();
    try {
      for (const result of results) this.#sendValue(RESULT | timeBits(ms), result, "result");
    } catch (unsendable) {
      firstError = unsendable;
    }
    this.sendFailure(firstError, ms);
  }

  /** Sends the batch. */
  endBatch(): void {
    const batch = this.#batch;
    if (batch.length === 0) return;
    this.#batch = [];
    const bits = timeBits(this.#batchMs / batch.length);
    if (batch.length === 1) this.#sendValue(RESULT | bits, batch[0], "result");
    else this.#sendList(RESULTS | bits, batch);
    this.#batchMs = 0;
  }

  /** Sends a thrown value, of any type. */
  sendError(kind: number, error: unknown): void {
    this.endBatch();
    try {
      this.#sendValue(kind, error, "error");
    } catch (cause) {
      const { message } = cause as Error;
      this.send(kind, new ProcessError(`The task threw a value that cannot be sent: ${message}`));
    }
  }

  /** Writes all replies to the system. */
  flush(now: number = performance.now()): void {
    this.endBatch();
    this.#isBatching = false;
    this.#isFlushing = true;
    this.#flushedAt = now;
    this.#channel.flush();
  }

  /**
   * Flushes a batch. If a flush is in progress, returns a promise to await before the next task
   * begins. Some hosts write asynchronously, and cannot write while a task blocks the thread.
   */
  flushed(): Promise<void> | undefined {
    if (this.#isBatching) this.flush();
    if (!this.#isFlushing) return undefined;
    this.#isFlushing = false;
    return this.#channel.flushed();
  }

  /** Like {@link ResultWriter.flushed}, but leaves a batch open. */
  flushedUnlessBatching(): Promise<void> | undefined {
    return this.#isBatching ? undefined : this.flushed();
  }

  /**
   * Sends the result of an item. If that fails, a settling chunk sends a rejected result instead.
   * Any other chunk fails.
   */
  #sendItem(kind: number, result: unknown, isSettling: boolean): void {
    try {
      this.#sendValue(kind, result, "result");
    } catch (reason) {
      if (!isSettling) throw reason;
      this.#sendValue(kind, { status: "rejected", reason }, "result");
    }
  }

  #sendSingle(kind: number, result: unknown): void {
    this.endBatch();
    try {
      this.#sendValue(kind, result, "result");
    } catch (error) {
      this.sendError(FAILURE | (kind & ~RESULT), error);
    }
  }

  #sendList(kind: number, results: readonly unknown[]): void {
    assumeDense(results, () => this.#sendValue(kind, results, "results"));
  }

  #sendValue(kind: number, value: unknown, root: string): void {
    if (!this.#channel.closed) this.#channel.send(kind, value, root, this.#channel);
  }
}

/**
 * Returns whether a result can be serialized later: it is short, and the next task cannot change
 * it.
 */
function isBatchable(result: unknown): boolean {
  if (typeof result === "string") return result.length <= MAX_BATCHED_TEXT_LENGTH;
  return result === null || result === undefined || typeof result === "number" || typeof result === "boolean";
}
