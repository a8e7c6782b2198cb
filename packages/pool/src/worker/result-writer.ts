/** What a worker says, and when that leaves; see "Care" in `protocol.ts`. */
import { ProcessError } from "@multiproc/core";
import { assumeDense, type Channel } from "@multiproc/core/internal";
import { DONE, FAILURE, MAX_BATCH_DELAY_MS, RESULT, RESULTS, timeBits } from "../protocol.ts";
import type { ChunkRunner } from "./chunk-runner.ts";

/** Longer texts are said by themselves. */
const MAX_BATCHED_TEXT_LENGTH = 256;

/** The worker's side of the channel to its pool. */
export class ResultWriter {
  readonly #channel: Channel;
  #flushedAt = 0;
  #isBatching = false;
  #isFlushing = false;
  /** Results that are said together, each the whole answer to a task, and how long those took together. */
  #batch: unknown[] = [];
  #batchMs = 0;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  /** Says something that has no value, or a plain one. */
  send(kind: number, value?: unknown): void {
    this.endBatch();
    // A pool that is gone needs no answers; this process is about to end.
    if (!this.#channel.closed) this.#channel.send(kind, value);
  }

  /**
   * The result of a task.
   *
   * @param mayHold whether it may leave together with others
   */
  sendResult(sendResult: unknown, now: number, startedAt: number, mayBatch: boolean): void {
    const ms = now - startedAt;
    if (mayBatch && ms < MAX_BATCH_DELAY_MS && isBatchable(sendResult)) {
      this.#batch.push(sendResult);
      this.#batchMs += ms;
    } else this.#sendSingle(RESULT | timeBits(ms), sendResult);
    this.#isBatching = mayBatch && now - this.#flushedAt < MAX_BATCH_DELAY_MS;
    if (!this.#isBatching) this.flush(now);
  }

  /**
   * The results of a chunk since the last time.
   *
   * @throws {SendError} if one of them cannot be sent; those before it were
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
      // One of them cannot be sent, or all of them are too much for one message.
      for (const result of results) this.#sendItem(RESULT | bits, result, chunk.isSettling);
      if (chunk.isDone) this.#sendValue(DONE | bits, [], "results");
    }
    this.flush(now);
  }

  /** A task has thrown. */
  sendFailure(error: unknown, ms: number): void {
    this.sendError(FAILURE | timeBits(ms), error);
    this.flush();
  }

  /** An item of a chunk has thrown; those before it have not. */
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

  /** Says what was to be said together. */
  endBatch(): void {
    const batch = this.#batch;
    if (batch.length === 0) return;
    this.#batch = [];
    const bits = timeBits(this.#batchMs / batch.length);
    if (batch.length === 1) this.#sendValue(RESULT | bits, batch[0], "result");
    else this.#sendList(RESULTS | bits, batch);
    this.#batchMs = 0;
  }

  /** Something that was thrown, which can be anything. */
  sendError(kind: number, sendError: unknown): void {
    this.endBatch();
    try {
      this.#sendValue(kind, sendError, "error");
    } catch (cause) {
      const { message } = cause as Error;
      this.send(kind, new ProcessError(`The task threw a value that is no error: ${message}`));
    }
  }

  /** Hands all that was said to the system. */
  flush(now: number = performance.now()): void {
    this.endBatch();
    this.#isBatching = false;
    this.#isFlushing = true;
    this.#flushedAt = now;
    this.#channel.flush();
  }

  /**
   * What must be awaited before anything else begins: not every host has taken what it was handed when the call returns, and
   * none takes more while it has not.
   */
  flushed(): Promise<void> | undefined {
    if (this.#isBatching) this.flush();
    if (!this.#isFlushing) return undefined;
    this.#isFlushing = false;
    return this.#channel.flushed();
  }

  /** As {@link ResultWriter.flushed}, but what is held back stays so. */
  flushedUnlessBatching(): Promise<void> | undefined {
    return this.#isBatching ? undefined : this.flushed();
  }

  /** A result that, if it cannot be sent, is an error of its chunk or, where every item has its own, of its item. */
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

/** Whether a result is nothing that the next task could change, and not long: then it can be encoded later, with others. */
function isBatchable(result: unknown): boolean {
  if (typeof result === "string") return result.length <= MAX_BATCHED_TEXT_LENGTH;
  return result === null || result === undefined || typeof result === "number" || typeof result === "boolean";
}
