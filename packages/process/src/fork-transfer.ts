/** What passes to a copy of this process, which has everything and yet not all of it works there. */
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

/** The live objects among the values that a copy is started for. */
export class ForkTransfer {
  readonly #transfers: ReadonlyArray<{ readonly object: Shareable; readonly handle: SharedHandle }>;

  constructor(values: unknown) {
    this.#transfers = shareablesIn(values).map((object) => ({ object, handle: object[HANDLE]() }));
  }

  /** In the parent, when the copy is on its way. */
  commit(scope: DeliveryScope | undefined): void {
    for (const { handle } of this.#transfers) handle.commit?.(scope);
  }

  /** In the copy. */
  reattach(): void {
    for (const { object, handle } of this.#transfers) object[REATTACH]?.(handle.data);
  }
}

/** In the copy: what is to be called, where the target only names it; undefined where the target itself is there. */
export async function localTarget<F extends (...args: never[]) => unknown>(
  target: F | undefined,
): Promise<F | undefined> {
  if (target === undefined || isLocal(target)) return undefined;
  const reference = requireTarget(target, "Process");
  if ("module" in reference) await loadModules([reference.module]);
  return resolveTarget(reference) as F;
}
