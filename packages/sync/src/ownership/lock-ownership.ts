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
import type { LockBackend } from "../backends/lock-backend.ts";
import { NotHeldError, OwnerDiedError } from "../errors.ts";
import type { MaybePromise } from "../primitive.ts";
import { type AsyncFlow, currentFlow, endFlow, enterFlow, isWithin, newFlow, resumeInFlow } from "./async-flow.ts";
import { Guard, type Releaser } from "./lock-guard.ts";

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
export interface LockOwnership {
  acquire(call: string, options: AcquireOptions): Promise<Guard | null>;
  acquireSync(call: string, options: AcquireSyncOptions): Guard | null;
  tryAcquire(call: string, options: AcquireSyncOptions): Guard | null;
  release(call: string): MaybePromise<void>;
  /** Refuses a call of who does not hold the lock. */
  assertHeld(call: string): void;
  /** Frees the lock, however often it was taken; `resume` takes it back as often. */
  releaseAll(call: string): MaybePromise<unknown>;
  reacquire(call: string, state: unknown): Promise<void>;
  reacquireSync(call: string, state: unknown): void;
}

/** Set by the class, whose private parts it uses. */
let AT_FORK_HOOKS: AtForkHooks<ProcessOwnership>;

/** A lock that belongs to whoever took it last. */
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
    const error = optionsError(call, options);
    if (error !== undefined) return Promise.reject(error);
    return this.#backend.acquire(call, options).then((result) => this.#createGuard(call, result, options));
  }

  acquireSync(call: string, options: AcquireSyncOptions): Guard | null {
    if (options.timeout === undefined && this.#backend.tryLockFast()) return new Guard(false, this.#releaser);
    checkTimeout(call, options.timeout);
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

/** What the guards of one process have in common. */
class ProcessReleaser implements Releaser {
  readonly #backend: LockBackend;
  /** In a forked child, guards from before are about what its parent holds. */
  isInherited = false;

  constructor(backend: LockBackend) {
    this.#backend = backend;
  }

  release(): MaybePromise<void> {
    return this.isInherited ? undefined : this.#backend.release("release()");
  }
}

/** What a flow of this process holds. */
interface FlowLock {
  readonly flow: AsyncFlow;
  readonly thread: unknown;
  /** Whether code of the flow has been seen since it has the lock, so that others can be told from it. */
  isFlowSeen: boolean;
  count: number;
}

/** A lock that belongs to one flow, which can take it again. */
export class FlowOwnership implements LockOwnership {
  readonly #backend: LockBackend;
  #flowLock: FlowLock | undefined;

  constructor(backend: LockBackend) {
    this.#backend = backend;
  }

  acquire(call: string, options: AcquireOptions): Promise<Guard | null> {
    const error = optionsError(call, options);
    if (error !== undefined) return Promise.reject(error);
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
    checkTimeout(call, options.timeout);
    return (
      this.#reenter() ??
      this.#acquireInCurrentFlow(call, options, () => this.#backend.acquireSync(call, options.timeout))
    );
  }

  tryAcquire(call: string, options: AcquireSyncOptions): Guard | null {
    return this.#reenter() ?? this.#acquireInCurrentFlow(call, options, () => this.#backend.tryAcquire(call));
  }

  release(call: string): MaybePromise<void> {
    const flowLock = this.#requireHeld(call);
    flowLock.count -= 1;
    if (flowLock.count > 0) return;
    this.#flowLock = undefined;
    endFlow(flowLock.flow);
    return this.#backend.release(call);
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

  /** Takes the lock once more, if this flow has it. */
  #reenter(): Guard | undefined {
    const flow = currentFlow();
    const flowLock = this.#currentFlowLock();
    if (flowLock === undefined || !isWithin(flowLock.flow, flow)) return undefined;
    flowLock.isFlowSeen = true;
    flowLock.count += 1;
    return this.#createGuard(flowLock, false);
  }

  /** Takes the lock in the code that runs now. */
  #acquireInCurrentFlow(call: string, options: AcquireSyncOptions, acquire: () => AcquireResult): Guard | null {
    const flow = newFlow();
    const result = acquire();
    if (result === WOULD_BLOCK) return null;
    const guard = this.#becomeOwner(call, result, options, flow);
    enterFlow(flow);
    (this.#flowLock as FlowLock).isFlowSeen = true;
    return guard;
  }

  #becomeOwner(call: string, result: AcquireResult, options: AcquireSyncOptions, flow: AsyncFlow): Guard {
    throwOnOwnerDeath(this.#backend, call, result, options);
    this.#flowLock = { flow, thread: currentThreadId(), isFlowSeen: false, count: 1 };
    return this.#createGuard(this.#flowLock, result === OWNER_DIED);
  }

  #createGuard(flowLock: FlowLock, previousOwnerDied: boolean): Guard {
    const release = (): MaybePromise<void> => {
      // In a forked child, the guard is about what its parent holds.
      if (this.#flowLock !== flowLock || flowLock.thread !== currentThreadId()) return;
      flowLock.count -= 1;
      if (flowLock.count > 0) return;
      this.#flowLock = undefined;
      endFlow(flowLock.flow);
      return this.#backend.release("release()");
    };
    const enterOwnFlow = (): void => {
      flowLock.isFlowSeen = true;
      enterFlow(flowLock.flow);
    };
    return new Guard(previousOwnerDied, { release, enterFlow: enterOwnFlow });
  }

  /** What this flow holds. One that was never seen since it waited is taken to be whoever calls. */
  #requireHeld(call: string): FlowLock {
    const flow = currentFlow();
    const flowLock = this.#currentFlowLock();
    if (flowLock === undefined || (flowLock.isFlowSeen && !isWithin(flowLock.flow, flow))) throw notHeldError(call);
    return flowLock;
  }

  #currentFlowLock(): FlowLock | undefined {
    return this.#flowLock?.thread === currentThreadId() ? this.#flowLock : undefined;
  }
}

/** Why a call cannot even begin. */
function optionsError(call: string, { timeout, signal }: AcquireOptions): unknown {
  try {
    checkTimeout(call, timeout);
    signal?.throwIfAborted();
    return undefined;
  } catch (error) {
    return error;
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
  return new NotHeldError(`${call} was called by who does not hold the lock: acquire it first`);
}
