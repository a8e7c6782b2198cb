/**
 * The server of a primitive: runs the operations of client processes, which cannot map the
 * primitive's memory. See `primitive-client.ts` for the protocol.
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
  /** Whether the client has disconnected. A lock or unit that it still gets must be released. */
  readonly isGone: boolean;
}

/** The backend of a primitive, as its server uses it. */
export interface RequestHandler {
  /** Runs an operation for a client. The result may be a promise. The signal ends a wait. */
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
    // The clients and the endpoint belong to the parent. The child exposes its own endpoint.
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
      // A wait of a client keeps the client process alive, but not this process.
      value = await this.#handler.handle(session, operation, args, { signal: controller.signal, keepAlive: false });
    } catch (error) {
      [kind, value] = [ERROR_REPLY, error];
    }
    session.pendingWaits.delete(id);
    if (!session.channel.closed) session.channel.send(kind, [id, value], "answer");
  }
}
