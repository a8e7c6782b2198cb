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
import { CANCEL_REQUEST, ERROR_REPLY, REPLY, REQUEST } from "./primitive-client.ts";

/** A process that is served. */
export interface Client {
  readonly pid: number;
  /** Whether it has left: what it is given now, nobody takes. */
  readonly isGone: boolean;
}

/** What serves guests. */
export interface RequestHandler {
  /** Does what a guest asks for; may give a promise. Waits end with the signal. */
  handle(client: Client, operation: string, args: readonly unknown[], options: WaitQueueOptions): unknown;
  /** A guest is gone: whatever it had is free. */
  clientGone(client: Client): void;
}

class ClientSession implements Client {
  readonly pid: number;
  readonly channel: Channel;
  readonly pendingWaits = new Map<number, AbortController>();
  isGone = false;

  constructor(channel: Channel, pid: number) {
    this.channel = channel;
    this.pid = pid;
  }
}

/** The door to a servant. */
export class PrimitiveServer {
  readonly #handler: RequestHandler;
  readonly #sessions = new Set<ClientSession>();
  #endpoint: EndpointAddress | undefined;

  constructor(handler: RequestHandler) {
    this.#handler = handler;
    // A forked child has no visitors, and an invitation of its own.
    registerAtFork<PrimitiveServer>(this, {
      prepare() {},
      inChild(server) {
        server.#endpoint = undefined;
        server.#sessions.clear();
      },
    });
  }

  /** By what others reach the servant. */
  endpoint(): EndpointAddress {
    this.#endpoint ??= exposeEndpoint((channel, pid) => this.#accept(channel, pid), { multiple: true });
    return this.#endpoint;
  }

  close(): void {
    if (this.#endpoint !== undefined) closeEndpoint(this.#endpoint);
    for (const { channel } of this.#sessions) channel.end();
  }

  #accept(channel: Channel, pid: number): void {
    const session = new ClientSession(channel, pid);
    this.#sessions.add(session);
    channel.start({
      message: (frame) => this.#handleFrame(session, frame),
      closed: () => {
        session.isGone = true;
        this.#sessions.delete(session);
        for (const wait of session.pendingWaits.values()) wait.abort();
        this.#handler.clientGone(session);
      },
    });
  }

  #handleFrame(session: ClientSession, frame: Frame): void {
    if (frame.kind === CANCEL_REQUEST) {
      session.pendingWaits.get(session.channel.decode(frame) as number)?.abort();
    } else if (frame.kind === REQUEST) {
      const [id, operation, args] = session.channel.decode(frame) as [number, string, unknown[]];
      void this.#handleRequest(session, id, operation, args);
    }
  }

  async #handleRequest(session: ClientSession, id: number, operation: string, args: readonly unknown[]): Promise<void> {
    const controller = new AbortController();
    session.pendingWaits.set(id, controller);
    let kind = REPLY;
    let value: unknown;
    try {
      // The visitor's waits keep the visitor alive, not its host.
      value = await this.#handler.handle(session, operation, args, { signal: controller.signal, keepAlive: false });
    } catch (error) {
      [kind, value] = [ERROR_REPLY, error];
    }
    session.pendingWaits.delete(id);
    if (!session.channel.closed) session.channel.send(kind, [id, value], "answer");
  }
}
