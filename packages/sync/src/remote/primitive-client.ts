/**
 * The client of a primitive that another process serves (see `primitive-server.ts`).
 *
 * ```text
 *   client ── REQUEST [id, operation, arguments] ──────────────> server
 *          <── REPLY [id, value] or ERROR_REPLY [id, error] ────
 *          ── CANCEL_REQUEST id ──>     the wait has ended in the client
 * ```
 *
 * A reply may cross the cancellation of its request. The client then undoes the effect of the
 * reply, for example by releasing the lock.
 *
 * A channel keeps the order of its messages, so a released lock is free before the server handles
 * the next request. When the channel closes, the server releases everything that the client held,
 * and the client's requests reject.
 */
import {
  type Channel,
  dial,
  type EndpointAddress,
  type Frame,
  PendingRequests,
  TIMED_OUT,
  type WaitOptions,
  withTimeout,
} from "@multiproc/core/internal";
import { SyncClosedError } from "../errors.ts";

export const REQUEST = 1;
export const REPLY = 2;
export const ERROR_REPLY = 3;
export const CANCEL_REQUEST = 4;

/** The clients of this process, by the token of their endpoint. */
const clients = new Map<string, PrimitiveClient>();

/**
 * A channel to the process that serves a primitive. All objects of the primitive in this process
 * share it.
 */
export class PrimitiveClient {
  readonly endpoint: EndpointAddress;
  #channel: Promise<Channel> | undefined;
  readonly #pendingRequests = new PendingRequests();
  readonly #singletons = new Map<string, object>();
  /** The reference count: the number of objects that use this client. */
  #useCount = 0;
  #isClosed = false;

  private constructor(endpoint: EndpointAddress) {
    this.endpoint = endpoint;
  }

  /**
   * Returns the client of an endpoint. Each call needs one call of {@link PrimitiveClient.close}.
   */
  static forEndpoint(endpoint: EndpointAddress): PrimitiveClient {
    let client = clients.get(endpoint.token);
    if (client === undefined) {
      client = new PrimitiveClient(endpoint);
      clients.set(endpoint.token, client);
    }
    client.#useCount += 1;
    return client;
  }

  /** Forgets the clients in a forked child: their channels belong to the parent. */
  static resetAfterFork(): void {
    clients.clear();
  }

  /** Returns the object for `key`, and creates it at the first call. */
  singleton<T extends object>(key: string, make: () => T): T {
    if (!this.#singletons.has(key)) this.#singletons.set(key, make());
    return this.#singletons.get(key) as T;
  }

  /**
   * Sends a request, and waits for its reply.
   *
   * @param call the call as the user writes it, for errors
   * @param undo undoes the effect of a reply that arrives after the wait has ended
   * @returns the value of the reply, or {@link TIMED_OUT}
   * @throws {SyncClosedError} if the server is gone
   */
  async request(
    call: string,
    operation: string,
    args: readonly unknown[] = [],
    options: WaitOptions = {},
    undo?: (value: unknown) => void,
  ): Promise<unknown> {
    options.signal?.throwIfAborted();
    const channel = await this.#open(call);
    const { id, reply } = this.#pendingRequests.add(channel);
    reply.catch(() => {}); // avoids an unhandled rejection after the wait has ended
    channel.send(REQUEST, [id, operation, args], "argument");
    let isSettled = false;
    try {
      const value = await withTimeout(reply, call, options);
      isSettled = value !== TIMED_OUT;
      return value;
    } catch (error) {
      isSettled = options.signal?.aborted !== true || error !== options.signal.reason;
      throw error;
    } finally {
      if (!isSettled && !channel.closed) {
        channel.send(CANCEL_REQUEST, id);
        reply.then(undo, () => {});
      }
    }
  }

  /** Sends a request, and ignores its reply and its errors. */
  notify(operation: string, args: readonly unknown[] = []): void {
    this.request(operation, operation, args).catch(() => {});
  }

  close(): void {
    this.#useCount -= 1;
    if (this.#useCount > 0) return;
    this.#isClosed = true;
    if (clients.get(this.endpoint.token) === this) clients.delete(this.endpoint.token);
    this.#channel?.then(
      (channel) => channel.end(),
      () => {},
    );
  }

  #open(call: string): Promise<Channel> {
    this.#channel ??= this.#dial();
    return this.#channel.then(
      (channel) => {
        if (channel.closed) throw serverGone(call);
        return channel;
      },
      (cause) => {
        throw serverGone(call, cause);
      },
    );
  }

  async #dial(): Promise<Channel> {
    const channel = await dial(this.endpoint, "the process that serves it");
    channel.start({ message: (frame) => this.#handleFrame(channel, frame), closed: (cause) => this.#handleEnd(cause) });
    return channel;
  }

  #handleFrame(channel: Channel, frame: Frame): void {
    const [id, value] = channel.decode(frame) as [number, unknown];
    if (frame.kind === REPLY) this.#pendingRequests.resolve(id, value);
    else this.#pendingRequests.reject(id, value);
    if (this.#pendingRequests.size === 0) channel.unref();
  }

  #handleEnd(cause: unknown): void {
    const error = this.#isClosed
      ? new SyncClosedError("The wait ended because close() was called in this process")
      : serverGone("The call", cause);
    this.#pendingRequests.rejectAll(error);
  }
}

function serverGone(call: string, cause?: unknown): SyncClosedError {
  const options = cause === undefined ? {} : { cause };
  return new SyncClosedError(
    `${call} failed: the process that serves the object is gone, or has closed the object`,
    options,
  );
}
