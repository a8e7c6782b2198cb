/** dial */
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
