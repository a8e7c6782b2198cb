/** Opens a channel to an endpoint of another process; see `acceptor.ts`. */
import type { ChannelOptions, SyncChannel } from "../channel/channel.ts";
import { connectWithRetry } from "../channel/connect-with-retry.ts";
import { RING_STREAM_BYTES } from "../channel/ring-stream.ts";
import { StreamChannel } from "../channel/stream-channel.ts";
import { offerFrame } from "../channel/transport-upgrade.ts";
import { ChannelClosedError } from "../errors.ts";
import type { ByteStream } from "../host/host.ts";
import { host } from "../host/mod.ts";
import { connectSync, hasHungUp, trySend } from "../native/unix-socket.ts";
import { SharedSegment, whyNoSharedMemory } from "../shm/shared-memory-segment.ts";
import type { EndpointAddress } from "./acceptor.ts";
import { HELLO, HELLO_TIMEOUT_MS, helloFrame, helloText } from "./handshake.ts";

/**
 * Opens a channel to an endpoint.
 *
 * @param peer the name of the other side in errors, such as "the process that owns the queue"
 * @returns a promise that rejects with {@link ChannelClosedError} if the endpoint's process has
 * exited
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

/** Returns why {@link dialSync} is not available; `undefined` if it is. */
export function whyNoDialSync(): string | undefined {
  return host.whyNoAdoptFd() ?? whyNoSharedMemory();
}

/**
 * Opens a channel to an endpoint, and blocks this thread until it is open. The channel uses shared
 * memory from its first message on, see `transport-upgrade.ts`.
 *
 * @param peer the name of the other side in errors
 * @param deadline the value of `performance.now()` at which to stop waiting for the other side
 * @returns the channel, or `undefined` if the deadline has passed
 * @throws {CapabilityError} if shared memory is not available. {@link whyNoDialSync} also checks
 * the other requirements.
 * @throws {ChannelClosedError} if the endpoint's process has exited
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
      throw new Error("The socket accepted the connection but closed it before the handshake");
    isPeerConnected = ringStream.blocking.waitForPeer(deadline);
    if (!isPeerConnected && hasHungUp(fd))
      throw new Error("The other side rejected the token, or cannot attach the shared memory");
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
    `Cannot connect to ${peer}: that process has exited, or this process may not connect to its socket`,
    { cause },
  );
}
