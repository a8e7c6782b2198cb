/** Who in this process holds a lock: nobody in particular for {@link Lock}, one flow for {@link RLock}. */
import {
  type AcquireResult,
  type AtForkHooks,
  checkTimeout,
  currentThreadId,
  OWNER_DIED,
  registerAtFork,
  type WaitOptions,
  WOULD_BLOCK,
} from "@multiproc/core/internal";
import type { LockLink } from "../backends/lock-backend.ts";
import { NotHeldError, OwnerDiedError } from "../errors.ts";
import type { MaybePromise } from "../primitive.ts";
import { currentFlow, endFlow, enterFlow, type Flow, isWithin, newFlow, resumeAs } from "./async-flow.ts";
import { Guard, type Source } from "./lock-guard.ts";

/**
 * How a lock is waited for.
 *
 * @example Wait a second, and be told when the holder has died
 * ```ts
 * import { type AcquireOptions, Lock } from "@multiproc/sync";
 *
 * const options: AcquireOptions = { timeout: 1000, onOwnerDeath: "throw" };
 * const lock = new Lock();
 * console.log((await lock.acquire(options)) !== null); // true
 * await lock.release();
 * ```
 */
export interface AcquireOptions extends WaitOptions {
  /**
   * What to do when the process that held the lock before has died without giving it back: `"tell"` by
   * {@link Guard.previousOwnerDied}, or `"throw"` an {@link OwnerDiedError} and leave the lock to others.
   *
   * @default "tell"
   */
  readonly onOwnerDeath?: "tell" | "throw";
}

/** How a lock is waited for by a call that blocks its thread, which no signal can end. */
export type AcquireSyncOptions = Omit<AcquireOptions, "signal">;

/** A lock as one process sees it. */
export interface Holding {
  acquire(call: string, options: AcquireOptions): Promise<Guard | null>;
  acquireSync(call: string, options: AcquireSyncOptions): Guard | null;
  tryAcquire(call: string, options: AcquireSyncOptions): Guard | null;
  release(call: string): MaybePromise<void>;
  /** Refuses a call of who does not hold the lock. */
  assertHeld(call: string): void;
  /** Frees the lock, however often it was taken; `resume` takes it back as often. */
  suspend(call: string): MaybePromise<unknown>;
  resume(call: string, state: unknown): Promise<void>;
  resumeSync(call: string, state: unknown): void;
}

/** Set by the class, whose private parts it uses. */
let HERITAGE: AtForkHooks<PlainHolding>;

/** A lock that belongs to whoever took it last. */
export class PlainHolding implements Holding {
  readonly #link: LockLink;
  #source: PlainSource;

  constructor(link: LockLink) {
    this.#link = link;
    this.#source = new PlainSource(link);
    registerAtFork<PlainHolding>(this, HERITAGE);
  }

  static {
    HERITAGE = {
      prepare() {},
      inChild(holding) {
        holding.#source.isOver = true;
        holding.#source = new PlainSource(holding.#link);
      },
    };
  }

  acquire(call: string, options: AcquireOptions): Promise<Guard | null> {
    const error = refusal(call, options);
    if (error !== undefined) return Promise.reject(error);
    return this.#link.acquire(call, options).then((taken) => this.#guard(call, taken, options));
  }

