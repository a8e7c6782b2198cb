/** What a spare and its owner say to each other; see `spares.ts`. */

/** A spare has loaded its modules. */
export const READY = 1;
/** A spare could not load them: a `Failure`. */
export const FAILED = 2;
/** A spare has work. */
export const ASSIGN = 3;

/** A spare has its work: from here on it is the child. */
export const ASSIGNED = 4;

/** What a spare is to do. */
export interface SpareAssignment {
  /** The module whose `run` it calls. */
  readonly entry: string;
  readonly args: readonly string[];
  /** Whether its owner's messages are among them: then it ends when the channel to its owner does. */
  readonly endsWithOwner: boolean;
}
