/**
 * How channels between processes come to be.
 *
 * A process that has something to share opens its *door*: a Unix socket in the family's private folder. For each thing it
 * makes an *invitation*: the door's address and a token that nobody can guess. The invitation travels in a message; who
 * holds it dials the door, shows the token in a first message, and has a channel to the thing.
 *
 * ```text
 *   A: invite(accept) ── invitation, inside any message ──> B: dial(invitation)
 *   A <──────────── HELLO [protocol, token, pid of B] ───────────── B
 *   A: accept(channel)                                              B: channel
 * ```
 *
 * A caller that shows no valid token is cut off unanswered, and one that says nothing is after a time; until then it may
 * send a short message and no more.
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

/** Leave to open one channel, or many, to a thing in another process; plain data. */
export interface EndpointAddress {
  readonly socketPath: string;
  readonly token: string;
}

/** What becomes of those who come with an invitation. */
export interface EndpointOptions {
  /** Whether more than one may come. @default false */
  readonly multiple?: boolean;
  /** How the channels are made. */
  readonly channel?: Pick<ChannelOptions, "shapes">;
}

interface Endpoint {
  readonly accept: (channel: SyncChannel, pid: number) => void;
  readonly options: EndpointOptions;
}

class Acceptor {
  #socketPath: string | undefined;
  #isListening = false;
  readonly #endpoints = new Map<string, Endpoint>();

  /** Where the door is, or will be once something is shared. */
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
        () => {}, // who comes later finds no door, and says so
      );
      this.#isListening = true;
    }
    this.#endpoints.set(address.token, { accept, options });
    return address;
  }

  /** In a forked child: the door and its guests are the parent's. */
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
    // The options are known with the token only, and both kinds of shapes can be read by any decoder.
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

/** A place for a child's door; the parent removes what is left of it when the child has ended. */
export function reserveSocketPath(): string {
  return `${cleanup.socketDir()}/${randomToken(16).slice(0, 12)}`;
}

/** Makes an invitation; `accept` gets the channel of each process that comes with it, and starts it before it returns. */
export function exposeEndpoint(
  accept: (channel: SyncChannel, pid: number) => void,
  options: EndpointOptions = {},
): EndpointAddress {
  return acceptor.register(accept, options);
}

/** Takes an invitation back; channels that were opened with it stay. */
export function closeEndpoint(address: EndpointAddress): void {
  acceptor.unregister(address);
}
