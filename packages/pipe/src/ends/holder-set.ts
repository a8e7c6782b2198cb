/**
 * The holders of a pipe end in other processes, and the claims of expected holders. `protocol.ts`
 * defines both terms. `LocalEnd` uses this set, and adds the owner's own connection.
 *
 * The end is open while a holder counts as open, or a claim is unused.
 */
import { type Channel, host, KeepAlive } from "@multiproc/core/internal";
import { END, NO_BYTES } from "../protocol.ts";
import type { ReceiveQueue } from "./receive-queue.ts";

/** Lifetime of a claim after its process has ended. The process may have dialed just before. */
const CLAIM_GRACE_MS = 1000;

/** A channel to another process that holds the end. */
export interface Holder {
  readonly channel: Channel;
  /** Whether the peer came through `Listener` or `connect()`. It stays the only holder, and sends messages only. */
  readonly isExternal: boolean;
  /** False after the holder handed the end over, until it uses the end again. */
  countsAsOpen: boolean;
  /** Messages that the holder requested and has not received. */
  requestedCount: number;
}

/** Sends a frame without a body, unless the channel is closed or its peer understands messages only. */
export function notifyHolder(holder: Holder, kind: number): void {
  if (!holder.channel.closed && !holder.isExternal) holder.channel.sendBytes(kind, NO_BYTES);
}

export class HolderSet {
  readonly #holders = new Set<Holder>();
  readonly #claims = new Set<string>();
  /** Claims whose ATTACH arrived before their HAND_OVER, because the two use different channels. */
  readonly #earlyClaims = new Set<string>();
  readonly #claimKeepAlive = new KeepAlive();
  #isKeptAlive = false;
  #claimNumber = 0;

  get all(): ReadonlySet<Holder> {
    return this.#holders;
  }

  get hasClaims(): boolean {
    return this.#claims.size > 0;
  }

  get isOpen(): boolean {
    if (this.#claims.size > 0) return true;
    for (const holder of this.#holders) if (holder.countsAsOpen) return true;
    return false;
  }

  add(holder: Holder): void {
    this.#holders.add(holder);
    if (this.#isKeptAlive) holder.channel.ref();
  }

  delete(holder: Holder): void {
    this.#holders.delete(holder);
  }

  /** Returns a new claim of the owner process. */
  nextClaim(): string {
    return `h${++this.#claimNumber}`;
  }

  expectClaim(claim: string): void {
    if (!this.#earlyClaims.delete(claim)) this.#claims.add(claim);
    this.#updateKeepAlive();
  }

  useClaim(claim: string): void {
    if (!this.#claims.delete(claim)) this.#earlyClaims.add(claim);
    this.#updateKeepAlive();
  }

  /** Removes a claim whose process has ended, after a grace period, unless it is used by then. */
  expireClaim(claim: string, isAwaited: boolean, onExpired: () => void): void {
    if (!this.#claims.has(claim)) return;
    const expire = (): void => {
      if (!this.#claims.delete(claim)) return;
      this.#updateKeepAlive();
      onExpired();
    };
    host.timer(expire, CLAIM_GRACE_MS, isAwaited);
  }

  /** Sets whether the holders keep the program alive: they do while this process waits for their messages. */
  keepAlive(isWaiting: boolean): void {
    this.#isKeptAlive = isWaiting;
    for (const { channel } of this.#holders) isWaiting ? channel.ref() : channel.unref();
    this.#updateKeepAlive();
  }

  /** Resumes the channels that were paused because the other end was full. */
  resume(): void {
    for (const { channel } of this.#holders) channel.resume();
  }

  /** Sends queued messages to the holders that requested some, in turn. After the last message, sends END. */
  deliverRequested(queue: ReceiveQueue): void {
    for (let hasDelivered = true; hasDelivered && queue.size > 0; ) {
      hasDelivered = false;
      for (const holder of this.#holders) {
        if (holder.requestedCount === 0 || holder.channel.closed) continue;
        const frame = queue.take();
        if (frame === undefined) return;
        holder.requestedCount -= 1;
        holder.channel.forward(frame.kind, frame);
        hasDelivered = true;
      }
    }
    if (!queue.hasEnded || queue.size > 0) return;
    for (const holder of this.#holders) if (holder.requestedCount > 0) notifyHolder(holder, END);
  }

  /** An expected holder has no socket yet, so a timer keeps the program alive for it. */
  #updateKeepAlive(): void {
    this.#claimKeepAlive.active = this.#isKeptAlive && this.#claims.size > 0;
  }
}
