/** What a worker says, and when that leaves; see "Care" in `protocol.ts`. */
import { ProcessError } from "@multiproc/core";
import type { Channel } from "@multiproc/core/internal";
import type { Chunk } from "./chunk.ts";
import { FAILURE, HOLD_MS, LAST, RESULT, RESULTS, timeBits } from "./protocol.ts";

/** The worker's side of the channel to its pool. */
export class Answers {
  readonly #channel: Channel;
  #flushedAt = 0;
  #isHolding = false;
  #isLeaving = false;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  /** Says something that has no value, or a plain one. */
  say(kind: number, value?: unknown): void {
    // A pool that is gone needs no answers; this process is about to end.
    if (!this.#channel.closed) this.#channel.send(kind, value);
  }

  /**
   * The result of a task.
   *
   * @param mayHold whether it may leave together with others
   */
  result(result: unknown, now: number, from: number, mayHold: boolean): void {
    const bits = timeBits(now - from);
    try {
      this.#send(RESULT | bits, result, "result");
    } catch (error) {
      this.error(FAILURE | bits, error);
    }
    this.#isHolding = mayHold && now - this.#flushedAt < HOLD_MS;
    if (!this.#isHolding) this.flush(now);
  }

  /**
   * The results of a chunk since the last time.
   *
   * @throws {SendError} if one of them cannot be sent; those before it were
   */
  results(chunk: Chunk, now: number): void {
    const { results, ms } = chunk.take(now);
    const bits = timeBits(ms);
    try {
      if (chunk.isDone) this.#send(LAST | bits, results, "results");
      else if (results.length > 1) this.#send(RESULTS | bits, results, "results");
      else if (results.length === 1) this.#send(RESULT | bits, results[0], "result");
    } catch {
      // One of them cannot be sent, or all of them are too much for one message.
      for (const result of results) this.#single(RESULT | bits, result, chunk.isSettling);
      if (chunk.isDone) this.#send(LAST | bits, [], "results");
    }
    this.flush(now);
  }

  /** A task has thrown. */
  failure(error: unknown, ms: number): void {
    this.error(FAILURE | timeBits(ms), error);
    this.flush();
  }

  /** An item of a chunk has thrown; those before it have not. */
  chunkFailure(chunk: Chunk, error: unknown): void {
    const { results, ms } = chunk.take(performance.now());
    let first = error;
    try {
      for (const result of results) this.#send(RESULT | timeBits(ms), result, "result");
    } catch (unsendable) {
      first = unsendable;
    }
    this.failure(first, ms);
  }

  /** Something that was thrown, which can be anything. */
  error(kind: number, error: unknown): void {
    try {
      this.#send(kind, error, "error");
    } catch (cause) {
      const { message } = cause as Error;
      this.say(kind, new ProcessError(`The task threw a value that is no error: ${message}`));
    }
  }

  /** Hands all that was said to the system. */
  flush(now: number = performance.now()): void {
    this.#isHolding = false;
    this.#isLeaving = true;
    this.#flushedAt = now;
    this.#channel.flush();
  }

  /**
   * What must be awaited before anything else begins: not every host has taken what it was handed when the call returns, and
   * none takes more while it has not.
   */
  left(): Promise<void> | undefined {
    if (this.#isHolding) this.flush();
    if (!this.#isLeaving) return undefined;
    this.#isLeaving = false;
    return this.#channel.flushed();
  }

  /** As {@link Answers.left}, but what is held back stays so. */
  leftSoFar(): Promise<void> | undefined {
    return this.#isHolding ? undefined : this.left();
  }

  /** A result that, if it cannot be sent, is an error of its chunk or, where every item has its own, of its item. */
  #single(kind: number, result: unknown, isSettling: boolean): void {
    try {
      this.#send(kind, result, "result");
    } catch (reason) {
      if (!isSettling) throw reason;
      this.#send(kind, { status: "rejected", reason }, "result");
    }
  }

  #send(kind: number, value: unknown, root: string): void {
    if (!this.#channel.closed) this.#channel.send(kind, value, root, this.#channel);
  }
}
