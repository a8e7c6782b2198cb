/**
 * How a channel moves from its socket into memory.
 *
 * Most channels carry little, and memory costs time and space: so it is offered, by the side that dialed, once so much has been
 * said that more is likely to come. Each way moves by itself, so that all stays in order.
 *
 * ```text
 *   who dialed                                the other
 *     OFFER {memory} ──────────────────────>    attaches it, or says DECLINED
 *     <────────────────────────────── MOVED     the last message on the socket; what follows is in memory
 *     MOVED ───────────────────────────────>    likewise
 *     BELL <───────────────────────────────>    from then on: there is something for you in memory
 *     WIDER {memory} <─────────────────────>    and: here is more for large messages
 * ```
 *
 * Who has dialed while its thread is blocked says so in the offer, and moves both ways at once.
 */
import { ProtocolError } from "../errors.ts";
import type { ByteStream } from "../host/host.ts";
import { host } from "../host/mod.ts";
import { hasHungUp, trySend, waitReadable } from "../native/unix-socket.ts";
import { type SegmentAddress, SharedSegment, whyNoSharedMemory } from "../shm/shared-memory-segment.ts";
import type { Frame } from "./channel.ts";
import { IS_CONTROL, smallFrame } from "./frame-reader.ts";
import { attachSegment } from "./large-message-area.ts";
import { RING_STREAM_BYTES, RingStream } from "./ring-stream.ts";

const WAKE = 0;
const OFFER = 1;
const SWITCHED = 2;
const DECLINED = 3;
const OFFER_LARGE_AREA = 4;

const WAKE_FRAME = smallFrame(WAKE, IS_CONTROL);
/** So many messages are sent and received before memory is offered ... */
const UPGRADE_AFTER_MESSAGES = 256;
/** ... where a large one counts once more for each so many bytes. */
const BYTES_PER_MESSAGE = 4096;
/** So many channels of this process are in memory at once; others stay on their sockets. */
const MAX_UPGRADED_CHANNELS = 64;
let upgradedCount = 0;
/** Milliseconds; a signal may end a wait sooner. */
const MAX_WAIT_MS = 1000;

/** What is offered. */
interface Offer {
  readonly memory: SegmentAddress;
  /** Whether who offers it has moved already, and expects the other to have. */
  readonly hasSwitched: boolean;
}

/** What moves. */
export interface UpgradeTarget {
  /** Whether nothing more is written: then it moves no more, but what the other side has moved is read. */
  isEnding(): boolean;
  /** Writes to the socket what is queued. */
  flush(): void;
  writeTo(ringStream: RingStream): void;
  /** Has what arrives from now on delivered from there. */
  readFrom(ringStream: RingStream): void;
}

/** A channel's way into memory; see the head of this file. */
export class Upgrade {
  readonly #socket: ByteStream;
  readonly #target: UpgradeTarget;
  #messagesUntilOffer = UPGRADE_AFTER_MESSAGES;
  /** Whether it is to be told what is sent and received. */
  isCounting: boolean;
  /** What was offered and not answered. */
  #pendingOffer: SharedSegment | undefined;
  ringStream: RingStream | undefined;

  constructor(socket: ByteStream, isOffering: boolean, target: UpgradeTarget) {
    this.#socket = socket;
    this.#target = target;
    this.isCounting = isOffering;
  }

  /** A message of that size was sent or received. */
  recordMessage(size: number): void {
    this.#messagesUntilOffer -= 1 + Math.floor(size / BYTES_PER_MESSAGE);
    if (this.#messagesUntilOffer <= 0 && upgradedCount < MAX_UPGRADED_CHANNELS) this.#offer();
  }

  /** Offers memory, if there is some; once. */
  #offer(): void {
    this.isCounting = false;
    if (this.#target.isEnding() || whyNoSharedMemory() !== undefined) return;
    try {
      this.#pendingOffer = SharedSegment.create(RING_STREAM_BYTES);
    } catch {
      return; // the system has none left, and the socket serves as well
    }
    this.#target.flush();
    this.#socket.write(offerFrame(this.#pendingOffer, false));
  }

  /** Moves while the thread is blocked; false if that cannot be, or was not done in time. */
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

  /** Takes a message that is for the channel itself. */
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
        throw new ProtocolError("A message for the channel itself is of no kind that is known here");
    }
  }

  /** The channel was dialed by a thread that is blocked, and both sides are in memory from the beginning. */
  upgradeImmediately(memory: SharedSegment): RingStream {
    const ringStream = this.#createRingStream(memory, "maker");
    this.#switchBoth(ringStream);
    return ringStream;
  }

  /** The channel is closed. */
  end(): void {
    this.#dropOffer();
    if (this.ringStream === undefined) return;
    this.ringStream.destroy();
    this.ringStream = undefined;
    upgradedCount -= 1;
  }

  #acceptOffer({ memory: address, hasSwitched }: Offer): void {
    if (this.ringStream !== undefined) throw new ProtocolError("Memory was offered for a channel that has some");
    if (this.#target.isEnding()) return;
    let memory: SharedSegment;
    try {
      memory = attachSegment(address, RING_STREAM_BYTES);
    } catch (error) {
      if (hasSwitched) throw error; // there is no other way to talk to who is blocked
      this.#socket.write(smallFrame(DECLINED, IS_CONTROL));
      return;
    }
    const ringStream = this.#createRingStream(memory, "other");
    if (hasSwitched) this.#switchBoth(ringStream);
    else this.#switchWriting(ringStream);
  }

  #onPeerSwitched(): void {
    const memory = this.#pendingOffer;
    this.#pendingOffer = undefined;
    const ringStream = this.ringStream ?? (memory === undefined ? undefined : this.#createRingStream(memory, "maker"));
    if (ringStream === undefined)
      throw new ProtocolError("The other side of a channel moved into memory that it was not offered");
    if (memory !== undefined) this.#switchWriting(ringStream);
    this.#target.readFrom(ringStream);
  }

  /** Without a word on the socket: the other side expects it. */
  #switchBoth(ringStream: RingStream): void {
    this.#target.writeTo(ringStream);
    this.#target.readFrom(ringStream);
  }

  #switchWriting(ringStream: RingStream): void {
    this.#target.flush();
    if (!this.#target.isEnding()) this.#socket.write(smallFrame(SWITCHED, IS_CONTROL));
    this.#target.writeTo(ringStream);
  }

  #createRingStream(memory: SharedSegment, side: "maker" | "other"): RingStream {
    upgradedCount += 1;
    this.isCounting = false;
    const socket = this.#socket;
    this.ringStream = new RingStream(socket, memory, side, {
      wake: () => {
        // A thread that is blocked next could not write through the host; what the host still has to write must come first.
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

/** The message that offers memory. */
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
