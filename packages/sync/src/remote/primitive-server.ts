/** A primitive in the process that serves it to others: those that cannot open its memory. See `remote.ts`. */
import {
  type Channel,
  closeEndpoint,
  type EndpointAddress,
  exposeEndpoint,
  type Frame,
  registerAtFork,
  type WaitQueueOptions,
} from "@multiproc/core/internal";
import { ANSWER, ASK, FAILED, WITHDRAW } from "./primitive-client.ts";

/** A process that is served. */
export interface Guest {
  readonly pid: number;
  /** Whether it has left: what it is given now, nobody takes. */
  readonly isGone: boolean;
}

/** What serves guests. */
export interface Servant {
  /** Does what a guest asks for; may give a promise. Waits end with the signal. */
  serve(guest: Guest, operation: string, args: readonly unknown[], options: WaitQueueOptions): unknown;
  /** A guest is gone: whatever it had is free. */
  leave(guest: Guest): void;
}

class Visitor implements Guest {
  readonly pid: number;
  readonly channel: Channel;
  readonly waits = new Map<number, AbortController>();
  isGone = false;

  constructor(channel: Channel, pid: number) {
    this.channel = channel;
    this.pid = pid;
  }
}

/** The door to a servant. */
export class Home {
  readonly #servant: Servant;
  readonly #visitors = new Set<Visitor>();
  #invitation: EndpointAddress | undefined;

  constructor(servant: Servant) {
    this.#servant = servant;
    // A forked child has no visitors, and an invitation of its own.
    registerAtFork<Home>(this, {
      prepare() {},
      inChild(home) {
        home.#invitation = undefined;
        home.#visitors.clear();
      },
    });
  }

  /** By what others reach the servant. */
  invitation(): EndpointAddress {
    this.#invitation ??= exposeEndpoint((channel, pid) => this.#accept(channel, pid), { multiple: true });
    return this.#invitation;
  }

  close(): void {
    if (this.#invitation !== undefined) closeEndpoint(this.#invitation);
    for (const { channel } of this.#visitors) channel.end();
  }

  #accept(channel: Channel, pid: number): void {
    const visitor = new Visitor(channel, pid);
    this.#visitors.add(visitor);
    channel.start({
      message: (frame) => this.#take(visitor, frame),
      closed: () => {
        visitor.isGone = true;
        this.#visitors.delete(visitor);
        for (const wait of visitor.waits.values()) wait.abort();
        this.#servant.leave(visitor);
      },
    });
  }

  #take(visitor: Visitor, frame: Frame): void {
    if (frame.kind === WITHDRAW) {
      visitor.waits.get(visitor.channel.decode(frame) as number)?.abort();
    } else if (frame.kind === ASK) {
      const [id, operation, args] = visitor.channel.decode(frame) as [number, string, unknown[]];
      void this.#answer(visitor, id, operation, args);
    }
  }

  async #answer(visitor: Visitor, id: number, operation: string, args: readonly unknown[]): Promise<void> {
    const wait = new AbortController();
    visitor.waits.set(id, wait);
    let kind = ANSWER;
    let value: unknown;
    try {
      // The visitor's waits keep the visitor alive, not its host.
      value = await this.#servant.serve(visitor, operation, args, { signal: wait.signal, keepAlive: false });
    } catch (error) {
      [kind, value] = [FAILED, error];
    }
    visitor.waits.delete(id);
    if (!visitor.channel.closed) visitor.channel.send(kind, [id, value], "answer");
  }
}
