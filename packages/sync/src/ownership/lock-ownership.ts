/**
 * The *ownership* of a lock: its holder as one process sees it. A {@link ProcessOwnership} (for
 * `Lock`) knows only that the process holds the lock. A {@link FlowOwnership} (for `RLock`) also
 * knows which async flow holds it, and how often.
 *
 * In a forked child, the guards from before the fork belong to the parent, so their release does
 * nothing.
 */
import {
  type AcquireResult,
  type AtForkHooks,
  checkWaitOptions,
  currentThreadId,
  OWNER_DIED,
  registerAtFork,
  type WaitOptions,
  WOULD_BLOCK,
} from "@multiproc/core/internal";
import type { LockBackend } from "../backends/lock-backend.ts";
import { NotHeldError, OwnerDiedError } from "../errors.ts";
import type { MaybePromise } from "../primitive.ts";
import { type AsyncFlow, currentFlow, endFlow, enterFlow, isWithin, newFlow, resumeInFlow } from "./async-flow.ts";
import { Guard, type Releaser } from "./lock-guard.ts";

/**
 * The options of a call that acquires a lock.
 *
 * @example Wait for a second, and fail if the previous owner died
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
   * The reaction if the previous owner of the lock died without releasing it. `"report"` acquires
   * the lock and sets {@link Guard.previousOwnerDied}. `"throw"` leaves the lock to others and
   * throws an {@link OwnerDiedError}.
   *
   * @default "report"
   */
  readonly onOwnerDeath?: "report" | "throw";
}

/** The options of a call that acquires a lock and blocks its thread. A signal cannot end it. */
export type AcquireSyncOptions = Omit<AcquireOptions, "signal">;

export const TRY_OPTIONS: readonly string[] = ["onOwnerDeath"];
export const SYNC_OPTIONS: readonly string[] = ["timeout", ...TRY_OPTIONS];
const OPTIONS = ["signal", ...SYNC_OPTIONS];

/**
 * Checks the options of a call that acquires a lock. @throws the signal's reason if it is aborted
 */
export function checkAcquireOptions(call: string, options: AcquireOptions, known: readonly string[] = OPTIONS): void {
  checkWaitOptions(call, options, known);
  const { onOwnerDeath, signal } = options;
  if (onOwnerDeath !== undefined && onOwnerDeath !== "report" && onOwnerDeath !== "throw")
    throw new TypeError(`${call} takes onOwnerDeath as "report" or "throw", not ${JSON.stringify(onOwnerDeath)}`);
  signal?.throwIfAborted();
}

/** The holder of a lock as one process sees it. */
export interface LockOwnership {
  acquire(call: string, options: AcquireOptions): Promise<Guard | null>;
  acquireSync(call: string, options: AcquireSyncOptions): Guard | null;
  tryAcquire(call: string, options: AcquireSyncOptions): Guard | null;
  release(call: string): MaybePromise<void>;
  /** Checks that the caller holds the lock. @throws {NotHeldError} if it does not */
  assertHeld(call: string): void;
  /** Frees the lock, however often it was acquired. `reacquire()` restores the returned state. */
  releaseAll(call: string): MaybePromise<unknown>;
  reacquire(call: string, state: unknown): Promise<void>;
  reacquireSync(call: string, state: unknown): void;
}

/** Set by the class, because it uses private members. */
let AT_FORK_HOOKS: AtForkHooks<ProcessOwnership>;

/** The ownership of a `Lock`, which any code of any process may release. */
export class ProcessOwnership implements LockOwnership {
  readonly #backend: LockBackend;
  #releaser: ProcessReleaser;

  constructor(backend: LockBackend) {
    this.#backend = backend;
    this.#releaser = new ProcessReleaser(backend);
    registerAtFork<ProcessOwnership>(this, AT_FORK_HOOKS);
  }

  static {
    AT_FORK_HOOKS = {
      prepare() {},
      inChild(ownership) {
        ownership.#releaser.isInherited = true;
        ownership.#releaser = new ProcessReleaser(ownership.#backend);
      },
    };
  }

  acquire(call: string, options: AcquireOptions): Promise<Guard | null> {
    return this.#backend.acquire(call, options).then((result) => this.#createGuard(call, result, options));
  }

