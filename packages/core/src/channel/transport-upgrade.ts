/**
 * The upgrade of a channel from its socket to shared memory, like an HTTP upgrade.
 *
 * Shared memory costs time and space, and most channels carry little. So the side that dialed
 * offers it after 256 messages. Each direction switches on its own, after its last message on the
 * socket, so messages stay in order.
 *
 * ```text
 *   the side that dialed                       the other side
 *     OFFER {memory} ──────────────────────>     attaches the memory, or answers DECLINED
 *     <───────────────────────────── SWITCHED    the last message on the socket; the rest is in memory
 *     SWITCHED ────────────────────────────>     likewise
 *     WAKE <───────────────────────────────>     the doorbell: wakes the peer
 *     OFFER_LARGE_AREA {memory} <──────────>     memory for large messages
 * ```
 *
 * A thread that dials and then blocks sets `hasSwitched` in the offer. Then both directions switch
 * at once, without SWITCHED.
 */
import { ProtocolError } from "../errors.ts";
import type { ByteStream } from "../host/host.ts";
import { host } from "../host/mod.ts";
import { hasHungUp, trySend, waitReadable } from "../native/unix-socket.ts";
import { type SegmentAddress, SharedSegment, whyNoSharedMemory } from "../shm/shared-memory-segment.ts";
import { type Frame, IS_CONTROL, smallFrame } from "./frame.ts";
import { attachSegment } from "./large-message-area.ts";
import { RING_STREAM_BYTES, RingStream } from "./ring-stream.ts";

const WAKE = 0;
const OFFER = 1;
const SWITCHED = 2;
const DECLINED = 3;
const OFFER_LARGE_AREA = 4;

const WAKE_FRAME = smallFrame(WAKE, IS_CONTROL);
/** Messages, sent and received, after which memory is offered. */
const UPGRADE_AFTER_MESSAGES = 256;
/**
 * A message counts once, and once more for each of these bytes in its size: 9000 bytes count as 3.
 */
const BYTES_PER_MESSAGE = 4096;
/** At most this many channels of a process use shared memory; the others stay on their sockets. */
const MAX_UPGRADED_CHANNELS = 64;
let upgradedCount = 0;
/** The longest wait for an answer in one system call. */
const MAX_WAIT_MS = 1000;

/** The content of OFFER. */
interface Offer {
  readonly memory: SegmentAddress;
  /** Whether the sender has switched already and expects the same of the receiver. */
  readonly hasSwitched: boolean;
}

/** The channel as the upgrade uses it. */
export interface UpgradeTarget {
  /**
   * Whether the channel is ending. Then writing stays on the socket, but reading may still switch.
   */
  isEnding(): boolean;
  /** Flushes to the socket. */
  flush(): void;
  /** Writes to the ring stream from now on. */
  writeTo(ringStream: RingStream): void;
  /** Reads from the ring stream from now on. */
  readFrom(ringStream: RingStream): void;
}

/** The upgrade of one channel. */
export class Upgrade {
  readonly #socket: ByteStream;
  readonly #target: UpgradeTarget;
  #messagesUntilOffer = UPGRADE_AFTER_MESSAGES;
  /** Whether the channel must call {@link Upgrade.recordMessage} for each message. */
  isCounting: boolean;
  /** The memory that was offered and not accepted yet. */
  #pendingOffer: SharedSegment | undefined;
  ringStream: RingStream | undefined;

  constructor(socket: ByteStream, isOffering: boolean, target: UpgradeTarget) {
    this.#socket = socket;
    this.#target = target;
    this.isCounting = isOffering;
  }

