/** The frames between a spare and its owner; `spare-pool.ts` shows the exchange. */

/** From the spare: its modules are loaded. */
export const READY = 1;
/** From the spare: a module could not be loaded; carries a `Failure`. */
export const FAILED = 2;
/** From the owner: the spare becomes a child; carries a `SpareAssignment`. */
export const ASSIGN = 3;
/** From the spare: it has the assignment, and is the child from now on. */
export const ASSIGNED = 4;

/** The child that a spare becomes. */
export interface SpareAssignment {
  /** The module whose `run` is called. */
  readonly entry: string;
  readonly args: readonly string[];
  /**
   * Whether `args` contain the messages of the child. It then ends when the channel to its owner
   * closes.
   */
  readonly endsWithOwner: boolean;
}
