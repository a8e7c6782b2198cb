/**
 * The transfer of shareable objects to a forked child. The child has a copy of every object.
 * Connections do not work in the copy, so shareable objects are attached again.
 */
import {
  type DeliveryScope,
  HANDLE,
  isLocal,
  loadModules,
  REATTACH,
  requireTarget,
  resolveTarget,
  type Shareable,
  type SharedHandle,
  shareablesIn,
} from "@multiproc/core/internal";

/** The shareable objects among the arguments and fields of a process. */
export class ForkTransfer {
  readonly #transfers: ReadonlyArray<{ readonly object: Shareable; readonly handle: SharedHandle }>;

  constructor(values: unknown) {
    this.#transfers = shareablesIn(values).map((object) => ({ object, handle: object[HANDLE]() }));
  }

  /** Hands the objects over, in the parent, when the child is being created. */
  commit(scope: DeliveryScope | undefined): void {
    for (const { handle } of this.#transfers) handle.commit?.(scope);
  }

  /** Attaches the objects again, in the child. */
  reattach(): void {
    for (const { object, handle } of this.#transfers) object[REATTACH]?.(handle.data);
  }
}

/**
 * Returns, in the child, the function that a target of `fromModule()` names. Returns undefined if
 * the target is the function itself.
 */
export async function localTarget<F extends (...args: never[]) => unknown>(
  target: F | undefined,
): Promise<F | undefined> {
  if (target === undefined || isLocal(target)) return undefined;
  const reference = requireTarget(target, "new Process()");
  if ("module" in reference) await loadModules([reference.module]);
  return resolveTarget(reference) as F;
}
