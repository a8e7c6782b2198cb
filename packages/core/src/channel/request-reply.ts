/**
 * Requests and replies over a channel: the client's half of a small RPC.
 *
 * A request carries a number, and its reply carries the same number. So replies may come in any
 * order. Each request makes the channel keep the program alive. The caller calls `channel.unref()`
 * when no reply is due any more. Remote locks, events and barriers use this, and so do queues in
 * other processes.
 */
import type { Channel } from "./channel.ts";

interface PendingRequest {
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** A request that was registered: its number, and the promise of its reply. */
export interface RequestHandle {
  readonly id: number;
  readonly reply: Promise<unknown>;
}

/** The requests of one channel that wait for their replies. */
export class PendingRequests {
  readonly #pending = new Map<number, PendingRequest>();
  #lastId = 0;

  /** Requests whose replies are due. */
  get size(): number {
    return this.#pending.size;
  }

  /** Registers the next request and refs the channel. The caller sends the number along. */
  add(channel: Channel): RequestHandle {
    const id = ++this.#lastId;
    channel.ref();
    return { id, reply: new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject })) };
  }

  /** Handles a successful reply. It does nothing if the request was removed before. */
  resolve(id: number, value: unknown): void {
    this.#take(id)?.resolve(value);
  }

  /** Handles a reply that is an error. */
  reject(id: number, error: unknown): void {
    this.#take(id)?.reject(error);
  }

  /** Forgets a request whose reply is no longer needed. */
  remove(id: number): void {
    this.#pending.delete(id);
  }

  /** Rejects all requests, because the channel has ended. */
  rejectAll(error: unknown): void {
    const all = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of all) reject(error);
  }

  #take(id: number): PendingRequest | undefined {
    const request = this.#pending.get(id);
    this.#pending.delete(id);
    return request;
  }
}
