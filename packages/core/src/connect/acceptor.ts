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
import { reach } from "../channel/connect-with-retry.ts";
import { MAX_MESSAGE } from "../channel/frame-reader.ts";
import { RINGS_SIZE } from "../channel/ring-stream.ts";
import { SocketChannel } from "../channel/stream-channel.ts";
import { offerFrame } from "../channel/transport-upgrade.ts";
import { ChannelClosedError } from "../errors.ts";
import type { ByteStream } from "../host/host.ts";
import { host } from "../host/mod.ts";
import { connectNow, hasHungUp, sendNow } from "../native/unix-socket.ts";
import { singleton } from "../registry.ts";
import { afterFork } from "../runtime/at-fork.ts";
import { inherited } from "../runtime/child-config.ts";
import { lifetime } from "../runtime/process-cleanup.ts";
import { patience } from "../runtime/responsive-timeout.ts";
import { Memory, missingMemory } from "../shm/shared-memory-segment.ts";
import { HELLO, HELLO_LIMIT, helloFrame, helloText, readHello } from "./handshake.ts";

/** Leave to open one channel, or many, to a thing in another process; plain data. */
export interface Invitation {
  readonly address: string;
  readonly token: string;
}

/** What becomes of those who come with an invitation. */
export interface InviteOptions {
  /** Whether more than one may come. @default false */
  readonly many?: boolean;
  /** How the channels are made. */
  readonly channel?: Pick<ChannelOptions, "shapes">;
}

interface Guest {
  readonly accept: (channel: SyncChannel, pid: number) => void;
  readonly options: InviteOptions;
}

const HELLO_TIMEOUT = 10_000;

class Door {
  #path: string | undefined;
  #isOpen = false;
  readonly #guests = new Map<string, Guest>();

  /** Where the door is, or will be once something is shared. */
  get address(): string {
    this.#path ??= inherited.place ?? placeForChild();
    return this.#path;
  }

  invite(accept: Guest["accept"], options: InviteOptions): Invitation {
    const invitation = { address: this.address, token: randomToken(16) };
    if (!this.#isOpen) {
      host.listen(
        invitation.address,
        (stream) => this.#greet(stream),
        () => {}, // who comes later finds no door, and says so
      );
      this.#isOpen = true;
    }
    this.#guests.set(invitation.token, { accept, options });
    return invitation;
  }

  /** In a forked child: the door and its guests are the parent's. */
  moveOut(): void {
    this.#path = undefined;
    this.#isOpen = false;
    this.#guests.clear();
  }

  revoke(invitation: Invitation): void {
    this.#guests.delete(invitation.token);
  }

  #greet(stream: ByteStream): void {
    let guest: Guest | undefined;
    // The options are known with the token only, and both kinds of shapes can be read by any decoder.
    const hello = new SocketChannel(stream, { limit: HELLO_LIMIT });
    const cancel = patience(() => hello.destroy(), HELLO_TIMEOUT);
    hello.start({
      message: (frame) => {
        if (guest !== undefined) return;
        cancel();
        const shown = readHello(frame);
        guest = shown && this.#guests.get(shown.token);
        if (guest === undefined || shown === undefined) return hello.destroy();
        if (guest.options.many !== true) this.#guests.delete(shown.token);
        hello.limit = MAX_MESSAGE;
        hello.mayMove(false);
        hello.shapes = guest.options.channel?.shapes ?? "inline";
        hello.peer = `process ${shown.pid}`;
        guest.accept(hello, shown.pid);
      },
      closed: cancel,
    });
  }
}

const door: Door = singleton("door", () => new Door());
afterFork(() => door.moveOut());

/** A place for a child's door; the parent removes what is left of it when the child has ended. */
export function placeForChild(): string {
  return `${lifetime.folder()}/${randomToken(16).slice(0, 12)}`;
}

/** Where this process's own door is. */
export function doorAddress(): string {
  return door.address;
}

/** Makes an invitation; `accept` gets the channel of each process that comes with it, and starts it before it returns. */
export function invite(accept: (channel: SyncChannel, pid: number) => void, options: InviteOptions = {}): Invitation {
  return door.invite(accept, options);
}

/** Takes an invitation back; channels that were opened with it stay. */
export function revoke(invitation: Invitation): void {
  door.revoke(invitation);
}

/**
 * Opens a channel with an invitation.
 *
 * @param what what the channel leads to, for errors
 * @throws {ChannelClosedError} if the process that made the invitation is gone
 */
export async function dial(
  invitation: Invitation,
  what: string,
  options: Pick<ChannelOptions, "shapes"> = {},
): Promise<SyncChannel> {
  let stream: ByteStream;
  try {
    stream = await reach(invitation.address, { freshness: HELLO_TIMEOUT / 2 });
  } catch (cause) {
    throw unreachable(what, cause);
  }
  const channel = new SocketChannel(stream, { ...options, peer: what });
  channel.mayMove(true);
  channel.sendBytes(HELLO, helloText(invitation.token));
  return channel;
}

/** Why {@link dialSync} does not work here; undefined if it does. */
export function missingDialSync(): string | undefined {
  return host.missingAdopt() ?? missingMemory();
}

/**
 * Opens a channel with an invitation, and blocks the thread until that is done. Its messages go through memory from the
 * beginning, see `upgrade.ts`.
 *
 * @param what what the channel leads to, for errors
 * @param until how long to wait for the other side, on the clock of `performance`
 * @returns nothing if the time is over
 * @throws {CapabilityError} where there is no memory in common; see {@link missingDialSync} for what else must be there
 * @throws {ChannelClosedError} if the process that made the invitation is gone
 */
export function dialSync(invitation: Invitation, what: string, until: number): SyncChannel | undefined {
  const memory = Memory.create(RINGS_SIZE);
  let channel: SocketChannel | undefined;
  let isJoined = false;
  try {
    const file = connectNow(invitation.address, until);
    if (file === undefined) return undefined;
    channel = new SocketChannel(host.adopt(file), { peer: what });
    const rings = channel.mayMove(true).moveAtOnce(memory);
    if (!sendNow(file, helloFrame(invitation.token)) || !sendNow(file, offerFrame(memory, true)) || hasHungUp(file))
      throw new Error("Nobody takes what is said there");
    isJoined = rings.joinedWithin(until);
    if (!isJoined && hasHungUp(file))
      throw new Error("The other side does not know this one, or has no memory in common");
    return isJoined ? channel : undefined;
  } catch (cause) {
    throw unreachable(what, cause);
  } finally {
    if (channel === undefined) memory.close();
    else if (!isJoined) channel.destroy();
  }
}

function unreachable(what: string, cause: unknown): ChannelClosedError {
  return new ChannelClosedError(
    `${what} cannot be reached: the process that holds it is gone, or this one may not connect to it`,
    { cause },
  );
}
