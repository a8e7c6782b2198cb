/** What a worker says, and when that leaves; see "Care" in `protocol.ts`. */
import { ProcessError } from "@multiproc/core";
import { type Channel, vouching } from "@multiproc/core/internal";
import { FAILURE, HOLD_MS, LAST, RESULT, RESULTS, timeBits } from "../protocol.ts";
import type { Chunk } from "./chunk-runner.ts";

/** Longer texts are said by themselves. */
const MAX_TEXT = 256;

/** The worker's side of the channel to its pool. */
export class Answers {
  readonly #channel: Channel;
  #flushedAt = 0;
  #isHolding = false;
  #isLeaving = false;
  /** Results that are said together, each the whole answer to a task, and how long those took together. */
  #group: unknown[] = [];
  #groupMs = 0;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  /** Says something that has no value, or a plain one. */
  say(kind: number, value?: unknown): void {
    this.cut();
    // A pool that is gone needs no answers; this process is about to end.
    if (!this.#channel.closed) this.#channel.send(kind, value);
  }

  /**
   * The result of a task.
   *
   * @param mayHold whether it may leave together with others
   */
  result(result: unknown, now: number, from: number, mayHold: boolean): void {
    const ms = now - from;
    if (mayHold && ms < HOLD_MS && isSmall(result)) {
      this.#group.push(result);
      this.#groupMs += ms;
    } else this.#single(RESULT | timeBits(ms), result);
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
    this.cut();
    try {
      if (chunk.isDone) this.#sendList(LAST | bits, results);
      else if (results.length > 1) this.#sendList(RESULTS | bits, results);
      else if (results.length === 1) this.#send(RESULT | bits, results[0], "result");
    } catch {
      // One of them cannot be sent, or all of them are too much for one message.
      for (const result of results) this.#item(RESULT | bits, result, chunk.isSettling);
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
    this.cut();
    try {
      for (const result of results) this.#send(RESULT | timeBits(ms), result, "result");
    } catch (unsendable) {
      first = unsendable;
    }
    this.failure(first, ms);
  }

  /** Says what was to be said together. */
  cut(): void {
    const group = this.#group;
    if (group.length === 0) return;
    this.#group = [];
    const bits = timeBits(this.#groupMs / group.length);
    if (group.length === 1) this.#send(RESULT | bits, group[0], "result");
    else this.#sendList(RESULTS | bits, group);
    this.#groupMs = 0;
  }

  /** Something that was thrown, which can be anything. */
  error(kind: number, error: unknown): void {
    this.cut();
    try {
      this.#send(kind, error, "error");
    } catch (cause) {
      const { message } = cause as Error;
      this.say(kind, new ProcessError(`The task threw a value that is no error: ${message}`));
    }
  }

  /** Hands all that was said to the system. */
  flush(now: number = performance.now()): void {
    this.cut();
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
  #item(kind: number, result: unknown, isSettling: boolean): void {
    try {
      this.#send(kind, result, "result");
    } catch (reason) {
      if (!isSettling) throw reason;
      this.#send(kind, { status: "rejected", reason }, "result");
    }
  }

  #single(kind: number, result: unknown): void {
    this.cut();
    try {
      this.#send(kind, result, "result");
    } catch (error) {
      this.error(FAILURE | (kind & ~RESULT), error);
    }
  }

  #sendList(kind: number, results: readonly unknown[]): void {
    vouching(results, () => this.#send(kind, results, "results"));
  }

  #send(kind: number, value: unknown, root: string): void {
    if (!this.#channel.closed) this.#channel.send(kind, value, root, this.#channel);
  }
}

/** Whether a result is nothing that the next task could change, and not long: then it can be encoded later, with others. */
function isSmall(result: unknown): boolean {
  if (typeof result === "string") return result.length <= MAX_TEXT;
  return result === null || result === undefined || typeof result === "number" || typeof result === "boolean";
}