  /** Counts a message that was sent or received. */
  recordMessage(size: number): void {
    this.#messagesUntilOffer -= 1 + Math.floor(size / BYTES_PER_MESSAGE);
    if (this.#messagesUntilOffer <= 0 && upgradedCount < MAX_UPGRADED_CHANNELS) this.#offer();
  }

  /** Offers memory, once, if shared memory is available. */
  #offer(): void {
    this.isCounting = false;
    if (this.#target.isEnding() || whyNoSharedMemory() !== undefined) return;
    try {
      this.#pendingOffer = SharedSegment.create(RING_STREAM_BYTES);
    } catch {
      return; // no shared memory is left: the channel stays on its socket
    }
    this.#target.flush();
    this.#socket.write(offerFrame(this.#pendingOffer, false));
  }

  /** Blocks until the channel is upgraded; returns false if that is impossible or took too long. */
  upgradeSync(deadline: number): boolean {
    const { fd, pending } = this.#socket;
    if (fd === undefined || pending > 0) return false;
    if (this.isCounting) this.#offer();
    while (this.#pendingOffer !== undefined && !hasHungUp(fd) && performance.now() < deadline) {
      waitReadable(fd, Math.min(deadline - performance.now(), MAX_WAIT_MS));
      this.#socket.readNow?.();
    }
    return this.ringStream !== undefined;
  }

  /** Handles a control frame. */
  handleControlFrame(frame: Frame): void {
    switch (frame.kind) {
      case WAKE:
        return this.ringStream?.onDoorbell();
      case OFFER:
        return this.#acceptOffer(parseJson<Offer>(frame));
      case OFFER_LARGE_AREA:
        return this.ringStream?.largeMessageArea.attach(parseJson<SegmentAddress>(frame));
      case SWITCHED:
        return this.#onPeerSwitched();
      case DECLINED:
        return this.#dropOffer();
      default:
        throw new ProtocolError(`The peer sent a control frame of unknown kind ${frame.kind}`);
    }
  }

  /** Upgrades a channel that a blocking thread has dialed: both sides use memory from the start. */
  upgradeImmediately(memory: SharedSegment): RingStream {
    const ringStream = this.#createRingStream(memory, "creator");
    this.#switchBoth(ringStream);
    return ringStream;
  }

  /** Releases the memory when the channel is closed. */
  end(): void {
    this.#dropOffer();
    if (this.ringStream === undefined) return;
    this.ringStream.destroy();
    this.ringStream = undefined;
    upgradedCount -= 1;
  }

  #acceptOffer({ memory: address, hasSwitched }: Offer): void {
    if (this.ringStream !== undefined)
      throw new ProtocolError("The peer offered shared memory to a channel that uses some already");
    if (this.#target.isEnding()) return;
    let memory: SharedSegment;
    try {
      memory = attachSegment(address, RING_STREAM_BYTES);
    } catch (error) {
      if (hasSwitched) throw error; // a blocked peer can be reached through memory only
      this.#socket.write(smallFrame(DECLINED, IS_CONTROL));
      return;
    }
    const ringStream = this.#createRingStream(memory, "peer");
    if (hasSwitched) this.#switchBoth(ringStream);
    else this.#switchWriting(ringStream);
  }

  #onPeerSwitched(): void {
    const memory = this.#pendingOffer;
    this.#pendingOffer = undefined;
    const ringStream =
      this.ringStream ?? (memory === undefined ? undefined : this.#createRingStream(memory, "creator"));
    if (ringStream === undefined)
      throw new ProtocolError("The peer switched a channel to shared memory that was not offered");
    if (memory !== undefined) this.#switchWriting(ringStream);
    this.#target.readFrom(ringStream);
  }

  /** Switches both directions without SWITCHED, as the peer expects it. */
  #switchBoth(ringStream: RingStream): void {
    this.#target.writeTo(ringStream);
    this.#target.readFrom(ringStream);
  }

  #switchWriting(ringStream: RingStream): void {
    this.#target.flush();
    if (!this.#target.isEnding()) this.#socket.write(smallFrame(SWITCHED, IS_CONTROL));
    this.#target.writeTo(ringStream);
  }

  #createRingStream(memory: SharedSegment, side: "creator" | "peer"): RingStream {
    upgradedCount += 1;
    this.isCounting = false;
    const socket = this.#socket;
    this.ringStream = new RingStream(socket, memory, side, {
      wake: () => {
        // The host may write in the next turn of its event loop only, but this thread may block
        // before. So it calls send() itself, unless the host still has earlier bytes to write.
        if (socket.fd === undefined || socket.pending > 0 || !trySend(socket.fd, WAKE_FRAME)) socket.write(WAKE_FRAME);
      },
      offerLargeArea: (address) => void socket.write(jsonFrame(OFFER_LARGE_AREA, address)),
    });
    return this.ringStream;
  }

  #dropOffer(): void {
    this.#pendingOffer?.close();
    this.#pendingOffer = undefined;
  }
}

/** Builds the OFFER frame. */
export function offerFrame(memory: SharedSegment, hasSwitched: boolean): Uint8Array {
  const offer: Offer = { memory: memory.address(), hasSwitched };
  return jsonFrame(OFFER, offer);
}

function jsonFrame(kind: number, content: unknown): Uint8Array {
  return smallFrame(kind, IS_CONTROL, new TextEncoder().encode(JSON.stringify(content)));
}

function parseJson<T>({ bytes, start, end }: Frame): T {
  return JSON.parse(host.utf8Read(bytes, start, end)) as T;
}
