/** What passes to a copy of this process, which has everything and yet not all of it works there. */
import {
  type Carrier,
  isHere,
  loadModules,
  requireTarget,
  resolveTarget,
  type Shareable,
  shareablesIn,
  type Ticket,
} from "@multiproc/core/internal";

/** The live objects among the values that a copy is started for. */
export class HandOver {
  readonly #handed: ReadonlyArray<{ readonly object: Shareable; readonly ticket: Ticket }>;

  constructor(values: unknown) {
    this.#handed = shareablesIn(values).map((object) => ({ object, ticket: object["multiproc:ticket"]() }));
  }

  /** In the parent, when the copy is on its way. */
  commit(carrier: Carrier | undefined): void {
    for (const { ticket } of this.#handed) ticket.commit?.(carrier);
  }

  /** In the copy. */
  adopt(): void {
    for (const { object, ticket } of this.#handed) object["multiproc:adopt"]?.(ticket.data);
  }
}

/** In the copy: what is to be called, where the target only names it; undefined where the target itself is there. */
export async function ownTarget<F extends (...args: never[]) => unknown>(
  target: F | undefined,
): Promise<F | undefined> {
  if (target === undefined || isHere(target)) return undefined;
  const reference = requireTarget(target, "Process");
  if ("module" in reference) await loadModules([reference.module]);
  return resolveTarget(reference) as F;
}