  acquireSync(call: string, options: AcquireSyncOptions): Guard | null {
    if (options.timeout === undefined && this.#link.takeFree()) return new Guard(false, this.#source);
    checkTimeout(call, options.timeout);
    return this.#guard(call, this.#link.acquireSync(call, options.timeout), options);
  }

  tryAcquire(call: string, options: AcquireSyncOptions): Guard | null {
    return this.#guard(call, this.#link.tryAcquire(call), options);
  }

  release(call: string): MaybePromise<void> {
    return this.#link.release(call);
  }

  assertHeld(call: string): void {
    if (!this.#link.isOurs) throw notHeld(call);
  }

  suspend(call: string): MaybePromise<void> {
    return this.#link.release(call);
  }

  async resume(call: string): Promise<void> {
    await this.#link.acquire(call, {});
  }

  resumeSync(call: string): void {
    this.#link.acquireSync(call, undefined);
  }

  #guard(call: string, taken: AcquireResult, options: AcquireSyncOptions): Guard | null {
    if (taken === WOULD_BLOCK) return null;
    refuseInheritance(this.#link, call, taken, options);
    return new Guard(taken === OWNER_DIED, this.#source);
  }
}

/** What the guards of one process have in common. */
class PlainSource implements Source {
  readonly #link: LockLink;
  /** In a forked child, guards from before are about what its parent holds. */
  isOver = false;

  constructor(link: LockLink) {
    this.#link = link;
  }

  giveBack(): MaybePromise<void> {
    return this.isOver ? undefined : this.#link.release("release()");
  }
}

/** What a flow of this process holds. */
interface Hold {
  readonly flow: Flow;
  readonly life: unknown;
  /** Whether code of the flow has been seen since it has the lock, so that others can be told from it. */
  isKnown: boolean;
  count: number;
}

/** A lock that belongs to one flow, which can take it again. */
export class FlowHolding implements Holding {
  readonly #link: LockLink;
  #hold: Hold | undefined;

  constructor(link: LockLink) {
    this.#link = link;
  }

  acquire(call: string, options: AcquireOptions): Promise<Guard | null> {
    const error = refusal(call, options);
    if (error !== undefined) return Promise.reject(error);
    const again = this.#again();
    if (again !== undefined) return Promise.resolve(again);
    const flow = newFlow();
    return new Promise((resolve, reject) => {
      this.#link
        .acquire(call, options)
        .then((taken) => {
          if (taken === WOULD_BLOCK) return resolve(null);
          const guard = this.#begin(call, taken, options, flow);
          resumeAs(flow, () => resolve(guard));
        })
        .catch(reject);
    });
  }

  acquireSync(call: string, options: AcquireSyncOptions): Guard | null {
    checkTimeout(call, options.timeout);
    return this.#again() ?? this.#enter(call, options, () => this.#link.acquireSync(call, options.timeout));
  }

  tryAcquire(call: string, options: AcquireSyncOptions): Guard | null {
    return this.#again() ?? this.#enter(call, options, () => this.#link.tryAcquire(call));
  }

  release(call: string): MaybePromise<void> {
    const hold = this.#held(call);
    hold.count -= 1;
    if (hold.count > 0) return;
    this.#hold = undefined;
    endFlow(hold.flow);
    return this.#link.release(call);
  }

  assertHeld(call: string): void {
    this.#held(call);
  }

  suspend(call: string): MaybePromise<Hold> {
    const hold = this.#held(call);
    this.#hold = undefined;
    const released = this.#link.release(call);
    return released instanceof Promise ? released.then(() => hold) : hold;
  }

  async resume(call: string, hold: unknown): Promise<void> {
    await this.#link.acquire(call, {});
    this.#hold = hold as Hold;
  }

  resumeSync(call: string, hold: unknown): void {
    this.#link.acquireSync(call, undefined);
    this.#hold = hold as Hold;
  }

  /** Takes the lock once more, if this flow has it. */
  #again(): Guard | undefined {
    const flow = currentFlow();
    const hold = this.#current();
    if (hold === undefined || !isWithin(hold.flow, flow)) return undefined;
    hold.isKnown = true;
    hold.count += 1;
    return this.#guard(hold, false);
  }

  /** Takes the lock in the code that runs now. */
  #enter(call: string, options: AcquireSyncOptions, take: () => AcquireResult): Guard | null {
    const flow = newFlow();
    const taken = take();
    if (taken === WOULD_BLOCK) return null;
    const guard = this.#begin(call, taken, options, flow);
    enterFlow(flow);
    (this.#hold as Hold).isKnown = true;
    return guard;
  }

  #begin(call: string, taken: AcquireResult, options: AcquireSyncOptions, flow: Flow): Guard {
    refuseInheritance(this.#link, call, taken, options);
    this.#hold = { flow, life: currentThreadId(), isKnown: false, count: 1 };
    return this.#guard(this.#hold, taken === OWNER_DIED);
  }

  #guard(hold: Hold, died: boolean): Guard {
    const giveBack = (): MaybePromise<void> => {
      // In a forked child, the guard is about what its parent holds.
      if (this.#hold !== hold || hold.life !== currentThreadId()) return;
      hold.count -= 1;
      if (hold.count > 0) return;
      this.#hold = undefined;
      endFlow(hold.flow);
      return this.#link.release("release()");
    };
    const enter = (): void => {
      hold.isKnown = true;
      enterFlow(hold.flow);
    };
    return new Guard(died, { giveBack, enter });
  }

  /** What this flow holds. One that was never seen since it waited is taken to be whoever calls. */
  #held(call: string): Hold {
    const flow = currentFlow();
    const hold = this.#current();
    if (hold === undefined || (hold.isKnown && !isWithin(hold.flow, flow))) throw notHeld(call);
    return hold;
  }

  #current(): Hold | undefined {
    return this.#hold?.life === currentThreadId() ? this.#hold : undefined;
  }
}

/** Why a call cannot even begin. */
function refusal(call: string, { timeout, signal }: AcquireOptions): unknown {
  try {
    checkTimeout(call, timeout);
    signal?.throwIfAborted();
    return undefined;
  } catch (error) {
    return error;
  }
}

function refuseInheritance(link: LockLink, call: string, taken: AcquireResult, options: AcquireSyncOptions): void {
  if (taken !== OWNER_DIED || options.onOwnerDeath !== "throw") return;
  link.decline();
  throw new OwnerDiedError(call);
}

function notHeld(call: string): NotHeldError {
  return new NotHeldError(`${call} was called by who does not hold the lock: acquire it first`);
}
