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
import { hasHungUp, sendNow, waitToRead } from "../native/unix-socket.ts";
import { Memory, type MemoryAddress, missingMemory } from "../shm/shared-memory-segment.ts";
import type { Frame } from "./channel.ts";
import { IS_CONTROL, smallFrame } from "./frame-reader.ts";
import { attachMemory } from "./large-message-area.ts";
import { RINGS_SIZE, RingStream } from "./ring-stream.ts";

const BELL = 0;
const OFFER = 1;
const MOVED = 2;
const DECLINED = 3;
const WIDER = 4;

const BELL_FRAME = smallFrame(BELL, IS_CONTROL);
/** So many messages are sent and received before memory is offered ... */
const TRAFFIC = 256;
/** ... where a large one counts once more for each so many bytes. */
const BYTES_PER_MESSAGE = 4096;
/** So many channels of this process are in memory at once; others stay on their sockets. */
const MOST = 64;
let count = 0;
/** Milliseconds; a signal may end a wait sooner. */
const LONGEST_WAIT = 1000;

/** What is offered. */
interface Offer {
  readonly memory: MemoryAddress;
  /** Whether who offers it has moved already, and expects the other to have. */
  readonly isMoved: boolean;
}

/** What moves. */
export interface Movable {
  /** Whether nothing more is written: then it moves no more, but what the other side has moved is read. */
  isEnding(): boolean;
  /** Writes to the socket what is queued. */
  flush(): void;
  writeTo(rings: RingStream): void;
  /** Has what arrives from now on delivered from there. */
  readFrom(rings: RingStream): void;
}

/** A channel's way into memory; see the head of this file. */
export class Upgrade {
  readonly #socket: ByteStream;
  readonly #channel: Movable;
  #traffic = TRAFFIC;
  /** Whether it is to be told what is sent and received. */
  isWatching: boolean;
  /** What was offered and not answered. */
  #offered: Memory | undefined;
  rings: RingStream | undefined;

  constructor(socket: ByteStream, isOffering: boolean, channel: Movable) {
    this.#socket = socket;
    this.#channel = channel;
    this.isWatching = isOffering;
  }

  /** A message of that size was sent or received. */
  noteTraffic(size: number): void {
    this.#traffic -= 1 + Math.floor(size / BYTES_PER_MESSAGE);
    if (this.#traffic <= 0 && count < MOST) this.#offer();
  }

  /** Offers memory, if there is some; once. */
  #offer(): void {
    this.isWatching = false;
    if (this.#channel.isEnding() || missingMemory() !== undefined) return;
    try {
      this.#offered = Memory.create(RINGS_SIZE);
    } catch {
      return; // the system has none left, and the socket serves as well
    }
    this.#channel.flush();
    this.#socket.write(offerFrame(this.#offered, false));
  }

  /** Moves while the thread is blocked; false if that cannot be, or was not done in time. */
  moveSync(until: number): boolean {
    const { file, pending } = this.#socket;
    if (file === undefined || pending > 0) return false;
    if (this.isWatching) this.#offer();
    while (this.#offered !== undefined && !hasHungUp(file) && performance.now() < until) {
      waitToRead(file, Math.min(until - performance.now(), LONGEST_WAIT));
      this.#socket.readNow?.();
    }
    return this.rings !== undefined;
  }

  /** Takes a message that is for the channel itself. */
  take(frame: Frame): void {
    switch (frame.kind) {
      case BELL:
        return this.rings?.wasRung();
      case OFFER:
        return this.#accept(jsonOf<Offer>(frame));
      case WIDER:
        return this.rings?.wide.take(jsonOf<MemoryAddress>(frame));
      case MOVED:
        return this.#otherMoved();
      case DECLINED:
        return this.#forget();
      default:
        throw new ProtocolError("A message for the channel itself is of no kind that is known here");
    }
  }

  /** The channel was dialed by a thread that is blocked, and both sides are in memory from the beginning. */
  moveAtOnce(memory: Memory): RingStream {
    const rings = this.#use(memory, "maker");
    this.#moveBoth(rings);
    return rings;
  }

  /** The channel is closed. */
  end(): void {
    this.#forget();
    if (this.rings === undefined) return;
    this.rings.destroy();
    this.rings = undefined;
    count -= 1;
  }

  #accept({ memory: address, isMoved }: Offer): void {
    if (this.rings !== undefined) throw new ProtocolError("Memory was offered for a channel that has some");
    if (this.#channel.isEnding()) return;
    let memory: Memory;
    try {
      memory = attachMemory(address, RINGS_SIZE);
    } catch (error) {
      if (isMoved) throw error; // there is no other way to talk to who is blocked
      this.#socket.write(smallFrame(DECLINED, IS_CONTROL));
      return;
    }
    const rings = this.#use(memory, "other");
    if (isMoved) this.#moveBoth(rings);
    else this.#moveWriting(rings);
  }

  #otherMoved(): void {
    const memory = this.#offered;
    this.#offered = undefined;
    const rings = this.rings ?? (memory === undefined ? undefined : this.#use(memory, "maker"));
    if (rings === undefined)
      throw new ProtocolError("The other side of a channel moved into memory that it was not offered");
    if (memory !== undefined) this.#moveWriting(rings);
    this.#channel.readFrom(rings);
  }

  /** Without a word on the socket: the other side expects it. */
  #moveBoth(rings: RingStream): void {
    this.#channel.writeTo(rings);
    this.#channel.readFrom(rings);
  }

  #moveWriting(rings: RingStream): void {
    this.#channel.flush();
    if (!this.#channel.isEnding()) this.#socket.write(smallFrame(MOVED, IS_CONTROL));
    this.#channel.writeTo(rings);
  }

  #use(memory: Memory, side: "maker" | "other"): RingStream {
    count += 1;
    this.isWatching = false;
    const socket = this.#socket;
    this.rings = new RingStream(socket, memory, side, {
      ring: () => {
        // A thread that is blocked next could not write through the host; what the host still has to write must come first.
        if (socket.file === undefined || socket.pending > 0 || !sendNow(socket.file, BELL_FRAME))
          socket.write(BELL_FRAME);
      },
      offerWide: (address) => void socket.write(jsonFrame(WIDER, address)),
    });
    return this.rings;
  }

  #forget(): void {
    this.#offered?.close();
    this.#offered = undefined;
  }
}

/** The message that offers memory. */
export function offerFrame(memory: Memory, isMoved: boolean): Uint8Array {
  const offer: Offer = { memory: memory.address(), isMoved };
  return jsonFrame(OFFER, offer);
}

function jsonFrame(kind: number, content: unknown): Uint8Array {
  return smallFrame(kind, IS_CONTROL, new TextEncoder().encode(JSON.stringify(content)));
}

function jsonOf<T>({ bytes, start, end }: Frame): T {
  return JSON.parse(host.utf8Read(bytes, start, end)) as T;
}
