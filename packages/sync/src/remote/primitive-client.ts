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
  TIMED_OUT,
  type WaitOptions,
  withTimeout,
} from "@multiproc/core/internal";
import { SyncClosedError } from "../errors.ts";

export const ASK = 1;
export const ANSWER = 2;
export const FAILED = 3;
export const WITHDRAW = 4;

interface Question {
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** The links of this process to primitives that others serve, by the token of their invitation. */
const links = new Map<string, RemoteLink>();

/** A channel to the process that serves a primitive; one for all objects of this process that stand for it. */
export class RemoteLink {
  readonly invitation: EndpointAddress;
  #channel: Promise<Channel> | undefined;
  readonly #questions = new Map<number, Question>();
  readonly #parts = new Map<string, object>();
  #number = 0;
  #users = 0;
  #isClosed = false;

  private constructor(invitation: EndpointAddress) {
    this.invitation = invitation;
  }

  /** The link to what was invited to; each call of this wants one of {@link RemoteLink.close}. */
  static reach(invitation: EndpointAddress): RemoteLink {
    let link = links.get(invitation.token);
    if (link === undefined) {
      link = new RemoteLink(invitation);
      links.set(invitation.token, link);
    }
    link.#users += 1;
    return link;
  }

  /** In a forked child: its parent's channels are not its own. */
  static forgetAll(): void {
    links.clear();
  }

  /** What stands for the primitive in this process, once. */
  part<T extends object>(name: string, make: () => T): T {
    if (!this.#parts.has(name)) this.#parts.set(name, make());
    return this.#parts.get(name) as T;
  }

  /**
   * Has the home do something.
   *
   * @param call the call as the user wrote it, for errors
   * @param undo takes back what the home did, when the wait was over before the answer came
   * @returns {@link TIMED_OUT} if the time ran out
   * @throws {SyncClosedError} if the home is gone
   */
  async ask(
    call: string,
    operation: string,
    args: readonly unknown[] = [],
    options: WaitOptions = {},
    undo?: (value: unknown) => void,
  ): Promise<unknown> {
    options.signal?.throwIfAborted();
    const channel = await this.#open(call);
    const id = ++this.#number;
    channel.ref();
    const answer = new Promise<unknown>((resolve, reject) => this.#questions.set(id, { resolve, reject }));
    answer.catch(() => {}); // also if nobody waits for it any more
    channel.send(ASK, [id, operation, args], "argument");
    let isOver = false;
    try {
      const value = await withTimeout(answer, call, options);
      isOver = value !== TIMED_OUT;
      return value;
    } catch (error) {
      isOver = options.signal?.aborted !== true || error !== options.signal.reason;
      throw error;
    } finally {
      if (!isOver && !channel.closed) {
        channel.send(WITHDRAW, id);
        answer.then(undo, () => {});
      }
    }
  }

  /** Tells the home something that has no answer worth waiting for; nothing if it is gone. */
  tell(operation: string, args: readonly unknown[] = []): void {
    this.ask(operation, operation, args).catch(() => {});
  }

  close(): void {
    this.#users -= 1;
    if (this.#users > 0) return;
    this.#isClosed = true;
    if (links.get(this.invitation.token) === this) links.delete(this.invitation.token);
    this.#channel?.then(
      (channel) => channel.end(),
      () => {},
    );
  }

  #open(call: string): Promise<Channel> {
    this.#channel ??= this.#dial();
    return this.#channel.then(
      (channel) => {
        if (channel.closed) throw gone(call);
        return channel;
      },
      (cause) => {
        throw gone(call, cause);
      },
    );
  }

  async #dial(): Promise<Channel> {
    const channel = await dial(this.invitation, "the process that serves it");
    channel.start({ message: (frame) => this.#take(channel, frame), closed: (cause) => this.#ended(cause) });
    return channel;
  }

  #take(channel: Channel, frame: Frame): void {
    const [id, value] = channel.decode(frame) as [number, unknown];
    const question = this.#questions.get(id);
    this.#questions.delete(id);
    if (frame.kind === ANSWER) question?.resolve(value);
    else question?.reject(value);
    if (this.#questions.size === 0) channel.unref();
  }

  #ended(cause: unknown): void {
    const error = this.#isClosed
      ? new SyncClosedError("It was closed in this process while it was waited for")
      : gone("The call", cause);
    for (const { reject } of this.#questions.values()) reject(error);
    this.#questions.clear();
  }
}

function gone(call: string, cause?: unknown): SyncClosedError {
  const options = cause === undefined ? {} : { cause };
  return new SyncClosedError(
    `${call} cannot be served: the process that serves it is gone, or it was closed there`,
    options,
  );
}
