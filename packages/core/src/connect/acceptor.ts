/**
 * Endpoints: how a process lets other processes open channels to one of its objects.
 *
 * A process has one Unix socket for all of its *endpoints*, in the socket folder of its process
 * tree. It starts to listen with the first endpoint. Each endpoint has an *address*: the path of
 * the socket and a random token. The address is sent in a message. The receiver dials it: it
 * connects to the socket and sends the token. Both sides then have a channel.
 *
 * ```text
 *   A: exposeEndpoint(accept) ── address, inside any message ──> B: dial(address)
 *   A <──────────── HELLO [protocol, token, pid of B] ────────────── B
 *   A: accept(channel)                                               B: channel
 * ```
 *
 * The token is a capability. A client with a wrong token is disconnected without an answer, and so
 * is a client that sends no token for 10 s. The first message of a client has at most 256 bytes.
 */
import { randomToken } from "../bytes/random-token.ts";
import type { ChannelOptions, SyncChannel } from "../channel/channel.ts";
import { MAX_MESSAGE_BYTES } from "../channel/frame.ts";
import { StreamChannel } from "../channel/stream-channel.ts";
import type { ByteStream } from "../host/host.ts";
import { host } from "../host/mod.ts";
import { singleton } from "../registry.ts";
import { afterForkInChild } from "../runtime/at-fork.ts";
import { childConfig } from "../runtime/child-config.ts";
import { cleanup } from "../runtime/process-cleanup.ts";
import { responsiveTimeout } from "../runtime/responsive-timeout.ts";
import { HELLO_MAX_BYTES, HELLO_TIMEOUT_MS, readHello } from "./handshake.ts";

/** The address of an endpoint, as plain data. Every process that has it can open a channel. */
export interface EndpointAddress {
  readonly socketPath: string;
  readonly token: string;
}

/** Options of an endpoint. */
export interface EndpointOptions {
  /** Whether more than one client may dial the address. @default false */
  readonly multiple?: boolean;
  /** Options of the channels that the endpoint accepts. */
  readonly channel?: Pick<ChannelOptions, "shapes">;
}

interface Endpoint {
  readonly accept: (channel: SyncChannel, pid: number) => void;
  readonly options: EndpointOptions;
}

/** Listens on the socket of this process, and hands authenticated channels to the endpoints. */
class Acceptor {
  #socketPath: string | undefined;
  #isListening = false;
  readonly #endpoints = new Map<string, Endpoint>();

  /** The path of the socket, which exists once an endpoint is exposed. */
  get socketPath(): string {
    this.#socketPath ??= childConfig.socketPath ?? reserveSocketPath();
    return this.#socketPath;
  }

  register(accept: Endpoint["accept"], options: EndpointOptions): EndpointAddress {
    const address = { socketPath: this.socketPath, token: randomToken(16) };
    if (!this.#isListening) {
      host.listen(
        address.socketPath,
        (stream) => this.#authenticate(stream),
        () => {}, // if the socket is closed, dial() of a later client rejects
      );
      this.#isListening = true;
    }
    this.#endpoints.set(address.token, { accept, options });
    return address;
  }

  /** Resets the acceptor in a forked child, because socket and endpoints belong to the parent. */
  resetAfterFork(): void {
    this.#socketPath = undefined;
    this.#isListening = false;
    this.#endpoints.clear();
  }

  unregister(address: EndpointAddress): void {
    this.#endpoints.delete(address.token);
  }

  #authenticate(stream: ByteStream): void {
    let endpoint: Endpoint | undefined;
    // The endpoint's options are known only after the token has arrived. Reading the token does not
    // depend on `shapes`, because that option only affects what this side sends.
    const channel = new StreamChannel(stream, { maxMessageBytes: HELLO_MAX_BYTES });
    const cancel = responsiveTimeout(() => channel.destroy(), HELLO_TIMEOUT_MS);
    channel.start({
      message: (frame) => {
        if (endpoint !== undefined) return;
        cancel();
        const hello = readHello(frame);
        endpoint = hello && this.#endpoints.get(hello.token);
        if (endpoint === undefined || hello === undefined) return channel.destroy();
        if (endpoint.options.multiple !== true) this.#endpoints.delete(hello.token);
        channel.maxMessageBytes = MAX_MESSAGE_BYTES;
        channel.enableUpgrade(false);
        channel.shapes = endpoint.options.channel?.shapes ?? "inline";
        channel.peer = `process ${hello.pid}`;
        endpoint.accept(channel, hello.pid);
      },
      closed: cancel,
    });
  }
}

const acceptor: Acceptor = singleton("acceptor", () => new Acceptor());
afterForkInChild(() => acceptor.resetAfterFork());

/**
 * Returns the path of a socket for a child. The parent deletes the socket after the child has
 * ended.
 */
export function reserveSocketPath(): string {
  return `${cleanup.socketDir()}/${randomToken(16).slice(0, 12)}`;
}

/**
 * Exposes an endpoint and returns its address.
 *
 * @param accept receives the channel and the pid of each client. It must start the channel before
 * it returns.
 */
export function exposeEndpoint(
  accept: (channel: SyncChannel, pid: number) => void,
  options: EndpointOptions = {},
): EndpointAddress {
  return acceptor.register(accept, options);
}

/** Closes an endpoint. Clients can no longer dial its address; open channels stay open. */
export function closeEndpoint(address: EndpointAddress): void {
  acceptor.unregister(address);
}