  acquireSync(call: string, options: AcquireSyncOptions): Guard | null {
    if (this.#backend.tryLockFast()) return new Guard(false, this.#releaser);
    return this.#createGuard(call, this.#backend.acquireSync(call, options.timeout), options);
  }

  tryAcquire(call: string, options: AcquireSyncOptions): Guard | null {
    return this.#createGuard(call, this.#backend.tryAcquire(call), options);
  }

  release(call: string): MaybePromise<void> {
    return this.#backend.release(call);
  }

  assertHeld(call: string): void {
    if (!this.#backend.isHeldHere) throw notHeldError(call);
  }

  releaseAll(call: string): MaybePromise<void> {
    return this.#backend.release(call);
  }

  async reacquire(call: string): Promise<void> {
    await this.#backend.acquire(call, {});
  }

  reacquireSync(call: string): void {
    this.#backend.acquireSync(call, undefined);
  }

  #createGuard(call: string, result: AcquireResult, options: AcquireSyncOptions): Guard | null {
    if (result === WOULD_BLOCK) return null;
    throwOnOwnerDeath(this.#backend, call, result, options);
    return new Guard(result === OWNER_DIED, this.#releaser);
  }
}

/** Releases a `Lock` for its guards. All guards of the lock in one process share this object. */
class ProcessReleaser implements Releaser {
  readonly #backend: LockBackend;
  /** Whether the guards were created before this process was forked. */
  isInherited = false;

  constructor(backend: LockBackend) {
    this.#backend = backend;
  }

  release(): MaybePromise<void> {
    return this.isInherited ? undefined : this.#backend.release("release()");
  }
}

/** A lock that a flow of this process holds. */
interface FlowLock {
  readonly flow: AsyncFlow;
  readonly thread: unknown;
  /**
   * Whether the flow has been stored since it acquired the lock (see `async-flow.ts`). From then on,
   * other flows can be distinguished from it.
   */
  isFlowStored: boolean;
  count: number;
}

/** The ownership of an `RLock`, which one flow holds and can acquire again. */
export class FlowOwnership implements LockOwnership {
  readonly #backend: LockBackend;
  #flowLock: FlowLock | undefined;

  constructor(backend: LockBackend) {
    this.#backend = backend;
  }

  acquire(call: string, options: AcquireOptions): Promise<Guard | null> {
    const reentered = this.#reenter();
    if (reentered !== undefined) return Promise.resolve(reentered);
    const flow = newFlow();
    return new Promise((resolve, reject) => {
      this.#backend
        .acquire(call, options)
        .then((result) => {
          if (result === WOULD_BLOCK) return resolve(null);
          const guard = this.#becomeOwner(call, result, options, flow);
          resumeInFlow(flow, () => resolve(guard));
        })
        .catch(reject);
    });
  }

  acquireSync(call: string, options: AcquireSyncOptions): Guard | null {
    return (
      this.#reenter() ??
      this.#acquireInCurrentFlow(call, options, () => this.#backend.acquireSync(call, options.timeout))
    );
  }

  tryAcquire(call: string, options: AcquireSyncOptions): Guard | null {
    return this.#reenter() ?? this.#acquireInCurrentFlow(call, options, () => this.#backend.tryAcquire(call));
  }

  release(call: string): MaybePromise<void> {
    return this.#releaseOnce(call, this.#requireHeld(call));
  }

  assertHeld(call: string): void {
    this.#requireHeld(call);
  }

  releaseAll(call: string): MaybePromise<FlowLock> {
    const flowLock = this.#requireHeld(call);
    this.#flowLock = undefined;
    const released = this.#backend.release(call);
    return released instanceof Promise ? released.then(() => flowLock) : flowLock;
  }

  async reacquire(call: string, flowLock: unknown): Promise<void> {
    await this.#backend.acquire(call, {});
    this.#flowLock = flowLock as FlowLock;
  }

  reacquireSync(call: string, flowLock: unknown): void {
    this.#backend.acquireSync(call, undefined);
    this.#flowLock = flowLock as FlowLock;
  }

  /** Acquires the lock once more if the running code belongs to the flow that holds it. */
  #reenter(): Guard | undefined {
    const flow = currentFlow();
    const flowLock = this.#currentFlowLock();
    if (flowLock === undefined || !isWithin(flowLock.flow, flow)) return undefined;
    flowLock.isFlowStored = true;
    flowLock.count += 1;
    return this.#createGuard(flowLock, false);
  }

  #acquireInCurrentFlow(call: string, options: AcquireSyncOptions, acquire: () => AcquireResult): Guard | null {
    const flow = newFlow();
    const result = acquire();
    if (result === WOULD_BLOCK) return null;
    const guard = this.#becomeOwner(call, result, options, flow);
    enterFlow(flow);
    (this.#flowLock as FlowLock).isFlowStored = true;
    return guard;
  }

  #becomeOwner(call: string, result: AcquireResult, options: AcquireSyncOptions, flow: AsyncFlow): Guard {
    throwOnOwnerDeath(this.#backend, call, result, options);
    this.#flowLock = { flow, thread: currentThreadId(), isFlowStored: false, count: 1 };
    return this.#createGuard(this.#flowLock, result === OWNER_DIED);
  }

  #createGuard(flowLock: FlowLock, previousOwnerDied: boolean): Guard {
    const release = (): MaybePromise<void> => {
      if (this.#flowLock === flowLock && flowLock.thread === currentThreadId())
        return this.#releaseOnce("release()", flowLock);
    };
    const enterOwnFlow = (): void => {
      flowLock.isFlowStored = true;
      enterFlow(flowLock.flow);
    };
    return new Guard(previousOwnerDied, { release, enterFlow: enterOwnFlow });
  }

  #releaseOnce(call: string, flowLock: FlowLock): MaybePromise<void> {
    flowLock.count -= 1;
    if (flowLock.count > 0) return;
    this.#flowLock = undefined;
    endFlow(flowLock.flow);
    return this.#backend.release(call);
  }

  /**
   * Returns the lock that the running flow holds. If the holding flow has not been stored yet, the
   * caller counts as that flow.
   */
  #requireHeld(call: string): FlowLock {
    const flow = currentFlow();
    const flowLock = this.#currentFlowLock();
    if (flowLock === undefined || (flowLock.isFlowStored && !isWithin(flowLock.flow, flow))) throw notHeldError(call);
    return flowLock;
  }

  /**
   * Returns the lock that a flow of this process holds. In a forked child, a lock from before the
   * fork has the thread of the parent, so it is not returned.
   */
  #currentFlowLock(): FlowLock | undefined {
    return this.#flowLock?.thread === currentThreadId() ? this.#flowLock : undefined;
  }
}

function throwOnOwnerDeath(
  backend: LockBackend,
  call: string,
  result: AcquireResult,
  options: AcquireSyncOptions,
): void {
  if (result !== OWNER_DIED || options.onOwnerDeath !== "throw") return;
  backend.passOnOwnerDied();
  throw new OwnerDiedError(call);
}

function notHeldError(call: string): NotHeldError {
  return new NotHeldError(`${call} was called by code that does not hold the lock: acquire it first`);
}
