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
import { connectWithRetry } from "../channel/connect-with-retry.ts";
import { MAX_MESSAGE_BYTES } from "../channel/frame.ts";
import { RING_STREAM_BYTES } from "../channel/ring-stream.ts";
import { StreamChannel } from "../channel/stream-channel.ts";
import { offerFrame } from "../channel/transport-upgrade.ts";
import { ChannelClosedError } from "../errors.ts";
import type { ByteStream } from "../host/host.ts";
import { host } from "../host/mod.ts";
import { connectSync, hasHungUp, trySend } from "../native/unix-socket.ts";
import { singleton } from "../registry.ts";
import { afterForkInChild } from "../runtime/at-fork.ts";
import { childConfig } from "../runtime/child-config.ts";
import { cleanup } from "../runtime/process-cleanup.ts";
import { responsiveTimeout } from "../runtime/responsive-timeout.ts";
import { SharedSegment, whyNoSharedMemory } from "../shm/shared-memory-segment.ts";
import { HELLO, HELLO_MAX_BYTES, helloFrame, helloText, readHello } from "./handshake.ts";

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

const HELLO_TIMEOUT_MS = 10_000;

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

const acceptor: Acceptor = singleton("door", () => new Acceptor());
afterForkInChild(() => acceptor.resetAfterFork());

/** A place for a child's door; the parent removes what is left of it when the child has ended. */
export function reserveSocketPath(): string {
  return `${cleanup.socketDir()}/${randomToken(16).slice(0, 12)}`;
}

/** Where this process's own door is. */
export function ownSocketPath(): string {
  return acceptor.socketPath;
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

/**
 * Opens a channel with an invitation.
 *
 * @param what what the channel leads to, for errors
 * @throws {ChannelClosedError} if the process that made the invitation is gone
 */
export async function dial(
  address: EndpointAddress,
  peer: string,
  options: Pick<ChannelOptions, "shapes"> = {},
): Promise<SyncChannel> {
  let stream: ByteStream;
  try {
    stream = await connectWithRetry(address.socketPath, { maxAgeMs: HELLO_TIMEOUT_MS / 2 });
  } catch (cause) {
    throw unreachable(peer, cause);
  }
  const channel = new StreamChannel(stream, { ...options, peer });
  channel.enableUpgrade(true);
  channel.sendBytes(HELLO, helloText(address.token));
  return channel;
}

/** Why {@link dialSync} does not work here; undefined if it does. */
export function whyNoDialSync(): string | undefined {
  return host.whyNoAdoptFd() ?? whyNoSharedMemory();
}

/**
 * Opens a channel with an invitation, and blocks the thread until that is done. Its messages go through memory from the
 * beginning, see `upgrade.ts`.
 *
 * @param what what the channel leads to, for errors
 * @param until how long to wait for the other side, on the clock of `performance`
 * @returns nothing if the time is over
 * @throws {CapabilityError} where there is no memory in common; see {@link whyNoDialSync} for what else must be there
 * @throws {ChannelClosedError} if the process that made the invitation is gone
 */
export function dialSync(address: EndpointAddress, peer: string, deadline: number): SyncChannel | undefined {
  const memory = SharedSegment.create(RING_STREAM_BYTES);
  let channel: StreamChannel | undefined;
  let isPeerConnected = false;
  try {
    const fd = connectSync(address.socketPath, deadline);
    if (fd === undefined) return undefined;
    channel = new StreamChannel(host.adoptFd(fd), { peer });
    const ringStream = channel.enableUpgrade(true).upgradeImmediately(memory);
    if (!trySend(fd, helloFrame(address.token)) || !trySend(fd, offerFrame(memory, true)) || hasHungUp(fd))
      throw new Error("Nobody takes what is said there");
    isPeerConnected = ringStream.blocking.waitForPeer(deadline);
    if (!isPeerConnected && hasHungUp(fd))
      throw new Error("The other side does not know this one, or has no memory in common");
    return isPeerConnected ? channel : undefined;
  } catch (cause) {
    throw unreachable(peer, cause);
  } finally {
    if (channel === undefined) memory.close();
    else if (!isPeerConnected) channel.destroy();
  }
}

function unreachable(peer: string, cause: unknown): ChannelClosedError {
  return new ChannelClosedError(
    `${peer} cannot be reached: the process that holds it is gone, or this one may not connect to it`,
    { cause },
  );
}
