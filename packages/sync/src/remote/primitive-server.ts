/**
 * The server of a primitive: it runs the operations of client processes, which cannot map the
 * primitive's memory. The protocol is explained in `primitive-client.ts`.
 */
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

/** A client process. */
export interface Client {
  readonly pid: number;
  /** Whether the client has disconnected. Whatever it is granted now must be released again. */
  readonly isGone: boolean;
}

/** The backend of a primitive, as its server uses it. */
export interface RequestHandler {
  /** Runs an operation for a client. Its result may be a promise. A wait ends by the signal. */
  handle(client: Client, operation: string, args: readonly unknown[], options: WaitQueueOptions): unknown;
  /** Releases everything that a client held, because it has disconnected. */
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

export class PrimitiveServer {
  readonly #handler: RequestHandler;
  readonly #sessions = new Set<ClientSession>();
  #endpoint: EndpointAddress | undefined;

  constructor(handler: RequestHandler) {
    this.#handler = handler;
    // A forked child has no clients, and exposes an endpoint of its own.
    registerAtFork<PrimitiveServer>(this, {
      prepare() {},
      inChild(server) {
        server.#endpoint = undefined;
        server.#sessions.clear();
      },
    });
  }

  /** Returns the endpoint that clients dial, and exposes it at the first call. */
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
      // The client's wait keeps the client alive. It does not keep this process alive.
      value = await this.#handler.handle(session, operation, args, { signal: controller.signal, keepAlive: false });
    } catch (error) {
      [kind, value] = [ERROR_REPLY, error];
    }
    session.pendingWaits.delete(id);
    if (!session.channel.closed) session.channel.send(kind, [id, value], "answer");
  }
}
