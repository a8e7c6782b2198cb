/**
 * A primitive that another process serves; see `home.ts` for the other side.
 *
 * ```text
 *   guest ── ASK [id, operation, arguments] ──> home
 *         <─ ANSWER [id, value] or FAILED [id, error] ──
 *         ── WITHDRAW id ──>   the wait is over here; if its answer is on the way, the guest undoes what it says
 * ```
 *
 * A channel keeps its order, so what is released first is free before the next call asks. When the channel ends, the home
 * releases all that the guest had, and the guest's calls fail.
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

/** The links of this process to primitives that others serve, by the token of their invitation. */
const clients = new Map<string, PrimitiveClient>();

/** A channel to the process that serves a primitive; one for all objects of this process that stand for it. */
export class PrimitiveClient {
  readonly endpoint: EndpointAddress;
  #channel: Promise<Channel> | undefined;
  readonly #pendingRequests = new PendingRequests();
  readonly #singletons = new Map<string, object>();
  #useCount = 0;
  #isClosed = false;

  private constructor(endpoint: EndpointAddress) {
    this.endpoint = endpoint;
  }

  /** The link to what was invited to; each call of this wants one of {@link PrimitiveClient.close}. */
  static forEndpoint(endpoint: EndpointAddress): PrimitiveClient {
    let client = clients.get(endpoint.token);
    if (client === undefined) {
      client = new PrimitiveClient(endpoint);
      clients.set(endpoint.token, client);
    }
    client.#useCount += 1;
    return client;
  }

  /** In a forked child: its parent's channels are not its own. */
  static resetAfterFork(): void {
    clients.clear();
  }

  /** What stands for the primitive in this process, once. */
  singleton<T extends object>(key: string, make: () => T): T {
    if (!this.#singletons.has(key)) this.#singletons.set(key, make());
    return this.#singletons.get(key) as T;
  }

  /**
   * Has the home do something.
   *
   * @param call the call as the user wrote it, for errors
   * @param undo takes back what the home did, when the wait was over before the answer came
   * @returns {@link TIMED_OUT} if the time ran out
   * @throws {SyncClosedError} if the home is gone
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
    reply.catch(() => {}); // also if nobody waits for it any more
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

  /** Tells the home something that has no answer worth waiting for; nothing if it is gone. */
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
      ? new SyncClosedError("It was closed in this process while it was waited for")
      : serverGone("The call", cause);
    this.#pendingRequests.rejectAll(error);
  }
}

function serverGone(call: string, cause?: unknown): SyncClosedError {
  const options = cause === undefined ? {} : { cause };
  return new SyncClosedError(
    `${call} cannot be served: the process that serves it is gone, or it was closed there`,
    options,
  );
}
